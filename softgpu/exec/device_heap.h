// The heap behind malloc() and free() of device code. Blocks stay alive between kernels, as in
// CUDA.
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/types.h"

namespace farcall::softgpu {

class DeviceHeap {
 public:
  explicit DeviceHeap(AddressSpace& memory) : memory_(memory) {}
  ~DeviceHeap();
  DeviceHeap(const DeviceHeap&) = delete;
  DeviceHeap& operator=(const DeviceHeap&) = delete;

  u64 allocate(u64 bytes);    // 0: the heap is used up
  bool release(u64 address);  // false: no block of this heap

 private:
  // CUDA's default of cudaLimitMallocHeapSize; taken from the device on first use.
  static constexpr u64 kHeapBytes = 8u << 20;
  static constexpr u64 kAlignment = 16;

  AddressSpace& memory_;
  std::mutex mutex_;
  void* arena_ = nullptr;
  std::map<u64, u64> free_;  // address -> bytes
  std::unordered_map<u64, u64> allocated_;
};

}  // namespace farcall::softgpu
