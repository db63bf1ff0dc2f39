#include "softgpu/exec/warp_sync.h"

#include <cstring>

#include "softgpu/exec/groups.h"
#include "softgpu/exec/race.h"

namespace farcall::softgpu {
namespace {

bool members_here(Warp& warp, const Op& op, u32 active, u32 here) {
  const u32* const members = lanes32(warp, op.c);
  u32 needed = 0;
  for_each_lane(active, [&](int lane) { needed |= members[lane]; });
  return (needed & warp.members & ~warp.exited & ~here) == 0;
}

// Of the groups that wait where the one at `index` can meet them, those whose members are all there
// once it joins (bits of group indices). Without `index` itself in the result, it has to wait.
u32 complete_groups(Warp& warp, u32 index) {
  const Op* const code = warp.block->kernel->code.data();
  const Group& group = warp.groups[index];
  // A plain bar.warp.sync meets others at any instruction; the rest must be at the same one.
  const bool plain = code[group.pc].handler == nullptr;
  u32 meeting = u32{1} << index;
  for (u32 i = 0; i < warp.group_count; ++i) {
    const Group& other = warp.groups[i];
    if (other.wait != Wait::kWarpSync) continue;
    if (other.pc == group.pc || (plain && code[other.pc].handler == nullptr))
      meeting |= u32{1} << i;
  }
  for (;;) {
    u32 here = 0, stays = meeting;
    for_each_lane(meeting, [&](int i) {
      here |= guarded(warp, code[warp.groups[i].pc], warp.groups[i].mask);
    });
    for_each_lane(meeting, [&](int i) {
      const Op& op = code[warp.groups[i].pc];
      if (!members_here(warp, op, guarded(warp, op, warp.groups[i].mask), here))
        stays &= ~(u32{1} << i);
    });
    if (stays == meeting) return meeting;
    meeting = stays;
  }
}

// bar.warp.sync orders what its members do; lanes that met may be of several sets (tiles).
// `members`: whom each lane named.
void note_meeting(Warp& warp, const u32* members, u32 active) {
  while (active != 0) {
    const u32 set = active & (members[__builtin_ctz(active)] | (active & -active));
    u32 threads[kLanes], count = 0;
    for_each_lane(set, [&](int lane) { threads[count++] = thread_of(warp, lane); });
    warp.block->races->meet(threads, count);
    active &= ~set;
  }
}

}  // namespace

void note_meeting(Warp& warp, const Op& op, u32 active) {
  note_meeting(warp, lanes32(warp, op.c), active);
}

void warp_sync(Warp& warp, u32 index, const Op& op) {
  Group& group = warp.groups[index];
  const u32 active = guarded(warp, op, group.mask);
  u32 meeting = u32{1} << index, all = active;
  u32 members[kLanes];
  std::memcpy(members, lanes32(warp, op.c), sizeof members);
  if (!members_here(warp, op, active, active)) {
    meeting = complete_groups(warp, index);
    if ((meeting >> index & 1) == 0) {
      group.wait = Wait::kWarpSync;
      return;
    }
    for_each_lane(meeting, [&](int i) {
      const Group& one = warp.groups[i];
      const Op& at = warp.block->kernel->code[one.pc];
      const u32 lanes = guarded(warp, at, one.mask);
      all |= lanes;
      for_each_lane(lanes, [&](int lane) { members[lane] = lanes32(warp, at.c)[lane]; });
    });
  }
  if (op.handler != nullptr && all != 0) {
    warp.current = &op;
    op.handler(warp, op, all);
  } else if (warp.block->races && all != 0) {
    note_meeting(warp, members, all);
  }
  // Each goes on where it is: behind its own bar.warp.sync, or behind the same instruction in an
  // outer or inner call of a function that calls itself. Those at one place are one group again as
  // soon as it runs.
  for_each_lane(meeting, [&](int i) {
    ++warp.groups[i].pc;
    warp.groups[i].wait = Wait::kReady;
  });
}

bool let_stray_groups_go(Warp& warp) {
  const Op* const code = warp.block->kernel->code.data();
  u32 waiting = 0;
  for (u32 i = 0; i < warp.group_count; ++i) {
    if (warp.groups[i].wait == Wait::kWarpSync) waiting |= warp.groups[i].mask;
  }
  bool any = false;
  for (u32 i = 0; i < warp.group_count; ++i) {
    Group& group = warp.groups[i];
    if (group.wait != Wait::kWarpSync) continue;
    const Op& op = code[group.pc];
    const u32 active = guarded(warp, op, group.mask);
    if (!members_here(warp, op, active, waiting)) continue;
    if (op.handler != nullptr && active != 0) {
      warp.current = &op;
      op.handler(warp, op, active);
    }
    ++group.pc;
    group.wait = Wait::kReady;
    any = true;
  }
  return any;
}

}  // namespace farcall::softgpu
