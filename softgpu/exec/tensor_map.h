// What a CUtensorMap of ours holds: how a tensor lies in global memory, and which box of it a copy
// takes. The driver writes it (cuTensorMapEncodeTiled and its like), kernels only point at it, and
// tensormap.replace changes fields.
#pragma once

#include "softgpu/exec/types.h"

namespace farcall::softgpu {

enum class TensorType : u8 {  // numbered as CUtensorMapDataType has it
  kU8,
  kU16,
  kU32,
  kS32,
  kU64,
  kS64,
  kF16,
  kF32,
  kF64,
  kBf16,
  kF32Ftz,
  kTf32,
  kTf32Ftz,
  kCount
};
enum class TensorMode : u8 { kTiled, kIm2col };
enum class TensorSwizzle : u8 { kNone, k32, k64, k128, kCount };  // bytes of the pattern

struct TensorMap {
  static constexpr u32 kMagic = 0x4d54'5346;
  static constexpr u32 kRankMax = 5;

  u64 address;
  u64 stride[4];       // bytes from one index to the next, of dimensions 1 to 4
  u32 last[kRankMax];  // index of each dimension
  u32 magic;
  u16 box[kRankMax];       // elements; im2col: channels, pixels
  s16 lower[3], upper[3];  // im2col: corners of the box of pixels
  u8 element_stride[kRankMax];
  u8 rank;
  TensorType type;
  TensorMode mode;
  TensorSwizzle swizzle;
  u8 fill_nan;  // outside of the tensor: not zeros but a NaN
  u8 unused[128 - 8 - 32 - 20 - 4 - 10 - 12 - 5 - 5];
};
static_assert(sizeof(TensorMap) == 128);

constexpr u32 element_bytes(TensorType type) {
  switch (type) {
    case TensorType::kU8:
      return 1;
    case TensorType::kU16:
    case TensorType::kF16:
    case TensorType::kBf16:
      return 2;
    case TensorType::kU64:
    case TensorType::kS64:
    case TensorType::kF64:
      return 8;
    default:
      return 4;
  }
}

}  // namespace farcall::softgpu
