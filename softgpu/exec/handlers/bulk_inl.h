// Addresses and barriers of bulk copies, also to several blocks of a cluster at once.
#pragma once

#include "softgpu/exec/handlers/bulk_plan.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/mbarrier.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {

inline u64 bulk_lane_address(Warp& warp, const BulkAddress& address, int lane) {
  return lanes<u64>(warp, address.slot)[lane] + static_cast<u64>(s64{address.offset});
}

inline void require_alignment(Warp& warp, const Op& op, int lane, u64 address, u64 unit) {
  if (address % unit != 0) raise_fault(warp, op, lane, Fault::Kind::kMisaligned, address, nullptr);
}

inline void complete_at(Warp& warp, const Op& op, int lane, u64 address, u32 bytes) {
  u8* const host = checked_address(warp, op, lane, address, sizeof(Mbarrier), Access::kAtomic);
  if (!is_shared_of_cluster(warp, address)) {
    raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
                "an mbarrier outside of shared memory");
  }
  Mbarrier barrier = Mbarrier::load(host);
  barrier.complete(bytes);
  barrier.store(host);
}

// Where an address of shared memory is in each block that `mask` names: f(distance to add).
template <class F>
void for_each_block(Warp& warp, const Op& op, int lane, u64 address, u32 mask, F f) {
  const Cluster& cluster = *warp.block->cluster;
  auto base = [&](u32 rank) { return reinterpret_cast<u64>(cluster.blocks[rank]->shared.data()); };
  u32 owner = 0;
  while (owner < cluster.count && address - base(owner) >= warp.shared_bytes) ++owner;
  if (owner == cluster.count)
    raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address, "outside of shared memory");
  for (u32 rank = 0; rank < Cluster::kBlocksMax; ++rank) {
    if ((mask >> rank & 1) == 0) continue;
    if (rank >= cluster.count) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0,
                  "multicast to a block that is not in the cluster");
    }
    f(base(rank) - base(owner));
  }
}

}  // namespace farcall::softgpu::FARCALL_ISA
