#include "client/linear_memory.h"

#include <cuda.h>

#include "client/program.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;

int ask(Session& session, size_t width_bytes, size_t height, unsigned element_bytes,
        uint64_t* address, uint64_t* pitch_bytes) {
  rpc::Reply reply = [&] {
    Call call(session, rpc::Opcode::k_farcallMemAlloc);
    auto args = call.args<schema::FarcallMemAlloc>();
    args.setWidthBytes(width_bytes);
    args.setHeight(height);
    args.setElementBytes(element_bytes);
    return call.wait();
  }();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  auto results = reply.results<schema::FarcallMemAllocResults>();
  *address = results.getAddress();
  *pitch_bytes = results.getPitchBytes();
  Allocation made;
  made.address = *address;
  made.bytes = element_bytes == 0 ? width_bytes : *pitch_bytes * height;
  made.device = thread_state().device;
  made.context = thread_state().lane.context;
  program().allocations.add(made);
  return CUDA_SUCCESS;
}

}  // namespace

int allocate(Session& session, size_t bytes, uint64_t* address) {
  uint64_t unused = 0;
  return ask(session, bytes, 1, 0, address, &unused);
}

int allocate_pitched(Session& session, size_t width_bytes, size_t height, unsigned element_bytes,
                     uint64_t* address, uint64_t* pitch_bytes) {
  return ask(session, width_bytes, height, element_bytes, address, pitch_bytes);
}

int deallocate(Session& session, uint64_t address) {
  if (address == 0) return CUDA_SUCCESS;
  if (!program().allocations.remove(address, MemoryKind::kDevice)) {
    const auto managed = program().allocations.remove(address, MemoryKind::kManaged);
    return managed ? program().managed.free(session, *managed) : int(CUDA_ERROR_INVALID_VALUE);
  }
  Call call(session, rpc::Opcode::k_farcallMemFree);
  call.args<schema::FarcallMemFree>().setAddress(address);
  return call.post_blocking();
}

}  // namespace farcall::client
