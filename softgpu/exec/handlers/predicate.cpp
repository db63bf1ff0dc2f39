// Logic on predicates, tests that give predicates, and clocks.
#include <ctime>

#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

void predicate_logic(Warp& warp, const Op& op, u32 mask) {
  const u32 a = predicate(warp, op.ps, (op.flags & kNegateFirst) != 0);
  const u32 b = predicate(warp, op.pq, (op.flags & kNegateSecond) != 0);
  u32 result = a;
  switch (op.flags & kPredicateOperation) {
    case kPredicateAnd:
      result = a & b;
      break;
    case kPredicateOr:
      result = a | b;
      break;
    case kPredicateXor:
      result = a ^ b;
      break;
    case kPredicateNot:
      result = ~a;
      break;
    default:
      break;
  }
  set_predicate(warp, op.pd, mask, result);
}

void is_space(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<u64>(warp, op.a);
  set_predicate(warp, op.pd, mask, mask_of([&](int i) {
                  const bool shared = a[i] - warp.shared_base < warp.shared_bytes;
                  const bool local = a[i] - warp.local_base < warp.local_bytes;
                  const bool param = a[i] - warp.block->params < warp.block->run->param_bytes;
                  switch (op.flags) {
                    case kIsShared:
                      return shared;
                    case kIsSharedOfCluster:
                      return is_shared_of_cluster(warp, a[i]);
                    case kIsLocal:
                      return local;
                    case kIsParam:
                      return param;
                    case kIsGlobal:
                      return !local && !param && !is_shared_of_cluster(warp, a[i]);
                    default:
                      return false;  // constants are ordinary memory here
                  }
                }));
}

namespace {

template <class T>
void float_test(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<T>(warp, op.a);
  set_predicate(warp, op.pd, mask, mask_of([&](int i) {
                  const int category = __builtin_fpclassify(
                      // The manual counts zeros as normal.
                      kNotANumber, kInfinite, kNormal, kSubnormal, kNormal, static_cast<T>(a[i]));
                  switch (op.flags) {
                    case kFinite:
                      return category != kNotANumber && category != kInfinite;
                    case kNumber:
                      return category != kNotANumber;
                    default:
                      return category == op.flags;
                  }
                }));
}

s32 element(u32 word, int index, int bits, bool is_signed) {
  const u32 shifted = word << (32 - bits - index * bits);
  return is_signed ? static_cast<s32>(shifted) >> (32 - bits)
                   : static_cast<s32>(shifted >> (32 - bits));
}

template <bool Pairs>
void dot_product(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, u32, u32, u32>(warp, op, mask, [&](u32 a, u32 b, u32 c) {
    if (Pairs && (op.flags & kDotHigh) != 0) b >>= 16;
    for (int k = 0; k < (Pairs ? 2 : 4); ++k) {
      c += static_cast<u32>(element(a, k, Pairs ? 16 : 8, (op.flags & kDotFirstSigned) != 0) *
                            element(b, k, 8, (op.flags & kDotSecondSigned) != 0));
    }
    return c;
  });
}

template <ClockKind Kind>
void read_clock(Warp& warp, const Op& op, u32 mask) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const u64 ns = static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
  if (Kind == kClock64 || Kind == kGlobalTimer)
    write_uniform<u64>(warp, op.d, mask, ns);
  else
    write_uniform<u32>(warp, op.d, mask,
                       static_cast<u32>(Kind == kGlobalTimerHigh ? ns >> 32 : ns));
}

}  // namespace

Handler find_dot_product(bool of_pairs) {
  return of_pairs ? dot_product<true> : dot_product<false>;
}

Handler find_float_test(ptx::Type type) {
  if (type.kind != ptx::Type::Kind::kFloat || type.lanes != 1 || type.bits < 32) return nullptr;
  return type.bits == 64 ? float_test<double> : float_test<float>;
}

Handler find_clock(ClockKind kind) {
  switch (kind) {
    case kClock32:
      return read_clock<kClock32>;
    case kClock64:
      return read_clock<kClock64>;
    case kGlobalTimer:
      return read_clock<kGlobalTimer>;
    case kGlobalTimerHigh:
      return read_clock<kGlobalTimerHigh>;
  }
  return nullptr;
}

void no_operation(Warp&, const Op&, u32) {}

}  // namespace farcall::softgpu
