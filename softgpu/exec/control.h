// What the scheduler does at instructions that are more than a handler, other than branches.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// The group at `index`, whose pc is up to date, has come to `op` with the lanes in `active` (at
// least one) under its guard. Not for kPlain, kBranch and kYield. Groups may change places.
void carry_out(Block& block, Warp& warp, u32 index, const Op& op, u32 active);

}  // namespace farcall::softgpu
