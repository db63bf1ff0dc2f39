#include "softgpu/exec/warp_sync.h"

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

}  // namespace

void note_meeting(Warp& warp, const Op& op, u32 active) {
  const u32* const members = lanes32(warp, op.c);
  while (active != 0) {
    const u32 set = active & (members[__builtin_ctz(active)] | (active & -active));
    u32 threads[kLanes], count = 0;
    for_each_lane(set, [&](int lane) { threads[count++] = thread_of(warp, lane); });
    warp.block->races->meet(threads, count);
    active &= ~set;
  }
}

void warp_sync(Warp& warp, u32 index, const Op& op) {
  Group* group = &warp.groups[index];
  u32 active = guarded(warp, op, group->mask);
  if (!members_here(warp, op, active, active)) {
    const u32 meeting = complete_groups(warp, index);
    if ((meeting >> index & 1) == 0) {
      group->wait = Wait::kWarpSync;
      return;
    }
    if (warp.block->races && op.handler == nullptr) {
      u32 all = 0;
      for_each_lane(meeting, [&](int i) {
        const Group& one = warp.groups[i];
        all |= guarded(warp, warp.block->kernel->code[one.pc], one.mask);
      });
      note_meeting(warp, op, all);
    }
    // Backwards: dropping a group moves the last one to its place.
    for (u32 i = warp.group_count; i-- > 0;) {
      Group& other = warp.groups[i];
      if (i == index || (meeting >> i & 1) == 0) continue;
      if (other.pc != group->pc || other.depth != group->depth) {
        if (op.handler != nullptr) continue;
        other.wait = Wait::kReady;
        ++other.pc;
        continue;
      }
      group->mask |= other.mask;
      const u32 last = warp.group_count - 1;
      drop_group(warp, i);
      if (index == last) index = i;
      group = &warp.groups[index];
    }
    active = guarded(warp, op, group->mask);
  }
  if (op.handler != nullptr && active != 0) {
    warp.current = &op;
    op.handler(warp, op, active);
  } else if (warp.block->races && active != 0) {
    note_meeting(warp, op, active);
  }
  ++group->pc;
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
