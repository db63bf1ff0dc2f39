// Memory that the program and its kernels share by address: see server/visible_memory.h.
#include <cuda.h>

#include <vector>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/worker.h"

namespace farcall::server::handlers {

namespace schema = rpc::schema;

void farcallVisibleMap(CallContext& call) {
  const auto args = call.args<schema::FarcallVisibleMap>();
  uint64_t address = 0;
  const CUresult result = call.worker().visible_memory().map(args.getAddress(), args.getBytes(),
                                                             args.getOnDevice(), &address);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    call.results<schema::FarcallVisibleMapResults>().setAddress(address);
  }
  call.finish(result);
}

void farcallVisibleRelease(CallContext& call) {
  const uint64_t address = call.args<schema::FarcallVisibleRelease>().getAddress();
  // The context's error, if it has one, is reported by whoever waits for it; the memory goes.
  CUresult result = call.driver().cuCtxSynchronize();
  if (address != 0) result = call.worker().visible_memory().release(address);
  call.finish(result);
}

void farcallVisibleWrite(CallContext& call) {
  const auto list = call.args<schema::FarcallVisibleWrite>().getPieces();
  std::vector<VisibleMemory::Piece> pieces(list.size() / 2);
  for (unsigned i = 0; i < pieces.size(); ++i) pieces[i] = {list[2 * i], list[2 * i + 1]};
  call.finish(call.worker().visible_memory().write(pieces, call.payload()));
}

void farcallVisibleRead(CallContext& call) {
  const auto args = call.args<schema::FarcallVisibleRead>();
  call.finish(call.worker().visible_memory().read(
      args.getAddress(), args.getBytes(),
      [&](uint64_t offset, std::span<const std::byte> bytes) { call.send_data(offset, bytes); }));
}

}  // namespace farcall::server::handlers
