#include "client/visible_calls.h"

#include <cuda.h>

#include <algorithm>

#include "client/stub.h"
#include "client/twice_mapped.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::Opcode;

// Small changes travel together.
constexpr size_t kGatheredBytes = size_t{64} << 10;
constexpr size_t kGatheredPieces = 4096;

rpc::Lane lane_in(uint64_t context) { return {.id = thread_state().lane.id, .context = context}; }

}  // namespace

int map_there(Session& session, uint64_t wanted, size_t bytes, bool on_device, uint64_t* address) {
  Call call(session, Opcode::k_farcallVisibleMap);
  auto args = call.args<schema::FarcallVisibleMap>();
  args.setAddress(wanted);
  args.setBytes(bytes);
  args.setOnDevice(on_device);
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  *address = reply.results<schema::FarcallVisibleMapResults>().getAddress();
  if (*address == 0 || *address % page_bytes() != 0 || (wanted != 0 && *address != wanted)) {
    session.connection().lose("the server has put memory where nobody asked for it");
    return rpc::kSessionLostResult;
  }
  return CUDA_SUCCESS;
}

int release_there(Session& session, uint64_t address) {
  Call call(session, Opcode::k_farcallVisibleRelease);
  call.args<schema::FarcallVisibleRelease>().setAddress(address);
  return call.post_blocking();
}

int read_there(Session& session, uint64_t context, uint64_t address, std::span<std::byte> to) {
  rpc::CallWriter call(session.connection(), Opcode::k_farcallVisibleRead, lane_in(context));
  auto args = call.args<schema::FarcallVisibleRead>();
  args.setAddress(address);
  args.setBytes(to.size());
  return call.wait({to.data(), to.size()}).own_result();
}

void ChangeSender::add(uint64_t address, std::span<const std::byte> bytes, bool may_join) {
  if (bytes.size() >= kGatheredBytes) {
    flush();
    for (size_t at = 0; at < bytes.size(); at += rpc::kPayloadBytesMax) {
      const size_t count = std::min(rpc::kPayloadBytesMax, bytes.size() - at);
      const uint64_t piece[] = {address + at, count};
      post(piece, bytes.subspan(at, count));
    }
    return;
  }
  if (gathered_.size() + bytes.size() > rpc::kPayloadBytesMax ||
      pieces_.size() >= 2 * kGatheredPieces) {
    flush();
  }
  if (may_join && !pieces_.empty() && pieces_[pieces_.size() - 2] + pieces_.back() == address) {
    pieces_.back() += bytes.size();
  } else {
    pieces_.push_back(address);
    pieces_.push_back(bytes.size());
  }
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
}

void ChangeSender::flush() {
  if (!pieces_.empty()) post(pieces_, gathered_);
  pieces_.clear();
  gathered_.clear();
}

// A lost session is noticed by the call that this one goes ahead of.
void ChangeSender::post(std::span<const uint64_t> pieces, std::span<const std::byte> bytes) {
  rpc::CallWriter call(session_.connection(), Opcode::k_farcallVisibleWrite, lane_in(context_));
  auto list = call.args<schema::FarcallVisibleWrite>().initPieces(unsigned(pieces.size()));
  for (unsigned i = 0; i < pieces.size(); ++i) list.set(i, pieces[i]);
  call.payload(bytes);
  (void)call.post();
}

}  // namespace farcall::client
