// The interpreter's heart: runs one warp until it is done, waits, or has used its share of time.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

enum class Outcome : u8 {
  kFinished,
  kBlocked,  // every group waits for another warp of the block
  kQuantum,  // could go on
};

// *progress is set when at least one instruction ran.
Outcome run_warp(Block& block, Warp& warp, bool* progress);

}  // namespace farcall::softgpu
