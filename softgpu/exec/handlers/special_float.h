// Floating-point instructions that are rare, so that one build of them is enough.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

// rcp.approx.ftz.f64 and rsqrt.approx.ftz.f64: of a's upper 32 bits, with 20 bits of mantissa.
void approximate_reciprocal_64(Warp& warp, const Op& op, u32 mask);
void approximate_reciprocal_root_64(Warp& warp, const Op& op, u32 mask);

}  // namespace farcall::softgpu
