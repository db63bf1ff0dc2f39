// Makes a block ready to run.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// All warps of block `index` of the run at the kernel's entry. False: out of memory.
bool start_block(Block& block, GridRun& run, std::array<u32, 3> index, Cluster* cluster, u32 rank);

}  // namespace farcall::softgpu
