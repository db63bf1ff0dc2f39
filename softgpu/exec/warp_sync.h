// Instructions that wait for members of their warp: bar.warp.sync, shuffles, votes and their like.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// The group at `index` has come to an instruction that waits for its members.
void warp_sync(Warp& warp, u32 index, const Op& op);
// For racecheck: bar.warp.sync orders what its members do. Lanes that met may be of several sets
// (tiles).
void note_meeting(Warp& warp, const Op& op, u32 active);
// Every group waits, some of them for members that wait elsewhere. That is invalid CUDA, yet
// hardware lets each group go on by itself. True: some did.
bool let_stray_groups_go(Warp& warp);

}  // namespace farcall::softgpu
