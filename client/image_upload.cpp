#include "client/image_upload.h"

#include <openssl/evp.h>

#include <algorithm>

#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::Opcode;

// Below this an image rides along with its load; above, a look into the server's store (one round
// trip) is worth it.
constexpr size_t kInlineImageBytes = 256 * 1024;

std::array<std::byte, 32> sha256_of(std::span<const std::byte> bytes) {
  std::array<std::byte, 32> digest{};
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &length,
             EVP_sha256(), nullptr);
  return digest;
}

}  // namespace

int store_image(Session& session, std::span<const std::byte> bytes, StoredImage* out) {
  out->bytes_ = bytes;
  if (bytes.size() <= kInlineImageBytes) return 0;
  out->digest_ = sha256_of(bytes);
  out->stored_ = true;
  {
    Call call(session, Opcode::k_farcallImageOffer);
    auto args = call.args<schema::FarcallImageOffer>();
    args.setSha256(out->sha256());
    args.setBytes(bytes.size());
    rpc::Reply reply = call.wait();
    if (reply.result() != 0) return reply.result();
    if (reply.results<schema::FarcallImageOfferResults>().getHeld()) return 0;
  }
  for (size_t offset = 0; offset < bytes.size(); offset += rpc::kPayloadBytesMax) {
    Call call(session, Opcode::k_farcallImageChunk);
    auto args = call.args<schema::FarcallImageChunk>();
    args.setSha256(out->sha256());
    args.setBytes(bytes.size());
    args.setOffset(offset);
    call.payload(bytes.subspan(offset, std::min(rpc::kPayloadBytesMax, bytes.size() - offset)));
    if (const int lost = call.post()) return lost;
  }
  return 0;
}

}  // namespace farcall::client
