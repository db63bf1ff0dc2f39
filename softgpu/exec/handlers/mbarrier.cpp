// mbarrier's operations. Lanes go one after the other.
#include "softgpu/exec/mbarrier.h"

#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

// Calls f(lane, host address of the object).
template <Access How = Access::kAtomic, class F>
void for_each_object(Warp& warp, const Op& op, u32 mask, F f) {
  warp.current = &op;
  warp.current_mask = mask;
  for_each_lane(mask, [&](int lane) {
    const u64 address = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
    u8* const host = checked_address(warp, op, lane, address, sizeof(Mbarrier), How);
    if (!is_shared_of_cluster(warp, address)) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
                  "an mbarrier outside of shared memory");
    }
    f(lane, host);
  });
}

u32 lane_count(Warp& warp, Slot slot, int lane, u32 otherwise) {
  return slot == kNoSlot ? otherwise : lanes<u32>(warp, slot)[lane];
}

template <bool Drop>
void arrive(Warp& warp, const Op& op, u32 mask) {
  u64 states[kLanes] = {};
  for_each_object(warp, op, mask, [&](int lane, u8* host) {
    Mbarrier barrier = Mbarrier::load(host);
    states[lane] = barrier.bits();
    const u32 count = lane_count(warp, op.b, lane, 1);
    barrier.expect(lane_count(warp, op.c, lane, 0));
    if (Drop) {
      if (count > barrier.expected) {
        raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0,
                    "more arrivals dropped than the mbarrier expects");
      }
      barrier.expected -= count;
    }
    if (!barrier.arrive(count)) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0,
                  "more arrivals than the mbarrier expects");
    }
    barrier.store(host);
  });
  if (op.d != kNoSlot) write_lanes(lanes<u64>(warp, op.d), mask, states);
}

}  // namespace

void mbarrier_init(Warp& warp, const Op& op, u32 mask) {
  for_each_object<Access::kStrongWrite>(warp, op, mask, [&](int lane, u8* host) {
    const u32 count = lanes<u32>(warp, op.b)[lane];
    if (count == 0 || count > Mbarrier::kCountMax) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0,
                  "the count of an mbarrier is not between 1 and 2^20 - 1");
    }
    Mbarrier barrier{};
    barrier.pending = barrier.expected = count;
    barrier.store(host);
  });
}

void mbarrier_invalidate(Warp& warp, const Op& op, u32 mask) {
  for_each_object<Access::kStrongWrite>(warp, op, mask,
                                        [](int, u8* host) { Mbarrier{}.store(host); });
}

void mbarrier_touch(Warp& warp, const Op& op, u32 mask) {
  for_each_object(warp, op, mask, [](int, u8*) {});
}

void mbarrier_arrive(Warp& warp, const Op& op, u32 mask) { arrive<false>(warp, op, mask); }
void mbarrier_arrive_drop(Warp& warp, const Op& op, u32 mask) { arrive<true>(warp, op, mask); }

void mbarrier_expect(Warp& warp, const Op& op, u32 mask) {
  for_each_object(warp, op, mask, [&](int lane, u8* host) {
    Mbarrier barrier = Mbarrier::load(host);
    barrier.expect(lanes<u32>(warp, op.c)[lane]);
    barrier.store(host);
  });
}
void mbarrier_complete(Warp& warp, const Op& op, u32 mask) {
  for_each_object(warp, op, mask, [&](int lane, u8* host) {
    Mbarrier barrier = Mbarrier::load(host);
    barrier.complete(lanes<u32>(warp, op.c)[lane]);
    barrier.store(host);
  });
}

void mbarrier_test(Warp& warp, const Op& op, u32 mask) {
  u32 done = 0;
  for_each_object<Access::kStrongRead>(warp, op, mask, [&](int lane, u8* host) {
    const Mbarrier barrier = Mbarrier::load(host);
    const u64 value = op.count != 0 ? lanes<u32>(warp, op.b)[lane] : lanes<u64>(warp, op.b)[lane];
    bool over;
    if (op.count != 0) {
      over = (barrier.phase & 1) != (value & 1);
    } else {
      Mbarrier state;
      __builtin_memcpy(&state, &value, sizeof state);
      over = barrier.phase != state.phase;
    }
    done |= u32{over} << lane;
  });
  set_predicate(warp, op.pd, mask, done);
}

void mbarrier_pending_count(Warp& warp, const Op& op, u32 mask) {
  u32 counts[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const u64 value = lanes<u64>(warp, op.a)[lane];
    counts[lane] = static_cast<u32>(value & Mbarrier::kCountMax);
  }
  write_lanes(lanes<u32>(warp, op.d), mask, counts);
}

}  // namespace farcall::softgpu
