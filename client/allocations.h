// What the program owns: device allocations, and host memory that CUDA knows of. It answers "what
// is this pointer" (cudaMemcpyDefault, pointer attributes, double free) without asking the server.
// One table per process; its owner is Program (program.h). Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>

#include "client/api.h"

namespace farcall::client {

enum class MemoryKind : uint8_t { kDevice, kManaged, kHostPinned, kHostRegistered };
constexpr bool is_pinned(MemoryKind kind) {
  return kind == MemoryKind::kHostPinned || kind == MemoryKind::kHostRegistered;
}

struct Allocation {
  uint64_t address = 0;
  uint64_t bytes = 0;
  MemoryKind kind = MemoryKind::kDevice;
  int device = 0;
  uint64_t context = 0;  // HandleId of the context it was made in
  uint32_t flags = 0;    // of cuMemHostAlloc, cuMemHostRegister, or cuMemAllocManaged
  uint64_t id = 0;       // unique over the life of the process (CU_POINTER_ATTRIBUTE_BUFFER_ID)
};

class FARCALL_API Allocations {
 public:
  void add(Allocation allocation);
  // Removes the allocation that starts at `address`; nullopt if none does.
  std::optional<Allocation> remove(uint64_t address, MemoryKind kind);
  std::optional<Allocation> find(uint64_t address) const;  // that contains it
  void remove_context(uint64_t context);                   // its device and managed memory
  uint64_t device_bytes(int device) const;                 // of device memory

 private:
  mutable std::shared_mutex mutex_;
  std::map<uint64_t, Allocation> by_address_;
  uint64_t next_id_ = 1;
};

}  // namespace farcall::client
