#include "softgpu/exec/handlers/special_integer.h"

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

void find_nth_set(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, u32, u32, s32>(warp, op, mask, [](u32 bits, u32 base, s32 nth) -> u32 {
    if (nth == 0) return base < 32 && (bits >> base & 1) != 0 ? base : ~u32{0};
    // Wide: neither the distance nor the position overflows.
    s64 left = nth < 0 ? -s64{nth} : s64{nth};
    for (s64 at = static_cast<s32>(base); at >= 0 && at < 32; at += nth < 0 ? -1 : 1) {
      if ((bits >> at & 1) != 0 && --left == 0) return static_cast<u32>(at);
    }
    return ~u32{0};
  });
}

void permute_selector(Warp& warp, const Op& op, u32 mask) {
  static constexpr u32 kSelectors[][4] = {
      {0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
      {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
      {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
  const u32* const of_mode = kSelectors[op.flags];
  map_lanes<u32, u32>(warp, op, mask, [of_mode](u32 a) { return of_mode[a & 3]; });
}

void saturate_and_pack(Warp& warp, const Op& op, u32 mask) {
  const u32 bits = op.count;
  const bool is_signed = (op.flags & 1) != 0;
  const s32 top = static_cast<s32>((u32{1} << (bits - (is_signed ? 1 : 0))) - 1);
  const s32 bottom = is_signed ? -top - 1 : 0;
  map_lanes<u32, s32, s32, u32>(warp, op, mask, [=](s32 a, s32 b, u32 c) -> u32 {
    auto clamp = [=](s32 v) {
      return static_cast<u32>(v < bottom ? bottom : v > top ? top : v) & ((u32{1} << bits) - 1);
    };
    const u32 rest = bits == 16 ? 0 : c << (2 * bits);
    return rest | clamp(a) << bits | clamp(b);
  });
}

namespace {

template <class T, IntegerOp Operation>
T of_pair(T a, T b) {
  switch (Operation) {
    case IntegerOp::kAdd:
      return static_cast<T>(a + b);
    case IntegerOp::kMin:
      return a < b ? a : b;
    case IntegerOp::kMax:
      return a > b ? a : b;
    case IntegerOp::kMinRelu:
      return a < 0 || b < 0 ? T(0) : a < b ? a : b;
    default:
      return a > b ? (a > 0 ? a : T(0)) : (b > 0 ? b : T(0));
  }
}

template <class T, IntegerOp Operation>
void integer_pair(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, u32, u32>(warp, op, mask, [](u32 a, u32 b) -> u32 {
    const T low = of_pair<T, Operation>(static_cast<T>(a), static_cast<T>(b));
    const T high = of_pair<T, Operation>(static_cast<T>(a >> 16), static_cast<T>(b >> 16));
    return static_cast<u16>(low) | u32{static_cast<u16>(high)} << 16;
  });
}

}  // namespace

Handler find_integer_pair(IntegerOp operation, ptx::Type type) {
  if (!type.is_integer() || type.bits != 16 || type.lanes != 2) return nullptr;
  const bool is_signed = type.is_signed();
  switch (operation) {
    case IntegerOp::kAdd:
      return integer_pair<u16, IntegerOp::kAdd>;
    case IntegerOp::kMin:
      return is_signed ? integer_pair<s16, IntegerOp::kMin> : integer_pair<u16, IntegerOp::kMin>;
    case IntegerOp::kMax:
      return is_signed ? integer_pair<s16, IntegerOp::kMax> : integer_pair<u16, IntegerOp::kMax>;
    case IntegerOp::kMinRelu:
      return is_signed ? integer_pair<s16, IntegerOp::kMinRelu> : nullptr;
    case IntegerOp::kMaxRelu:
      return is_signed ? integer_pair<s16, IntegerOp::kMaxRelu> : nullptr;
    default:
      return nullptr;
  }
}

void nonzero_with_predicate(Warp& warp, const Op& op, u32 mask) {
  const u32* const a = lanes<u32>(warp, op.a);
  const u32 nonzero = mask_of([&](int i) { return a[i] != 0; });
  const u32 other = predicate(warp, op.ps, (op.flags & 2) != 0);
  set_predicate(warp, op.pd, mask, (op.flags & 1) != 0 ? nonzero & other : nonzero | other);
}

}  // namespace farcall::softgpu
