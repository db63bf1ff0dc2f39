// The heap behind malloc() and free() of device code. Blocks stay alive between kernels, as in
// CUDA.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/types.h"

namespace farcall::softgpu {

class DeviceHeap {
 public:
  // CUDA's default of cudaLimitMallocHeapSize.
  static constexpr u64 kDefaultBytes = 8u << 20;
  explicit DeviceHeap(AddressSpace& memory, u64 bytes = kDefaultBytes)
      : memory_(memory), bytes_(bytes) {}
  ~DeviceHeap();
  DeviceHeap(const DeviceHeap&) = delete;
  DeviceHeap& operator=(const DeviceHeap&) = delete;

  u64 allocate(u64 bytes);    // 0: the heap is used up
  bool release(u64 address);  // false: no block of this heap

  bool used() const;  // malloc() was called

  // For checkers and messages.
  bool among_blocks(u64 address) const;      // in the memory of the heap at all
  bool holds(u64 address, u64 bytes) const;  // inside one block that is in use
  std::string describe(u64 address) const;   // empty: not in the heap

 private:
  static constexpr u64 kAlignment = 16;

  AddressSpace& memory_;
  const u64 bytes_;  // taken from the device on first use
  mutable std::mutex mutex_;
  void* arena_ = nullptr;
  std::map<u64, u64> free_;  // address -> bytes
  struct Size {
    u64 rounded, asked;
  };
  std::map<u64, Size> allocated_;  // by address
};

}  // namespace farcall::softgpu
