#include "client/host_memory.h"

#include <cuda.h>
#include <sys/mman.h>

#include "client/copy.h"
#include "client/program.h"
#include "client/registered_memory.h"
#include "client/stub.h"
#include "client/twice_mapped.h"

namespace farcall::client {
namespace {

constexpr unsigned kAllocFlags =
    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
constexpr unsigned kRegisterFlags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                                    CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY;

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

int allocate_host(Session& session, void** pointer, size_t bytes, unsigned flags) {
  if (pointer == nullptr || (flags & ~kAllocFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  *pointer = nullptr;
  if (bytes == 0) return CUDA_SUCCESS;
  void* memory = program().visible.add_pinned(bytes);
  if (memory == nullptr) {  // kernels will not see this
    if (round_to_pages(bytes) < bytes) return CUDA_ERROR_OUT_OF_MEMORY;
    memory = ::mmap(nullptr, round_to_pages(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  }
  program().allocations.add(describe(memory, bytes, MemoryKind::kHostPinned, flags));
  if ((flags & CU_MEMHOSTALLOC_DEVICEMAP) != 0) {
    const int result = program().visible.make_visible(session, reinterpret_cast<uint64_t>(memory));
    if (result != CUDA_SUCCESS) {
      (void)free_host(session, memory);
      return result;
    }
  }
  *pointer = memory;
  return CUDA_SUCCESS;
}

int free_host(Session& session, void* pointer) {
  if (pointer == nullptr) return CUDA_SUCCESS;
  const auto known =
      program().allocations.remove(reinterpret_cast<uint64_t>(pointer), MemoryKind::kHostPinned);
  if (!known) return CUDA_ERROR_INVALID_VALUE;
  int result = release(session, *known);
  int removed = CUDA_SUCCESS;
  if (!program().visible.remove(session, known->address, &removed)) {
    ::munmap(pointer, round_to_pages(known->bytes));
  }
  return result != CUDA_SUCCESS ? result : removed;
}

int device_pointer(Session& session, const void* pointer, uint64_t* device) {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  const auto known = program().allocations.find(address);
  if (!known || known->kind == MemoryKind::kDevice) return CUDA_ERROR_INVALID_VALUE;
  if (known->kind == MemoryKind::kHostRegistered) {
    if (const int failed = registered_memory().make_visible(session, address)) return failed;
  }
  if (known->kind == MemoryKind::kHostPinned) {
    if (const int failed = program().visible.make_visible(session, address)) return failed;
  }
  *device = address;
  return CUDA_SUCCESS;
}

int register_host(Session& session, void* pointer, size_t bytes, unsigned flags) {
  if (pointer == nullptr || bytes == 0 || (flags & ~kRegisterFlags) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (program().allocations.find(reinterpret_cast<uint64_t>(pointer))) {
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  registered_memory().add(reinterpret_cast<uint64_t>(pointer), bytes);
  program().allocations.add(describe(pointer, bytes, MemoryKind::kHostRegistered, flags));
  if ((flags & CU_MEMHOSTREGISTER_DEVICEMAP) == 0) return CUDA_SUCCESS;
  uint64_t unused = 0;
  const int result = device_pointer(session, pointer, &unused);
  if (result != CUDA_SUCCESS) (void)unregister_host(session, pointer);
  return result;
}

int unregister_host(Session& session, void* pointer) {
  const auto known = program().allocations.remove(reinterpret_cast<uint64_t>(pointer),
                                                  MemoryKind::kHostRegistered);
  if (!known) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  int result = release(session, *known);
  int removed = CUDA_SUCCESS;
  (void)registered_memory().remove(session, known->address, &removed);
  return result != CUDA_SUCCESS ? result : removed;
}

}  // namespace farcall::client
