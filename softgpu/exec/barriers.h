// Where the threads of a block or of a cluster wait for each other, and what their end means for
// those that wait.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// In each: the group at `index` of the warp has come there with the lanes in `active`, and its pc
// is already behind the instruction.
void arrive_at_barrier(Block& block, Warp& warp, u32 index, const Op& op, u32 active);
void arrive_at_cluster(Warp& warp, u32 active);
// Waits for the phase in which the lanes arrived: those that it is over for go on.
void wait_for_cluster(Warp& warp, u32 index, u32 active);

void exit_lanes(Block& block, Warp& warp, u32 mask);

}  // namespace farcall::softgpu
