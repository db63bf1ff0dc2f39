// Lanes of a warp are kept in groups of equal program counter. The ready group with the deepest
// call, then the lowest program counter, runs: so branches meet again, and a converged warp runs in
// lockstep, which old code relies on. A group that keeps branching back while others are ready
// gives way after a while, so every lane makes progress (Volta's independent thread scheduling):
// spin locks inside a warp end.
#include "softgpu/exec/warp.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "softgpu/exec/fault.h"
#include "softgpu/exec/race.h"

namespace farcall::softgpu {
namespace {

// Branches back before a group gives way to others of its warp.
constexpr u32 kSpinsMax = 256;
// Times that groups of a warp give way to each other before the warp gives way to others.
constexpr u32 kYieldsMax = 16;

using Wait = Group::Wait;

u64* lanes64(Warp& warp, Slot slot) {
  return reinterpret_cast<u64*>(warp.base[slot >> 30] + (slot & kSlotOffsetMask));
}
u32* lanes32(Warp& warp, Slot slot) {
  return reinterpret_cast<u32*>(warp.base[slot >> 30] + (slot & kSlotOffsetMask));
}

u32 guarded(const Warp& warp, const Op& op, u32 mask) {
  return mask & (warp.predicates[op.guard] ^ (op.guard_negated ? kAllLanes : 0));
}

void drop_group(Warp& warp, u32 index) { warp.groups[index] = warp.groups[--warp.group_count]; }

Group& add_group(Warp& warp, Group group) {
  assert(warp.group_count < kLanes);  // groups are disjoint and not empty
  return warp.groups[warp.group_count++] = group;
}

// Lanes go on elsewhere: joins a group that is there already.
void move_lanes(Warp& warp, u32 pc, u32 mask, u32 depth, u32 spins) {
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
int choose_group(const Warp& warp, bool fair) {
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
u32 merge_into(Warp& warp, u32 index) {
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
u32 next_meeting(const Warp& warp, u32 index) {
  const Group& group = warp.groups[index];
  u32 at = ~u32{0};
  for (u32 i = 0; i < warp.group_count; ++i) {
    const Group& other = warp.groups[i];
    if (other.wait == Wait::kReady && other.depth == group.depth && other.pc > group.pc)
      at = std::min(at, other.pc);
  }
  return at;
}

// ---- barriers of the block ----

// For racecheck. Of a barrier for all it is enough to know when it is over. One with a count may be
// for all, too, but some of them may only arrive.
u32 thread_of(const Warp& warp, int lane) { return warp.index * kLanes + static_cast<u32>(lane); }
bool is_for_all(const Barrier& barrier) { return barrier.expected == 0; }

void release_barrier(Block& block, u32 id) {
  Barrier& barrier = block.barriers[id];
  const u32 result = barrier.result;
  const bool for_all = is_for_all(barrier);
  if (block.races && for_all) block.races->barrier_of_all();
  barrier = {};
  block.barriers_begun &= ~(u32{1} << id);
  for (u32 k = 0; k < block.warp_count; ++k) {
    Warp& warp = *block.warps[k];
    for (u32 i = 0; i < warp.group_count; ++i) {
      Group& group = warp.groups[i];
      if (group.wait != Wait::kBarrier || group.barrier != id) continue;
      group.wait = Wait::kReady;
      if (block.races && !for_all) {
        for_each_lane(group.mask, [&](int lane) { block.races->leave(id, thread_of(warp, lane)); });
      }
      const Op& op = block.kernel->code[group.pc - 1];
      if (op.flags == kBarrierPopc) {
        u32* const d = lanes32(warp, op.d);
        for_each_lane(group.mask, [&](int lane) { d[lane] = result; });
      } else if (op.flags == kBarrierAnd || op.flags == kBarrierOr) {
        u32& d = warp.predicates[op.pd];
        d = (d & ~group.mask) | (result != 0 ? group.mask : 0);
      }
    }
  }
  if (block.races && !for_all) block.races->end_barrier(id);
}

bool barrier_complete(const Block& block, const Barrier& barrier) {
  return barrier.arrived != 0 &&
         barrier.arrived >= (barrier.expected != 0 ? barrier.expected : block.living);
}

// The lanes of `active` arrive; the group's pc is already behind the instruction.
void arrive_at_barrier(Block& block, Warp& warp, u32 index, const Op& op, u32 active) {
  const int lane = __builtin_ctz(active);
  const u32 id = lanes32(warp, op.a)[lane];
  if (id >= block.barriers.size())
    raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0, "no such barrier");
  Barrier& barrier = block.barriers[id];
  block.barriers_begun |= u32{1} << id;
  if (barrier.arrived == 0) barrier.result = op.flags == kBarrierAnd ? 1 : 0;
  if (op.b != kNoSlot) barrier.expected = lanes32(warp, op.b)[lane];
  const u32 values = (warp.predicates[op.ps] ^ (op.count != 0 ? kAllLanes : 0)) & active;
  if (op.flags == kBarrierPopc) barrier.result += static_cast<u32>(__builtin_popcount(values));
  if (op.flags == kBarrierAnd && values != active) barrier.result = 0;
  if (op.flags == kBarrierOr && values != 0) barrier.result = 1;
  barrier.arrived += static_cast<u32>(__builtin_popcount(active));
  if (block.races && !is_for_all(barrier))
    for_each_lane(active, [&](int i) { block.races->arrive(id, thread_of(warp, i)); });

  if (op.flags != kBarrierArrive) {
    Group& group = warp.groups[index];
    const auto waiting = static_cast<u8>(id);
    if (active == group.mask) {
      group.wait = Wait::kBarrier;
      group.barrier = waiting;
    } else {
      group.mask &= ~active;
      add_group(warp, {group.pc, active, group.depth, 0, Wait::kBarrier, waiting});
    }
  }
  if (barrier_complete(block, barrier)) release_barrier(block, id);
}

// ---- barrier.cluster ----

// When all threads of the cluster that live have arrived, a new phase begins.
void end_cluster_phase_if_complete(Cluster& cluster) {
  u32 living = 0;
  for (u32 rank = 0; rank < cluster.count; ++rank) living += cluster.blocks[rank]->living;
  if (cluster.arrived < living) return;
  cluster.arrived = 0;
  for (u32 rank = 0; rank < cluster.count; ++rank) {
    Block& block = *cluster.blocks[rank];
    if (block.races) block.races->barrier_of_all();
    for (u32 k = 0; k < block.warp_count; ++k) {
      Warp& warp = *block.warps[k];
      warp.cluster_arrived = 0;
      for (u32 i = 0; i < warp.group_count; ++i) {
        if (warp.groups[i].wait == Wait::kCluster) warp.groups[i].wait = Wait::kReady;
      }
    }
  }
}

void arrive_at_cluster(Warp& warp, u32 active) {
  Cluster& cluster = *warp.block->cluster;
  cluster.arrived += static_cast<u32>(__builtin_popcount(active & ~warp.cluster_arrived));
  warp.cluster_arrived |= active;
  end_cluster_phase_if_complete(cluster);
}

// Waits for the phase in which the lanes arrived: those that it is over for go on. The group's pc
// is already behind the instruction.
void wait_for_cluster(Warp& warp, u32 index, u32 active) {
  Group& group = warp.groups[index];
  const u32 waiting = active & warp.cluster_arrived;
  if (waiting == 0) return;
  if (waiting == group.mask) {
    group.wait = Wait::kCluster;
    return;
  }
  group.mask &= ~waiting;
  add_group(warp, {group.pc, waiting, group.depth, 0, Wait::kCluster, 0});
}

void exit_lanes(Block& block, Warp& warp, u32 mask) {
  warp.exited |= mask;
  block.living -= static_cast<u32>(__builtin_popcount(mask));
  Cluster& cluster = *block.cluster;
  if (cluster.arrived != 0) {
    // Who has arrived and is gone no longer counts, neither there nor here.
    cluster.arrived -= static_cast<u32>(__builtin_popcount(mask & warp.cluster_arrived));
    warp.cluster_arrived &= ~mask;
    end_cluster_phase_if_complete(cluster);
  }
  // The dead no longer count: others may have waited for them alone.
  for_each_lane(block.barriers_begun, [&](int id) {
    if (barrier_complete(block, block.barriers[static_cast<size_t>(id)]))
      release_barrier(block, static_cast<u32>(id));
  });
  for (u32 i = 0; i < warp.group_count; ++i) {
    if (warp.groups[i].wait == Wait::kWarpSync) warp.groups[i].wait = Wait::kReady;
  }
}

// ---- instructions that wait for members of the warp ----

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

// The group at `index` has come to an instruction that waits for its members.
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

// Every group waits, some of them for members that wait elsewhere. That is invalid CUDA, yet
// hardware lets each group go on by itself. True: some did.
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

// ---- calls ----

// Splits `part` off the group at `index`, which keeps the rest; they go on at pc, `depth` calls
// deep.
void send(Warp& warp, u32 index, u32 part, u32 pc, u32 depth) {
  Group& group = warp.groups[index];
  if (part == group.mask) {
    group.pc = pc;
    group.depth = depth;
  } else {
    group.mask &= ~part;
    move_lanes(warp, pc, part, depth, group.spins);
  }
}

// Copies the function's registers of one lane to or from its save area.
void save_registers(Warp& warp, const DecodedFunction& function, int lane, u8* area) {
  for (const SavedSlot& saved : function.saved) {
    std::memcpy(area, warp.base[0] + saved.slot + saved.bytes * static_cast<u32>(lane),
                saved.bytes);
    area += saved.bytes;
  }
  for (u32 p = function.first_predicate; p < function.predicate_end; ++p) {
    *area++ = static_cast<u8>(warp.predicates[p] >> lane & 1);
  }
}
void restore_registers(Warp& warp, const DecodedFunction& function, int lane, const u8* area) {
  for (const SavedSlot& saved : function.saved) {
    std::memcpy(warp.base[0] + saved.slot + saved.bytes * static_cast<u32>(lane), area,
                saved.bytes);
    area += saved.bytes;
  }
  for (u32 p = function.first_predicate; p < function.predicate_end; ++p) {
    warp.predicates[p] = (warp.predicates[p] & ~(u32{1} << lane)) | u32{*area++} << lane;
  }
}

void enter_function(Warp& warp, const Op& op, const DecodedFunction& caller,
                    const DecodedFunction& callee, u32 part, u32 return_pc) {
  const u64 stack_bytes = warp.block->run->stack_bytes;
  if (op.count != callee.formals.size() && !callee.undecoded) {
    raise_fault(warp, op, __builtin_ctz(part), Fault::Kind::kIllegalInstruction, 0,
                "call with other parameters than the function has");
  }
  for_each_lane(part, [&](int lane) {
    const u64 caller_frame = lanes64(warp, caller.frame_slot)[lane];
    const u64 save_area = caller_frame + caller.frame_bytes;
    const u64 frame = save_area + callee.save_bytes;
    const u64 stack_end = warp.local_base + stack_bytes * static_cast<u64>(lane + 1);
    if (frame + callee.frame_bytes > stack_end) {
      raise_fault(warp, op, lane, Fault::Kind::kStackOverflow, frame, nullptr);
    }
    if (callee.recursive) save_registers(warp, callee, lane, reinterpret_cast<u8*>(save_area));
    lanes64(warp, callee.frame_slot)[lane] = frame;
    lanes32(warp, callee.return_slot)[lane] = return_pc;
    for (size_t k = 0; k < callee.formals.size(); ++k) {
      lanes64(warp, callee.formals[k])[lane] = caller_frame + op.list[k];
    }
  });
}

// Lanes may call different functions through pointers: one function at a time, the others call
// again.
void call(Warp& warp, u32 index, const Op& op, u32 active) {
  const Kernel& kernel = *warp.block->kernel;
  Group& group = warp.groups[index];
  const u32 pc = group.pc;
  u32 part = active, function = op.target;
  if (op.control == Control::kCallIndirect) {
    const u64* const addresses = lanes64(warp, op.a);
    const int first = __builtin_ctz(active);
    const u64 address = addresses[first];
    function =
        address < kernel.function_of_address.size() ? kernel.function_of_address[address] : kNoSlot;
    if (function == kNoSlot) {
      raise_fault(warp, op, first, Fault::Kind::kIllegalAddress, address,
                  "call of what is no function");
    }
    part = 0;
    for_each_lane(active,
                  [&](int lane) { part |= addresses[lane] == address ? u32{1} << lane : 0; });
  }
  const DecodedFunction& callee = kernel.functions[function];
  enter_function(warp, op, kernel.functions[op.imm], callee, part, pc + 1);
  const u32 depth = group.depth, skipped = group.mask & ~active;
  if (skipped != 0) send(warp, index, skipped, pc + 1, depth);
  send(warp, index, part, callee.entry, depth + 1);
}

void return_from_function(Warp& warp, u32 index, const Op& op, u32 active) {
  const DecodedFunction& function = warp.block->kernel->functions[op.target];
  u32 to[kLanes];
  std::memcpy(to, lanes32(warp, function.return_slot), sizeof to);
  if (function.recursive) {
    for_each_lane(active, [&](int lane) {
      const u64 frame = lanes64(warp, function.frame_slot)[lane];
      restore_registers(warp, function, lane,
                        reinterpret_cast<const u8*>(frame - function.save_bytes));
    });
  }
  const u32 depth = warp.groups[index].depth;
  if (active != warp.groups[index].mask)
    send(warp, index, warp.groups[index].mask & ~active, warp.groups[index].pc + 1, depth);
  while (active != 0) {
    const u32 pc = to[__builtin_ctz(active)];
    u32 part = 0;
    for_each_lane(active, [&](int lane) { part |= to[lane] == pc ? u32{1} << lane : 0; });
    active &= ~part;
    send(warp, index, part, pc, depth - 1);
  }
}

void branch_indexed(Warp& warp, u32 index, const Op& op, u32 active) {
  u32 choice[kLanes];
  std::memcpy(choice, lanes32(warp, op.a), sizeof choice);
  const u32 depth = warp.groups[index].depth;
  if (active != warp.groups[index].mask)
    send(warp, index, warp.groups[index].mask & ~active, warp.groups[index].pc + 1, depth);
  while (active != 0) {
    const int first = __builtin_ctz(active);
    const u32 value = choice[first];
    if (value >= op.target)
      raise_fault(warp, op, first, Fault::Kind::kIllegalInstruction, 0, "brx.idx past its targets");
    u32 part = 0;
    for_each_lane(active, [&](int lane) { part |= choice[lane] == value ? u32{1} << lane : 0; });
    active &= ~part;
    send(warp, index, part, op.list[value], depth);
  }
}

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
        case Control::kExit:
          if (active == mask) {
            drop_group(warp, index);
          } else {
            group->mask = mask & ~active;
            group->pc = pc + 1;
          }
          exit_lanes(block, warp, active);
          break;
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
          group->pc = pc + 1;
          arrive_at_barrier(block, warp, index, op, active);
          if (whole) {
            if (group->wait != Wait::kReady) return Outcome::kBlocked;
            ++pc;
            continue;
          }
          break;
        case Control::kBranchIndexed:
          branch_indexed(warp, index, op, active);
          break;
        case Control::kCall:
        case Control::kCallIndirect:
          call(warp, index, op, active);
          break;
        case Control::kReturn:
          return_from_function(warp, index, op, active);
          break;
        case Control::kClusterArrive:
          group->pc = pc + 1;
          arrive_at_cluster(warp, active);
          break;
        case Control::kClusterWait:
          group->pc = pc + 1;
          wait_for_cluster(warp, index, active);
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
        case Control::kPlain:
        case Control::kBranch:
          break;
      }
      break;
    }
    if (executed >= budget) return Outcome::kQuantum;
    budget -= executed;
  }
}

}  // namespace farcall::softgpu
