// cp.async.bulk and cp.reduce.async.bulk: each lane that runs it copies its own range.
#include "softgpu/exec/handlers/bulk_inl.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/reduce_memory_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

constexpr u32 element_bytes(BulkType type) {
  switch (type) {
    case BulkType::kF16:
    case BulkType::kBf16:
      return 2;
    case BulkType::kU64:
    case BulkType::kS64:
    case BulkType::kF64:
      return 8;
    default:
      return 4;
  }
}

// Bit i of the mask: byte i of each sixteen.
void copy_some(u8* to, const u8* from, u32 bytes, u32 mask) {
  for (u32 i = 0; i < bytes; ++i) {
    if ((mask >> (i % 16) & 1) != 0) to[i] = from[i];
  }
}

void copy_range(Warp& warp, const Op& op, const BulkPlan& plan, int lane, u64 to, u64 from,
                u32 bytes) {
  u8* const target = checked_range(warp, op, lane, to, bytes,
                                   plan.reduces != 0 ? Access::kAtomic : Access::kWrite);
  const u8* const source = checked_range(warp, op, lane, from, bytes, Access::kRead);
  if (plan.reduces != 0) {
    const Reduce reduce = find_reduce(plan.operation, plan.type);
    reduce(target, source, bytes / element_bytes(plan.type));
  } else if (plan.bytes != kNoSlot) {
    copy_some(target, source, bytes, lanes<u32>(warp, plan.bytes)[lane]);
  } else {
    __builtin_memmove(target, source, bytes);
  }
}

}  // namespace

void bulk_copy(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  BulkPlan plan;
  __builtin_memcpy(&plan, op.list, sizeof plan);
  for_each_lane(mask, [&](int lane) {
    const u64 to = bulk_lane_address(warp, plan.to, lane),
              from = bulk_lane_address(warp, plan.from, lane);
    const u32 bytes = lanes<u32>(warp, plan.size)[lane];
    require_alignment(warp, op, lane, to, 16);
    require_alignment(warp, op, lane, from, 16);
    if (bytes % 16 != 0) {
      raise_fault(warp, op, lane, Fault::Kind::kMisaligned, to,
                  "a bulk copy of bytes that are no multiple of 16");
    }
    const bool has_barrier = plan.barrier.slot != kNoSlot;
    const u64 barrier = has_barrier ? bulk_lane_address(warp, plan.barrier, lane) : 0;
    auto copy = [&](u64 distance) {
      if (bytes != 0) copy_range(warp, op, plan, lane, to + distance, from, bytes);
      if (has_barrier) complete_at(warp, op, lane, barrier + distance, bytes);
    };
    if (plan.blocks == kNoSlot) return copy(0);
    for_each_block(warp, op, lane, to, lanes<u32>(warp, plan.blocks)[lane] & 0xffff, copy);
  });
}

}  // namespace farcall::softgpu
