// Instructions in which the lanes of a warp see each other. The scheduler calls them when all
// members are there.
#include "softgpu/exec/handlers/atomic_inl.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

// Lanes that arrived together may name different member masks (tiles of a warp): each set on its
// own.
template <class F>
void for_each_member_set(Warp& warp, const Op& op, u32 mask, F f) {
  const auto* members = lanes<u32>(warp, op.c);
  for (u32 left = mask; left != 0;) {
    const u32 key = members[__builtin_ctz(left)];
    u32 set = 0;
    for_each_lane(left, [&](int i) { set |= members[i] == key ? u32{1} << i : 0; });
    left &= ~set;
    f(set);
  }
}

template <class T, bool All>
void match(Warp& warp, const Op& op, u32 mask) {
  T values[kLanes];
  __builtin_memcpy(values, lanes<T>(warp, op.a), sizeof values);
  auto* d = lanes<u32>(warp, op.d);
  for_each_member_set(warp, op, mask, [&](u32 set) {
    if (All) {
      bool all = true;
      const T first = values[__builtin_ctz(set)];
      for_each_lane(set, [&](int i) { all = all && values[i] == first; });
      for_each_lane(set, [&](int i) { d[i] = all ? set : 0; });
      set_predicate(warp, op.pq, set, all ? kAllLanes : 0);
    } else {
      for_each_lane(set, [&](int i) {
        u32 equal = 0;
        for_each_lane(set, [&](int j) { equal |= values[j] == values[i] ? u32{1} << j : 0; });
        d[i] = equal;
      });
    }
  });
}

template <class T, AtomicOp Operation>
void redux(Warp& warp, const Op& op, u32 mask) {
  T values[kLanes];
  __builtin_memcpy(values, lanes<T>(warp, op.a), sizeof values);
  auto* d = lanes<T>(warp, op.d);
  for_each_member_set(warp, op, mask, [&](u32 set) {
    T total = values[__builtin_ctz(set)];
    for_each_lane(set & (set - 1),
                  [&](int i) { total = apply_atomic<Operation>(total, values[i]); });
    for_each_lane(set, [&](int i) { d[i] = total; });
  });
}

}  // namespace

void vote(Warp& warp, const Op& op, u32 mask) {
  const u32 values = predicate(warp, op.ps, (op.flags & kVoteNegated) != 0);
  for_each_member_set(warp, op, mask, [&](u32 set) {
    const u32 ballot = values & set;
    switch (op.flags & kVoteMode) {
      case kVoteBallot: {
        auto* d = lanes<u32>(warp, op.d);
        for_each_lane(set, [&](int i) { d[i] = ballot; });
        break;
      }
      case kVoteAll:
        set_predicate(warp, op.pd, set, ballot == set ? kAllLanes : 0);
        break;
      case kVoteAny:
        set_predicate(warp, op.pd, set, ballot != 0 ? kAllLanes : 0);
        break;
      default:
        set_predicate(warp, op.pd, set, ballot == set || ballot == 0 ? kAllLanes : 0);
        break;
    }
  });
}

Handler find_match(ptx::Type type, bool all) {
  if (type.total_bits() == 64) return all ? match<u64, true> : match<u64, false>;
  if (type.total_bits() == 32) return all ? match<u32, true> : match<u32, false>;
  return nullptr;
}

Handler find_redux(AtomicOp operation, ptx::Type type) {
  if (!type.is_integer() || type.total_bits() != 32) return nullptr;
  switch (operation) {
    case AtomicOp::kAdd:
      return redux<u32, AtomicOp::kAdd>;
    case AtomicOp::kMin:
      return type.is_signed() ? redux<s32, AtomicOp::kMin> : redux<u32, AtomicOp::kMin>;
    case AtomicOp::kMax:
      return type.is_signed() ? redux<s32, AtomicOp::kMax> : redux<u32, AtomicOp::kMax>;
    case AtomicOp::kAnd:
      return redux<u32, AtomicOp::kAnd>;
    case AtomicOp::kOr:
      return redux<u32, AtomicOp::kOr>;
    case AtomicOp::kXor:
      return redux<u32, AtomicOp::kXor>;
    default:
      return nullptr;
  }
}

void active_mask(Warp& warp, const Op& op, u32 mask) { write_uniform<u32>(warp, op.d, mask, mask); }

void elect(Warp& warp, const Op& op, u32 mask) {
  for_each_member_set(warp, op, mask, [&](u32 set) {
    const u32 leader = static_cast<u32>(__builtin_ctz(set));
    if (op.d != kNoSlot) write_uniform<u32>(warp, op.d, set, leader);
    set_predicate(warp, op.pq, set, u32{1} << leader);
  });
}

}  // namespace farcall::softgpu
