#include "softgpu/exec/barriers.h"

#include "softgpu/exec/fault.h"
#include "softgpu/exec/groups.h"
#include "softgpu/exec/race.h"

namespace farcall::softgpu {
namespace {

// ---- barriers of the block ----

// For racecheck. Of a barrier for all it is enough to know when it is over. One with a count may be
// for all, too, but some of them may only arrive.
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

}  // namespace

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
static void end_cluster_phase_if_complete(Cluster& cluster) {
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

}  // namespace farcall::softgpu
