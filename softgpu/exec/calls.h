// Calls, returns, and jumps through tables: where lanes that were together may go different ways.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// In each: the lanes in `active` of the group at `index` take the instruction the group is at.

// Lanes may call different functions through pointers: one function at a time, the others call
// again.
void call(Warp& warp, u32 index, const Op& op, u32 active);
void return_from_function(Warp& warp, u32 index, const Op& op, u32 active);
void branch_indexed(Warp& warp, u32 index, const Op& op, u32 active);

}  // namespace farcall::softgpu
