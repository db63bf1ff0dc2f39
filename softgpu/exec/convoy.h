// Warps of a block that go along together: what many warps do at the same place is done for one
// after the other, instruction by instruction. The results of one warp's instruction are not what
// the next one works on, so the processor overlaps them, and their memory lies side by side; a
// branch or a barrier is one step for all.
//
// Who goes along is looked at anew wherever ways part or meet, as within a warp: the lowest program
// counter first, over all members. Convoys are an order in which warps may run, nothing else.
#pragma once

#include "softgpu/exec/state.h"
#include "softgpu/exec/warp.h"

namespace farcall::softgpu {

constexpr u32 kConvoyMax = 8;

// How many warps of the kernel go together: what they work on should stay in the first-level cache.
u32 convoy_size(const Kernel& kernel);

// Runs block.warps[first, first + count) until all of them wait or are done, or each has had about
// `quantum` instructions. *current: the warp that an instruction runs for. kDisbanded: each has to
// go on by itself for a while, since some wait for others that never come first here.
enum class ConvoyOutcome : u8 { kBlocked, kQuantum, kDisbanded };
ConvoyOutcome run_convoy(Block& block, u32 first, u32 count, u32 quantum, bool* progress,
                         Warp* volatile* current);

}  // namespace farcall::softgpu
