#include "softgpu/exec/block.h"

#include <algorithm>

#include "softgpu/exec/check.h"

namespace farcall::softgpu {
namespace {

// Shared memory comes in units of this on hardware, so an access just past the end of an array does
// not fault.
constexpr u32 kSharedUnit = 128;

template <class T, class F>
void fill(u8* base, Slot slot, F value) {
  T* const lanes = reinterpret_cast<T*>(base + (slot & kSlotOffsetMask));
  for (u32 lane = 0; lane < kLanes; ++lane) lanes[lane] = value(lane);
}

u64 block_value(const Block& block, Special special) {
  const Launch& launch = *block.run->launch;
  const u64 workspace = reinterpret_cast<u64>(&block.run->workspace);
  switch (special) {
    case Special::kNtidX:
      return launch.block.x;
    case Special::kNtidY:
      return launch.block.y;
    case Special::kNtidZ:
      return launch.block.z;
    case Special::kCtaidX:
      return block.index[0];
    case Special::kCtaidY:
      return block.index[1];
    case Special::kCtaidZ:
      return block.index[2];
    case Special::kNctaidX:
      return launch.grid.x;
    case Special::kNctaidY:
      return launch.grid.y;
    case Special::kNctaidZ:
      return launch.grid.z;
    case Special::kNwarpId:
      return (block.threads + kLanes - 1) / kLanes;
    case Special::kSmId:
      return 0;
    case Special::kNsmId:
      return 1;
    case Special::kGridId:
      return block.run->grid_id;
    case Special::kDynamicSmemSize:
      return launch.dynamic_shared_bytes;
    case Special::kTotalSmemSize:
      return block.kernel->shared_bytes + launch.dynamic_shared_bytes;
    case Special::kEnvReg1:
      return workspace >> 32;
    case Special::kEnvReg2:
      return workspace & 0xffff'ffff;
    case Special::kSharedBase:
      return reinterpret_cast<u64>(block.shared.data());
    case Special::kParamBase:
      return block.params;
    case Special::kClusterIdX:
      return block.index[0] / launch.cluster.x;
    case Special::kClusterIdY:
      return block.index[1] / launch.cluster.y;
    case Special::kClusterIdZ:
      return block.index[2] / launch.cluster.z;
    case Special::kNclusterIdX:
      return launch.grid.x / launch.cluster.x;
    case Special::kNclusterIdY:
      return launch.grid.y / launch.cluster.y;
    case Special::kNclusterIdZ:
      return launch.grid.z / launch.cluster.z;
    case Special::kClusterCtaidX:
      return block.index[0] % launch.cluster.x;
    case Special::kClusterCtaidY:
      return block.index[1] % launch.cluster.y;
    case Special::kClusterCtaidZ:
      return block.index[2] % launch.cluster.z;
    case Special::kClusterNctaidX:
      return launch.cluster.x;
    case Special::kClusterNctaidY:
      return launch.cluster.y;
    case Special::kClusterNctaidZ:
      return launch.cluster.z;
    case Special::kClusterCtarank:
      return block.rank;
    case Special::kClusterNctarank:
      return block.cluster->count;
    default:
      return 0;
  }
}

// The same for all blocks of a grid.
bool lasts_for_grid(Special special) {
  switch (special) {
    case Special::kNtidX:
    case Special::kNtidY:
    case Special::kNtidZ:
    case Special::kNctaidX:
    case Special::kNctaidY:
    case Special::kNctaidZ:
    case Special::kDynamicSmemSize:
    case Special::kTotalSmemSize:
    case Special::kEnvReg1:
    case Special::kEnvReg2:
    case Special::kParamBase:
      return true;
    default:
      return false;
  }
}

u32 lane_value(const Block& block, const Warp& warp, Special special, u32 lane) {
  const Dim3 shape = block.run->launch->block;
  const u32 thread = warp.index * kLanes + lane;
  const u64 bit = u64{1} << lane;
  switch (special) {
    case Special::kTidX:
      return thread % shape.x;
    case Special::kTidY:
      return thread / shape.x % shape.y;
    case Special::kTidZ:
      return thread / shape.x / shape.y;
    case Special::kLaneId:
      return lane;
    case Special::kWarpId:
      return warp.index;
    case Special::kLaneMaskEq:
      return static_cast<u32>(bit);
    case Special::kLaneMaskLt:
      return static_cast<u32>(bit - 1);
    case Special::kLaneMaskLe:
      return static_cast<u32>(2 * bit - 1);
    case Special::kLaneMaskGt:
      return ~static_cast<u32>(2 * bit - 1);
    case Special::kLaneMaskGe:
      return ~static_cast<u32>(bit - 1);
    default:
      return 0;
  }
}

void run_prologue(Warp& warp, const std::vector<Op>& ops) {
  for (const Op& op : ops) op.handler(warp, op, kAllLanes);
}

// Where the warp's memory lies and what it may use; what follows can run instructions then.
bool place_warp(Block& block, Warp& warp) {
  const Kernel& kernel = *block.kernel;
  const size_t predicate_bytes = size_t{kernel.predicates} * sizeof(u32);
  if (!warp.registers.reserve(kernel.register_bytes + predicate_bytes)) return false;
  // Lanes a little apart, lest they all fall into one set of the cache.
  const size_t local_bytes = size_t{block.run->stack_bytes} * kLanes;
  if (!warp.local.reserve(local_bytes)) return false;
  warp.base[0] = warp.registers.data();
  warp.base[1] = kernel.constant_memory.data();
  warp.base[2] = warp.base[3] = block.values.data();
  warp.predicates = reinterpret_cast<u32*>(warp.registers.data() + kernel.register_bytes);
  warp.predicates[0] = kAllLanes;
  warp.window_base = block.run->memory->window_base();
  const bool watched = block.run->checker != nullptr;
  warp.window_limit = watched ? 0 : block.run->memory->window_bytes();
  warp.shared_base = reinterpret_cast<u64>(block.shared.data());
  warp.shared_bytes =
      (u64{kernel.shared_bytes} + block.run->launch->dynamic_shared_bytes + kSharedUnit - 1) /
      kSharedUnit * kSharedUnit;
  warp.shared_limit = watched ? 0 : warp.shared_bytes;
  warp.local_base = reinterpret_cast<u64>(warp.local.data());
  warp.local_bytes = local_bytes;
  warp.local_limit = watched ? 0 : local_bytes;
  return true;
}

// What is the same for every block of the run.
bool prepare_warp(Block& block, Warp& warp) {
  const Kernel& kernel = *block.kernel;
  if (!place_warp(block, warp)) return false;
  for (const SpecialSlot& s : kernel.specials) {
    if (s.special >= Special::kFirstOfBlock) continue;
    fill<u32>(warp.base[0], s.slot,
              [&](u32 lane) { return lane_value(block, warp, s.special, lane); });
  }
  fill<u64>(warp.base[0], kernel.functions[0].frame_slot,
            [&](u32 lane) { return warp.local_base + u64{block.run->stack_bytes} * lane; });
  run_prologue(warp, kernel.warp_prologue);
  warp.prepared_for = block.run->grid_id;
  return true;
}

}  // namespace

bool start_block(Block& block, GridRun& run, std::array<u32, 3> index, Cluster* cluster, u32 rank) {
  const Launch& launch = *run.launch;
  const Kernel& kernel = *run.kernel;
  block.run = &run;
  block.kernel = &kernel;
  block.alone = {};
  block.cluster = cluster != nullptr ? cluster : &block.alone;
  block.cluster->blocks[rank] = &block;
  block.rank = rank;
  block.index = index;
  block.threads = block.living = launch.block.x * launch.block.y * launch.block.z;
  block.barriers = {};
  block.barriers_begun = 0;
  block.params = reinterpret_cast<u64>(run.params);
  block.warp_count = (block.threads + kLanes - 1) / kLanes;
  const size_t shared_bytes =
      size_t{kernel.shared_bytes} + launch.dynamic_shared_bytes + kSharedUnit;
  if (!block.shared.reserve(shared_bytes) || !block.values.reserve(kernel.block_value_bytes))
    return false;
  if (run.checker != nullptr) run.checker->start_block(block, shared_bytes);
  for (const SpecialSlot& s : kernel.specials) {
    if (s.special < Special::kFirstOfBlock) continue;
    if (block.prepared_for == run.grid_id && lasts_for_grid(s.special)) continue;
    const u64 value = block_value(block, s.special);
    if (is_wide(s.special))
      fill<u64>(block.values.data(), s.slot, [&](u32) { return value; });
    else
      fill<u32>(block.values.data(), s.slot, [&](u32) { return static_cast<u32>(value); });
  }
  while (block.warps.size() < block.warp_count) {
    block.warps.push_back(std::make_unique<Warp>());
    block.warps.back()->prepared_for = 0;
  }
  {
    Warp& first = *block.warps[0];
    first.block = &block;
    if (block.prepared_for != run.grid_id) {
      if (!place_warp(block, first)) return false;
      run_prologue(first, kernel.grid_prologue);
      block.prepared_for = run.grid_id;
    }
    run_prologue(first, kernel.block_prologue);
  }
  for (u32 k = 0; k < block.warp_count; ++k) {
    Warp& warp = *block.warps[k];
    warp.block = &block;
    warp.index = k;
    if (warp.prepared_for != run.grid_id && !prepare_warp(block, warp)) return false;
    const u32 lanes = std::min(u32{kLanes}, block.threads - k * kLanes);
    warp.members = lanes == kLanes ? kAllLanes : (u32{1} << lanes) - 1;
    warp.exited = 0;
    warp.cluster_arrived = 0;
    warp.carry = 0;
    warp.group_count = 1;
    warp.groups[0] = {kernel.functions[0].entry, warp.members, 0, 0, Group::Wait::kReady, 0};
    warp.current = &kernel.code[0];
    warp.current_mask = warp.members;
  }
  return true;
}

}  // namespace farcall::softgpu
