#include "client/stub_args.h"

#include "client/program.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {

void note_allocation(Session&, uint64_t address, uint64_t bytes) {
  Allocation allocation;
  allocation.address = address;
  allocation.bytes = bytes;
  allocation.kind = MemoryKind::kDevice;
  allocation.device = thread_state().device;
  allocation.context = thread_state().lane.context;
  program().allocations.add(allocation);
}

void note_allocation_of_unknown_size(Session& session, uint64_t address) {
  rpc::Reply reply = [&] {
    Call call(session, rpc::Opcode::k_farcallMemRange);
    call.args<rpc::schema::FarcallMemRange>().setAddress(address);
    return call.wait();
  }();
  if (reply.own_result() != CUDA_SUCCESS) return note_allocation(session, address, 1);
  const auto range = reply.results<rpc::schema::FarcallMemRangeResults>();
  note_allocation(session, range.getBase(), range.getBytes());
}

bool note_free(uint64_t address) {
  return program().allocations.remove(address, MemoryKind::kDevice).has_value();
}

}  // namespace farcall::client
