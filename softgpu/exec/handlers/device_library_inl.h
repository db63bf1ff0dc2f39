// How the functions that CUDA provides to device code (device_library.cpp, device_launch.cpp) get
// at their arguments: a call is prepared in the caller's frame, as a call of device code is.
#pragma once

#include <cstring>

#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {

template <class T>
T read_device(Warp& warp, const Op& op, int lane, u64 address) {
  T value;
  std::memcpy(&value, checked_range(warp, op, lane, address, sizeof value, Access::kRead),
              sizeof value);
  return value;
}

// Return values and parameters of the call, in the caller's frame.
inline u64 formal_address(Warp& warp, const Op& op, int lane, unsigned index) {
  return lanes<u64>(warp, op.a)[lane] + op.list[index];
}
template <class T>
T argument(Warp& warp, const Op& op, int lane, unsigned index) {
  return read_device<T>(warp, op, lane, formal_address(warp, op, lane, index));
}
template <class T>
void give_back(Warp& warp, const Op& op, int lane, T value) {
  const u64 address = formal_address(warp, op, lane, 0);
  std::memcpy(checked_range(warp, op, lane, address, sizeof value, Access::kWrite), &value,
              sizeof value);
}

}  // namespace farcall::softgpu::FARCALL_ISA
