#include "client/host_memory.h"

#include <cuda.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/copy.h"
#include "client/program.h"
#include "client/stub.h"

namespace farcall::client {
namespace {

constexpr unsigned kAllocFlags =
    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
constexpr unsigned kRegisterFlags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                                    CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY;

size_t round_to_pages(size_t bytes) {
  const size_t page = size_t(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

Allocation describe(void* pointer, size_t bytes, MemoryKind kind, unsigned flags) {
  Allocation made;
  made.address = reinterpret_cast<uint64_t>(pointer);
  made.bytes = bytes;
  made.kind = kind;
  made.flags = flags;
  made.device = thread_state().device;
  made.context = thread_state().lane.context;
  return made;
}

// Nothing writes to the memory any more when this returns, whatever the server does.
int release(Session& session, const Allocation& memory) {
  const int result = finish_copies_to_host(session);
  session.connection().close_sinks(
      {reinterpret_cast<const std::byte*>(memory.address), memory.bytes});
  return result;
}

}  // namespace

int allocate_host(Session&, void** pointer, size_t bytes, unsigned flags) {
  if (pointer == nullptr || (flags & ~kAllocFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  *pointer = nullptr;
  if (bytes == 0) return CUDA_SUCCESS;
  void* memory = ::mmap(nullptr, round_to_pages(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  program().allocations.add(describe(memory, bytes, MemoryKind::kHostPinned, flags));
  *pointer = memory;
  return CUDA_SUCCESS;
}

int free_host(Session& session, void* pointer) {
  if (pointer == nullptr) return CUDA_SUCCESS;
  const auto known =
      program().allocations.remove(reinterpret_cast<uint64_t>(pointer), MemoryKind::kHostPinned);
  if (!known) return CUDA_ERROR_INVALID_VALUE;
  const int result = release(session, *known);
  ::munmap(pointer, round_to_pages(known->bytes));
  return result;
}

int register_host(Session&, void* pointer, size_t bytes, unsigned flags) {
  if (pointer == nullptr || bytes == 0 || (flags & ~kRegisterFlags) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (program().allocations.find(reinterpret_cast<uint64_t>(pointer))) {
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  program().allocations.add(describe(pointer, bytes, MemoryKind::kHostRegistered, flags));
  return CUDA_SUCCESS;
}

int unregister_host(Session& session, void* pointer) {
  const auto known = program().allocations.remove(reinterpret_cast<uint64_t>(pointer),
                                                  MemoryKind::kHostRegistered);
  if (!known) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  return release(session, *known);
}

}  // namespace farcall::client
