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

}  // namespace

void cluster_to_generic(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const Cluster* const cluster = warp.block->cluster;
  u64 addresses[kLanes] = {};
  for_each_lane(mask, [&](int lane) {
    const u64 at = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane) -
                   warp.shared_base;
    const u64 owner = static_cast<u32>(at) >> kRankShift;
    if (owner == 0) {
      addresses[lane] = warp.shared_base + at;
      return;
    }
    if (owner > (cluster == nullptr ? 1 : cluster->count)) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, at,
                  "a shared address of a block that is not in the cluster");
    }
    const Block& block = cluster == nullptr ? *warp.block : *cluster->blocks[owner - 1];
    addresses[lane] =
        reinterpret_cast<u64>(block.shared.data()) + (at & ((u64{1} << kRankShift) - 1));
  });
  write_lanes(lanes<u64>(warp, op.d), mask, addresses);
}

}  // namespace farcall::softgpu
