#include "client/stub_args.h"

#include "client/program.h"

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

bool note_free(uint64_t address) {
  return program().allocations.remove(address, MemoryKind::kDevice).has_value();
}

}  // namespace farcall::client
