// Addresses of shared memory across the blocks of a cluster. A shared address has 32 bits: below
// 2^24 it is an offset in the block's own memory; otherwise its upper byte is one more than the
// rank of the block that it belongs to. Generic addresses are those of the host, as everywhere.
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

constexpr unsigned kRankShift = 24;
constexpr u64 kOffsetMask = (u64{1} << kRankShift) - 1;

u64 base_of(const Block& block) { return reinterpret_cast<u64>(block.shared.data()); }

// The block of the cluster whose shared memory a generic address is in; nullptr: none.
const Block* owner_of(const Warp& warp, u64 address) {
  if (address - warp.shared_base < warp.shared_bytes) return warp.block;
  const Cluster& cluster = *warp.block->cluster;
  for (u32 rank = 0; rank < cluster.count; ++rank) {
    if (address - base_of(*cluster.blocks[rank]) < warp.shared_bytes) return cluster.blocks[rank];
  }
  return nullptr;
}

u64 to_generic(Warp& warp, const Op& op, int lane, u64 shared) {
  const u64 owner = static_cast<u32>(shared) >> kRankShift;
  if (owner == 0) return warp.shared_base + shared;
  const Cluster& cluster = *warp.block->cluster;
  if (owner > cluster.count) {
    raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, shared,
                "a shared address of a block that is not in the cluster");
  }
  return base_of(*cluster.blocks[owner - 1]) + (shared & kOffsetMask);
}

u64 address_operand(Warp& warp, const Op& op, int lane) {
  return lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
}

const Block& block_of_rank(Warp& warp, const Op& op, int lane, u32 rank) {
  const Cluster& cluster = *warp.block->cluster;
  if (rank >= cluster.count) {
    raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0,
                "no block of this rank in the cluster");
  }
  return *cluster.blocks[rank];
}

template <class T, class F>
void write_each(Warp& warp, const Op& op, u32 mask, F f) {
  warp.current = &op;
  warp.current_mask = mask;
  T values[kLanes] = {};
  for_each_lane(mask, [&](int lane) { values[lane] = static_cast<T>(f(lane)); });
  write_lanes(lanes<T>(warp, op.d), mask, values);
}

}  // namespace

void cluster_to_generic(Warp& warp, const Op& op, u32 mask) {
  write_each<u64>(warp, op, mask, [&](int lane) {
    return to_generic(warp, op, lane, address_operand(warp, op, lane) - warp.shared_base);
  });
}

void generic_to_cluster(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<u64>(warp, op.a);
  write_each<u64>(warp, op, mask, [&](int lane) {
    const Block* const owner = owner_of(warp, a[lane]);
    if (owner == nullptr || owner == warp.block) return a[lane] - warp.shared_base;
    return u64{owner->rank + 1} << kRankShift | (a[lane] - base_of(*owner));
  });
}

void map_to_rank(Warp& warp, const Op& op, u32 mask) {
  const auto* ranks = lanes<u32>(warp, op.b);
  const bool generic = op.flags == static_cast<u8>(AddressKind::kGeneric);
  auto mapped = [&](int lane) -> u64 {
    const Block& block = block_of_rank(warp, op, lane, ranks[lane]);
    u64 address = address_operand(warp, op, lane);
    if (!generic) {
      const u64 offset = (address - warp.shared_base) & kOffsetMask;
      return u64{block.rank + 1} << kRankShift | offset;
    }
    const Block* const owner = owner_of(warp, address);
    if (owner == nullptr) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
                  "mapa of an address outside of shared memory");
    }
    return base_of(block) + (address - base_of(*owner));
  };
  if (op.count == 32)
    write_each<u32>(warp, op, mask, mapped);
  else
    write_each<u64>(warp, op, mask, mapped);
}

void rank_of_address(Warp& warp, const Op& op, u32 mask) {
  const bool generic = op.flags == static_cast<u8>(AddressKind::kGeneric);
  write_each<u32>(warp, op, mask, [&](int lane) {
    u64 address = address_operand(warp, op, lane);
    if (!generic) address = to_generic(warp, op, lane, address - warp.shared_base);
    const Block* const owner = owner_of(warp, address);
    if (owner == nullptr) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
                  "getctarank of an address outside of shared memory");
    }
    return owner->rank;
  });
}

}  // namespace farcall::softgpu
