// The groups of a warp: what lanes share a program counter, who of them runs next, where they meet.
#pragma once

#include <algorithm>
#include <cassert>

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

using Wait = Group::Wait;

inline u64* lanes64(Warp& warp, Slot slot) {
  return reinterpret_cast<u64*>(warp.base[slot >> 30] + (slot & kSlotOffsetMask));
}
inline u32* lanes32(Warp& warp, Slot slot) {
  return reinterpret_cast<u32*>(warp.base[slot >> 30] + (slot & kSlotOffsetMask));
}

inline u32 thread_of(const Warp& warp, int lane) {
  return warp.index * kLanes + static_cast<u32>(lane);
}

inline u32 guarded(const Warp& warp, const Op& op, u32 mask) {
  return mask & (warp.predicates[op.guard] ^ (op.guard_negated ? kAllLanes : 0));
}

inline void drop_group(Warp& warp, u32 index) {
  warp.groups[index] = warp.groups[--warp.group_count];
}

inline Group& add_group(Warp& warp, Group group) {
  assert(warp.group_count < kLanes);  // groups are disjoint and not empty
  return warp.groups[warp.group_count++] = group;
}

// Lanes go on elsewhere: joins a group that is there already.
inline void move_lanes(Warp& warp, u32 pc, u32 mask, u32 depth, u32 spins) {
  for (u32 i = 0; i < warp.group_count; ++i) {
    Group& other = warp.groups[i];
    if (other.pc == pc && other.depth == depth && other.wait == Wait::kReady) {
      other.mask |= mask;
      return;
    }
  }
  add_group(warp, {pc, mask, depth, spins, Wait::kReady, 0});
}

// -1: none is ready. Fair: the one that has spun least, whatever its place.
inline int choose_group(const Warp& warp, bool fair) {
  if (warp.group_count == 1) return warp.groups[0].wait == Wait::kReady ? 0 : -1;
  int best = -1;
  for (u32 i = 0; i < warp.group_count; ++i) {
    const Group& g = warp.groups[i];
    if (g.wait != Wait::kReady) continue;
    if (best < 0) {
      best = static_cast<int>(i);
      continue;
    }
    const Group& b = warp.groups[best];
    const bool better = fair                 ? g.spins < b.spins
                        : g.depth != b.depth ? g.depth > b.depth
                                             : g.pc < b.pc;
    if (better) best = static_cast<int>(i);
  }
  return best;
}

// Takes in all ready groups at the same place. Returns the group's index, which may change.
inline u32 merge_into(Warp& warp, u32 index) {
  if (warp.group_count == 1) return index;
  for (u32 i = 0; i < warp.group_count;) {
    Group& other = warp.groups[i];
    const Group& group = warp.groups[index];
    if (i == index || other.pc != group.pc || other.depth != group.depth ||
        other.wait != Wait::kReady) {
      ++i;
      continue;
    }
    warp.groups[index].mask |= other.mask;
    const u32 last = warp.group_count - 1;
    drop_group(warp, i);
    if (index == last) index = i;
  }
  return index;
}

// Where the group meets the next ready one of its depth; ~0: there is none behind it.
inline u32 next_meeting(const Warp& warp, u32 index) {
  const Group& group = warp.groups[index];
  u32 at = ~u32{0};
  for (u32 i = 0; i < warp.group_count; ++i) {
    const Group& other = warp.groups[i];
    if (other.wait == Wait::kReady && other.depth == group.depth && other.pc > group.pc)
      at = std::min(at, other.pc);
  }
  return at;
}

}  // namespace farcall::softgpu
