// As the PTX manual's pseudo-code has it, step by step: extract and extend the parts, compute in 64
// bits, saturate, then combine with c.
#include "softgpu/exec/handlers/video.h"

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

s64 extend(u32 value, u32 bits, bool is_signed) {
  const u32 shifted = value << (32 - bits);
  return is_signed ? s64{static_cast<s32>(shifted)} >> (32 - bits) : s64{shifted >> (32 - bits)};
}

s64 saturate_to(s64 v, u32 bits, bool is_signed) {
  const s64 top = (s64{1} << (bits - (is_signed ? 1 : 0))) - 1;
  const s64 bottom = is_signed ? -top - 1 : 0;
  return v < bottom ? bottom : v > top ? top : v;
}

bool compare(s64 a, s64 b, Comparison comparison) {
  switch (comparison) {
    case Comparison::kEq:
      return a == b;
    case Comparison::kNe:
      return a != b;
    case Comparison::kLt:
      return a < b;
    case Comparison::kLe:
      return a <= b;
    case Comparison::kGt:
      return a > b;
    default:
      return a >= b;
  }
}

s64 compute(const u32* what, s64 a, s64 b) {
  switch (static_cast<VideoOp>(what[kVideoOperation])) {
    case VideoOp::kAdd:
      return a + b;
    case VideoOp::kSub:
      return a - b;
    case VideoOp::kAbsDiff:
      return a > b ? a - b : b - a;
    case VideoOp::kMin:
      return a < b ? a : b;
    case VideoOp::kMax:
      return a > b ? a : b;
    case VideoOp::kAverage:
      return a + b >= 0 ? (a + b + 1) >> 1 : (a + b) >> 1;
    case VideoOp::kSet:
      return compare(a, b, static_cast<Comparison>(what[kVideoComparison])) ? 1 : 0;
    case VideoOp::kShl:
    case VideoOp::kShr: {
      const u32 amount = static_cast<u32>(b);
      const u32 by = what[kVideoWrap] != 0 ? amount & 31 : amount > 32 ? 32 : amount;
      if (what[kVideoOperation] == static_cast<u32>(VideoOp::kShr)) return a >> by;
      // What is past 32 bits matters by its sign only.
      if (by == 32) return a == 0 ? 0 : a > 0 ? s64{1} << 40 : -(s64{1} << 40);
      return a * (s64{1} << by);
    }
    case VideoOp::kMad:
      break;
  }
  return 0;
}

u32 part(u32 select) { return select >> 8; }  // offset in bytes
u32 part_bits(u32 select) { return (select & 0xff) * 8; }

s64 select_scalar(u32 value, u32 select, bool is_signed) {
  return extend(value >> (part(select) * 8), part_bits(select), is_signed);
}

u32 scalar(const u32* what, u32 a, u32 b, u32 c) {
  const bool is_signed = what[kVideoSignedD] != 0;
  s64 value = compute(what, select_scalar(a, what[kVideoSelectA], what[kVideoSignedA] != 0),
                      select_scalar(b, what[kVideoSelectB], what[kVideoSignedB] != 0));
  if (what[kVideoSaturate] != 0) value = saturate_to(value, what[kVideoSaturate], is_signed);
  const u32 result = static_cast<u32>(value);
  const s64 first = extend(result, 32, is_signed), second = extend(c, 32, is_signed);
  switch (static_cast<VideoMerge>(what[kVideoMerge])) {
    case VideoMerge::kNone:
      return result;
    case VideoMerge::kAdd:
      return result + c;
    case VideoMerge::kMin:
      return first < second ? result : c;
    case VideoMerge::kMax:
      return first > second ? result : c;
    case VideoMerge::kInsert: {
      const u32 place = what[kVideoPlace];
      const u32 ones = static_cast<u32>((u64{1} << part_bits(place)) - 1) << (part(place) * 8);
      return (result << (part(place) * 8) & ones) | (c & ~ones);
    }
  }
  return result;
}

u32 multiply_add(const u32* what, u32 a, u32 b, u32 c) {
  using Wide = __int128;
  const u32 negate = what[kVideoNegate];
  const bool is_signed = what[kVideoSignedD] != 0;
  Wide product = Wide{select_scalar(a, what[kVideoSelectA], what[kVideoSignedA] != 0)} *
                 select_scalar(b, what[kVideoSelectB], what[kVideoSignedB] != 0);
  Wide addend = extend(c, 32, is_signed);
  if ((negate & 1) != 0) product = -product;
  if ((negate & 2) != 0) addend = -addend;
  const Wide sum = product + addend + ((negate & 4) != 0 ? 1 : 0);
  const s64 scaled = static_cast<s64>(sum >> what[kVideoShift]);
  return static_cast<u32>(what[kVideoSaturate] != 0 ? saturate_to(scaled, 32, is_signed) : scaled);
}

u32 elements(const u32* what, u32 a, u32 b, u32 c) {
  const u32 count = what[kVideoElements], bits = 32 / count;
  const u64 both = a | u64{b} << 32;
  const bool accumulates = what[kVideoMerge] == static_cast<u32>(VideoMerge::kAdd);
  auto select = [&](u32 selectors, u32 k, bool is_signed) {
    const u32 which = selectors >> (4 * k) & 15;
    return extend(static_cast<u32>(both >> (which * bits)), bits, is_signed);
  };
  const u32 ones = (u32{1} << bits) - 1;
  u32 d = c;
  for (u32 k = 0; k < count; ++k) {
    if ((what[kVideoPlace] >> k & 1) == 0) continue;
    s64 value = compute(what, select(what[kVideoSelectA], k, what[kVideoSignedA] != 0),
                        select(what[kVideoSelectB], k, what[kVideoSignedB] != 0));
    if (what[kVideoSaturate] != 0)
      value = saturate_to(value, what[kVideoSaturate], what[kVideoSignedD] != 0);
    if (accumulates)
      d += static_cast<u32>(value);
    else
      d = (d & ~(ones << (k * bits))) | (static_cast<u32>(value) & ones) << (k * bits);
  }
  return d;
}

}  // namespace

void video(Warp& warp, const Op& op, u32 mask) {
  const u32* const what = op.list;
  map_lanes<u32, u32, u32, u32>(warp, op, mask, [what](u32 a, u32 b, u32 c) {
    if (what[kVideoElements] > 1) return elements(what, a, b, c);
    if (what[kVideoOperation] == static_cast<u32>(VideoOp::kMad))
      return multiply_add(what, a, b, c);
    return scalar(what, a, b, c);
  });
}

}  // namespace farcall::softgpu
