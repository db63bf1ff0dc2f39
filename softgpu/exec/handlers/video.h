// The video instructions: arithmetic on bytes and halves of 32-bit registers, chosen freely from
// them, with saturation and a second operation. One handler, which reads what to do from a
// description: nobody is in a hurry here.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

enum class VideoOp : u8 {
  kAdd,
  kSub,
  kAbsDiff,
  kMin,
  kMax,
  kAverage,  // rounded away from minus infinity
  kShl,
  kShr,
  kMad,
  kSet
};
enum class VideoMerge : u8 { kNone, kAdd, kMin, kMax, kInsert };

// Of Op::list, as words.
enum VideoWord : u8 {
  kVideoOperation,  // VideoOp
  kVideoElements,   // 1, 2 or 4 results
  kVideoSignedA,    // how a's parts are extended
  kVideoSignedB,
  kVideoSignedD,  // how the result is saturated and compared
  kVideoSelectA,  // scalar: byte offset and width as (offset << 8 | bytes); SIMD: a nibble for each
  kVideoSelectB,  // element, which counts elements of b:a
  kVideoSaturate,  // width in bits to saturate to; 0: not
  kVideoMerge,     // VideoMerge
  kVideoPlace,     // kInsert: scalar as kVideoSelectA; SIMD: mask of the elements that are computed
  kVideoWrap,      // shifts: modulo 32 instead of clamped
  kVideoComparison,  // kSet: Comparison
  kVideoNegate,      // kMad: 1 the product, 2 c, 4 plus one
  kVideoShift,       // kMad: right by 0, 7 or 15
  kVideoWords
};
void video(Warp& warp, const Op& op, u32 mask);

}  // namespace farcall::softgpu
