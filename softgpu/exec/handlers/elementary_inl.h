// sin, cos, 2^x, log2 and tanh of floats, computed in double without branches, so that the compiler
// can vectorise over lanes. Errors are below 1e-8 relative (absolute for sin and cos below 2^20),
// far inside what PTX allows for its .approx forms; special values are PTX's.
#pragma once

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu::FARCALL_ISA {

// Adding this rounds a double to an integer and leaves it in the low bits (two's complement).
constexpr double kRoundMagic = 0x1.8p52;

// 2^x for |x| < 1022.
[[gnu::always_inline]] inline double exp2_core(double x) {
  const double shifted = x + kRoundMagic;
  const double f = x - (shifted - kRoundMagic);  // [-1/2, 1/2]
  // Taylor of 2^f: the first term left out is (f ln 2)^9 / 9!, 2e-10.
  double p = 1.3215486790144309e-06;
  p = p * f + 1.5252733804059841e-05;
  p = p * f + 1.5403530393381609e-04;
  p = p * f + 1.3333558146428443e-03;
  p = p * f + 9.6181291076284772e-03;
  p = p * f + 5.5504108664821580e-02;
  p = p * f + 2.4022650695910071e-01;
  p = p * f + 6.9314718055994531e-01;
  p = p * f + 1.0;
  const u64 exponent = (bit_cast<u64>(shifted) + 1023) << 52;
  return p * bit_cast<double>(exponent);
}

[[gnu::always_inline]] inline float approximate_exp2(float x) {
  // Past these, floats are 0 or infinity; also keeps exp2_core in its domain.
  const double clamped = x > 200.0f ? 200.0 : x < -200.0f ? -200.0 : static_cast<double>(x);
  const float result = static_cast<float>(exp2_core(x == x ? clamped : 0.0));
  return x != x ? x : result;
}

[[gnu::always_inline]] inline float approximate_log2(float x) {
  const u64 bits = bit_cast<u64>(static_cast<double>(x));  // a float's denormal is a normal double
  // Mantissa in [sqrt(1/2), sqrt(2)).
  const u64 shifted = bits - 0x3fe6'a09e'667f'3bcdu;
  const s64 exponent = static_cast<s64>(shifted) >> 52;
  const double m = bit_cast<double>(bits - (static_cast<u64>(exponent) << 52));
  const double s = (m - 1.0) / (m + 1.0), s2 = s * s;  // |s| < 0.172
  // 2/ln2 * atanh(s); the first term left out is s^13/13, 1e-11.
  double p = 2.6230818925253880e-01;
  p = p * s2 + 3.2059889797532520e-01;
  p = p * s2 + 4.1219858311113238e-01;
  p = p * s2 + 5.7707801635558536e-01;
  p = p * s2 + 9.6179669392597560e-01;
  p = p * s2 + 2.8853900817779268e+00;
  // Exponents are small: this converts them exactly, and vectorises where a 64-bit conversion does
  // not.
  const double e =
      bit_cast<double>(bit_cast<u64>(kRoundMagic) + static_cast<u64>(exponent)) - kRoundMagic;
  const float result = static_cast<float>(p * s + e);
  const float special = x == 0.0f ? -__builtin_inff() : x < 0.0f ? __builtin_nanf("") : x;
  return x > 0.0f && x < __builtin_inff() ? result : special;
}

struct SinCos {
  double sin, cos;  // of the reduced argument
  u64 quadrant;
};
// Reduction by pi/2 in two pieces: exact to 1e-9 up to 2^20, and degrading gently beyond, as the
// hardware does.
[[gnu::always_inline]] inline SinCos sin_cos_core(double x) {
  const double shifted = x * 6.3661977236758138e-01 + kRoundMagic;
  const double n = shifted - kRoundMagic;
  double r = x - n * 1.5707963267341256e+00;  // 33 bits of pi/2: exact for n below 2^20
  r = r - n * 6.0771005065061922e-11;
  const double r2 = r * r;
  double s = -2.5052108385441720e-08;
  s = s * r2 + 2.7557319223985893e-06;
  s = s * r2 - 1.9841269841269841e-04;
  s = s * r2 + 8.3333333333333332e-03;
  s = s * r2 - 1.6666666666666666e-01;
  s = s * r2 * r + r;
  double c = 2.0876756987868099e-09;
  c = c * r2 - 2.7557319223985888e-07;
  c = c * r2 + 2.4801587301587302e-05;
  c = c * r2 - 1.3888888888888889e-03;
  c = c * r2 + 4.1666666666666664e-02;
  c = c * r2 - 0.5;
  c = c * r2 + 1.0;
  return {s, c, bit_cast<u64>(shifted)};
}

// Beyond this the reduction above means nothing.
constexpr float kAngleMax = 0x1p30f;

[[gnu::always_inline]] inline float approximate_sin(float x) {
  const float magnitude = x < 0 ? -x : x;
  const SinCos v = sin_cos_core(magnitude < kAngleMax ? static_cast<double>(x) : 0.0);
  const double value = (v.quadrant & 1) != 0 ? v.cos : v.sin;
  const float result = static_cast<float>((v.quadrant & 2) != 0 ? -value : value);
  // Zero keeps its sign.
  return magnitude < __builtin_inff() ? (x == 0 ? x : result) : __builtin_nanf("");
}
[[gnu::always_inline]] inline float approximate_cos(float x) {
  const float magnitude = x < 0 ? -x : x;
  const SinCos v = sin_cos_core(magnitude < kAngleMax ? static_cast<double>(x) : 0.0);
  const double value = (v.quadrant & 1) != 0 ? v.sin : v.cos;
  const float result = static_cast<float>(((v.quadrant + 1) & 2) != 0 ? -value : value);
  return magnitude < __builtin_inff() ? result : __builtin_nanf("");
}

[[gnu::always_inline]] inline float approximate_tanh(float x) {
  const float magnitude = x < 0 ? -x : x;
  // 1 - 2 / (e^2x + 1); for small x, where that cancels, an odd polynomial.
  const double clamped = magnitude < 20.0f ? static_cast<double>(magnitude) : 20.0;
  const double e = exp2_core(clamped * 2.8853900817779268);
  const double m = magnitude, m2 = m * m;
  const double small = m * (1.0 + m2 * (-1.0 / 3 + m2 * (2.0 / 15 - m2 * (17.0 / 315))));
  const double value = magnitude < 0.0625f ? small : 1.0 - 2.0 / (e + 1.0);
  const float result = __builtin_copysignf(static_cast<float>(value), x);
  return x != x ? x : result;
}

}  // namespace farcall::softgpu::FARCALL_ISA
