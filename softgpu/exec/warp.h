// The interpreter's heart: runs one warp until it is done, waits, or has used its share of time.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

enum class Outcome : u8 {
  kFinished,
  kBlocked,  // every group waits for another warp of the block
  kQuantum,  // could go on
};

// Runs about `quantum` instructions at most. *progress is set when at least one ran.
Outcome run_warp(Block& block, Warp& warp, u32 quantum, bool* progress);

}  // namespace farcall::softgpu
