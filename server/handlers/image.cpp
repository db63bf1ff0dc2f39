// Uploads of device images: see server/image_store.h.
#include <cuda.h>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;

std::optional<ImageHash> hash_in(CallContext& call, capnp::Data::Reader bytes) {
  const auto hash = parse_hash({reinterpret_cast<const std::byte*>(bytes.begin()), bytes.size()});
  if (!hash) call.invalidate("not a SHA-256");
  return hash;
}

}  // namespace

void farcallImageOffer(CallContext& call) {
  const auto args = call.args<schema::FarcallImageOffer>();
  const auto hash = hash_in(call, args.getSha256());
  if (!hash) return call.refuse();
  call.results<schema::FarcallImageOfferResults>().setHeld(
      call.worker().images().hold(*hash, args.getBytes()));
  call.finish(CUDA_SUCCESS);
}

void farcallImageChunk(CallContext& call) {
  const auto args = call.args<schema::FarcallImageChunk>();
  const auto hash = hash_in(call, args.getSha256());
  if (!hash) return call.refuse();
  switch (call.worker().images().add(*hash, args.getBytes(), args.getOffset(), call.payload())) {
    case Status::kOk:
      return call.finish(CUDA_SUCCESS);
    case Status::kQuota:
      return call.finish(CUDA_ERROR_OUT_OF_MEMORY);
    default:
      return call.finish(CUDA_ERROR_INVALID_IMAGE);
  }
}

}  // namespace farcall::server::handlers
