// Lanes of a warp are kept in groups of equal program counter. The ready group with the deepest
// call, then the lowest program counter, runs: so branches meet again, and a converged warp runs in
// lockstep, which old code relies on. A group that keeps branching back while others are ready
// gives way after a while, so every lane makes progress (Volta's independent thread scheduling):
// spin locks inside a warp end.
#include "softgpu/exec/warp.h"

#include <algorithm>

#include "softgpu/exec/barriers.h"
#include "softgpu/exec/control.h"
#include "softgpu/exec/groups.h"
#include "softgpu/exec/warp_sync.h"

namespace farcall::softgpu {
namespace {

// Branches back before a group gives way to others of its warp.
constexpr u32 kSpinsMax = 256;
// Times that groups of a warp give way to each other before the warp gives way to others.
constexpr u32 kYieldsMax = 16;

}  // namespace

Outcome run_warp(Block& block, Warp& warp, u32 quantum, bool* progress) {
  const Op* const code = block.kernel->code.data();
  u32 budget = quantum;
  bool fair = false;
  for (;;) {
    const int chosen = choose_group(warp, fair);
    // A group that runs out of turn must not keep others waiting that come before it.
    const bool in_turn = !fair;
    fair = false;
    if (chosen < 0) {
      if (warp.group_count == 0) return Outcome::kFinished;
      if (let_stray_groups_go(warp)) {
        *progress = true;
        continue;
      }
      return Outcome::kBlocked;
    }
    *progress = true;
    u32 index = merge_into(warp, static_cast<u32>(chosen));
    Group* group = &warp.groups[index];
    u32 pc = group->pc;
    u32 mask = group->mask;
    u32 limit = next_meeting(warp, index);
    u32 executed = 0;
    // Goes on with the group that waits at pc as one.
    auto meet = [&] {
      group->pc = pc;
      index = merge_into(warp, index);
      group = &warp.groups[index];
      mask = group->mask;
      limit = next_meeting(warp, index);
    };
    for (;;) {
      const Op& op = code[pc];
      const u32 active = guarded(warp, op, mask);
      ++executed;
      if (op.control == Control::kPlain) [[likely]] {
        if (active != 0) op.handler(warp, op, active);
        if (++pc == limit) meet();
        continue;
      }
      if (active == 0) {  // nobody takes it
        if (++pc == limit) meet();
        continue;
      }
      if (op.control == Control::kBranch) {
        const u32 target = op.target;
        if (target > pc) {
          if (active == mask) {
            pc = target;
            if (pc < limit) continue;
            if (pc == limit) {
              meet();
              continue;
            }
            group->pc = pc;  // others come first now
            break;
          }
          if ((op.flags & kSkipsPlain) != 0 && target <= limit) {
            executed += target - pc;
            while (++pc < target) {
              const Op& skipped = code[pc];
              const u32 staying = guarded(warp, skipped, mask & ~active);
              if (staying != 0) skipped.handler(warp, skipped, staying);
            }
            if (pc == limit) meet();
            continue;
          }
          group->mask = mask &= ~active;
          group->pc = pc;  // where it began may be the target: others are not to join it there
          move_lanes(warp, target, active, group->depth, group->spins);
          limit = std::min(limit, target);
          if (++pc == limit) meet();
          continue;
        }
        if (active != mask) {  // those that leave a loop wait behind it
          const u32 rest = mask & ~active;
          group->mask = mask = active;
          group->pc = pc;
          move_lanes(warp, pc + 1, rest, group->depth, group->spins);
          limit = std::min(limit, pc + 1);
        }
        pc = target;
        const bool alone = warp.group_count == 1;
        if (!alone) fair = ++group->spins % kSpinsMax == 0;
        if (executed < budget && (alone || (in_turn && !fair))) continue;
        group->pc = pc;
        break;
      }
      // The rest mostly goes back to the scheduler after each.
      group->pc = pc;
      const bool whole = warp.group_count == 1 && active == mask;  // all lanes that live
      switch (op.control) {
        case Control::kWarpSync:
          if (whole) {  // whoever is meant is here
            if (op.handler != nullptr) {
              warp.current = &op;
              op.handler(warp, op, active);
            } else if (block.races) {
              note_meeting(warp, op, active);
            }
            ++pc;
            continue;
          }
          warp_sync(warp, index, op);
          break;
        case Control::kBarrier:
          carry_out(block, warp, index, op, active);
          if (whole) {
            if (group->wait != Wait::kReady) return Outcome::kBlocked;
            ++pc;
            continue;
          }
          break;
        case Control::kYield:
          group->pc = pc + 1;
          ++group->spins;
          fair = true;
          if (warp.group_count == 1) return Outcome::kQuantum;
          // When all groups of the warp only ask again and again, others shall have their turn
          // soon.
          executed += quantum / kYieldsMax;
          break;
        default:
          carry_out(block, warp, index, op, active);
          break;
      }
      break;
    }
    if (executed >= budget) return Outcome::kQuantum;
    budget -= executed;
  }
}

}  // namespace farcall::softgpu
