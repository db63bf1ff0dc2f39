#include "softgpu/exec/handlers/special_float.h"

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

constexpr u64 kSign = u64{1} << 63, kInfinity = u64{0x7ff} << 52,
              kUpperWord = u64{0xffff'ffff} << 32;
constexpr u64 kNan = u64{0x7fff'ffff} << 32;

// What is common to both: only the upper word counts, denormals are zeros, and so is the result's
// lower word.
template <class F>
u64 of_upper_word(u64 bits, F f) {
  bits &= kUpperWord;
  if ((bits & kInfinity) == 0) bits &= kSign;
  const double result = f(bit_cast<double>(bits));
  if (result != result) return kNan;
  u64 out = bit_cast<u64>(result);
  if ((out & kInfinity) == 0) out &= kSign;
  // To the nearest: an error of half a unit of the 20 bits.
  if ((out & kInfinity) != kInfinity) out += u64{1} << 31;
  return out & kUpperWord;
}

}  // namespace

void approximate_reciprocal_64(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u64, u64>(warp, op, mask,
                      [](u64 a) { return of_upper_word(a, [](double v) { return 1.0 / v; }); });
}

void approximate_reciprocal_root_64(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u64, u64>(warp, op, mask, [](u64 a) {
    return of_upper_word(a, [](double v) { return 1.0 / __builtin_sqrt(v); });
  });
}

}  // namespace farcall::softgpu
