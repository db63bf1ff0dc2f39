// What the scheduler does at instructions that are more than a handler, other than branches.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// Op::flags of a branch forward: between it and its target stand handlers alone. So lanes that
// don't jump can run them at once, and nobody has to part and to meet again.
constexpr u8 kSkipsPlain = 1;

// The group at `index`, whose pc is up to date, has come to `op` with the lanes in `active` (at
// least one) under its guard. Not for kPlain, kBranch and kYield. Groups may change places.
void carry_out(Block& block, Warp& warp, u32 index, const Op& op, u32 active);

}  // namespace farcall::softgpu
