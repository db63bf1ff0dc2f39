// Short names for the machine types that PTX computes with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace farcall::softgpu {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;

constexpr int kLanes = 32;  // of a warp
constexpr u32 kAllLanes = ~u32{0};

// Calls f(lane) for each set bit, lowest first.
template <class F>
[[gnu::always_inline]] inline void for_each_lane(u32 mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(__builtin_ctz(mask));
}

}  // namespace farcall::softgpu
