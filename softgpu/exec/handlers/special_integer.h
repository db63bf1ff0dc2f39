// Integer instructions that are rare, so that one build of them is enough.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

// fns: d = position of the c-th bit set in a, counted from bit b on.
void find_nth_set(Warp& warp, const Op& op, u32 mask);

// d = prmt's selector that mode and a mean. Op::flags: PermuteMode.
enum PermuteMode : u8 { kForward4, kBackward4, kReplicate8, kEdgeLeft, kEdgeRight, kReplicate16 };
void permute_selector(Warp& warp, const Op& op, u32 mask);

// cvt.pack: d = c, a, b from the top, a and b saturated to Op::count bits. flags 1: signed.
void saturate_and_pack(Warp& warp, const Op& op, u32 mask);

// Two 16-bit integers in 32 bits: add, min, max. nullptr: there is no such operation.
Handler find_integer_pair(IntegerOp operation, ptx::Type type);

// pd = (a != 0) OR/AND ps. flags 1: and; 2: ps negated.
void nonzero_with_predicate(Warp& warp, const Op& op, u32 mask);

}  // namespace farcall::softgpu
