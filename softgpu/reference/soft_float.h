// IEEE arithmetic in integers: operands are taken apart, the exact result is computed, and one
// function rounds it. No floating-point instruction is involved, so nothing here can share a
// mistake with the processor's or with the interpreter's. Slow; for tests.
#pragma once

#include <cstdint>

namespace farcall::softgpu::reference {

using U128 = unsigned __int128;
using I128 = __int128;

enum class Rounding { kNearest, kZero, kDown, kUp, kAway };  // kAway: nearest, ties away from zero

// A binary format with subnormals, infinities and NaNs.
struct FloatFormat {
  int precision;  // bits of the significand, with the hidden one
  int exponent_bits;

  int bits() const { return precision + exponent_bits; }
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int exponent_min() const { return 1 - bias(); }
  uint64_t sign() const { return uint64_t{1} << (bits() - 1); }
  uint64_t infinity() const { return ((uint64_t{1} << exponent_bits) - 1) << (precision - 1); }
  // The NaN that PTX calls canonical: all ones, but for f64.
  uint64_t nan() const { return precision == 53 ? 0x7ff8'0000'0000'0000 : sign() - 1; }
  uint64_t one() const { return static_cast<uint64_t>(bias()) << (precision - 1); }
};
inline constexpr FloatFormat kHalf{11, 5}, kBfloat{8, 8}, kSingle{24, 8}, kDouble{53, 11};

// magnitude * 2^exponent, plus less than one unit more when `inexact`.
struct Exact {
  enum class Kind { kFinite, kInfinity, kNan } kind = Kind::kFinite;
  bool negative = false;
  U128 magnitude = 0;
  int exponent = 0;
  bool inexact = false;
};

bool is_nan(uint64_t bits, const FloatFormat& format);
bool is_subnormal(uint64_t bits, const FloatFormat& format);
uint64_t flush(uint64_t bits, const FloatFormat& format);     // subnormals to zeros
uint64_t saturate(uint64_t bits, const FloatFormat& format);  // to [0, 1]; NaN to 0

Exact take_apart(uint64_t bits, const FloatFormat& format);
Exact from_integer(I128 value);
uint64_t round_to(const Exact& value, const FloatFormat& format, Rounding rounding);
// Without a fraction; the sign of zero is that of the operand.
Exact round_to_integral(const Exact& value, Rounding rounding);

uint64_t add(uint64_t a, uint64_t b, const FloatFormat& format, Rounding rounding);
uint64_t multiply(uint64_t a, uint64_t b, const FloatFormat& format, Rounding rounding);
uint64_t fused(uint64_t a, uint64_t b, uint64_t c, const FloatFormat& format, Rounding rounding);
uint64_t divide(uint64_t a, uint64_t b, const FloatFormat& format, Rounding rounding);
uint64_t square_root(uint64_t a, const FloatFormat& format, Rounding rounding);

enum class Order { kLess, kEqual, kGreater, kUnordered };
Order compare(uint64_t a, uint64_t b, const FloatFormat& format);

}  // namespace farcall::softgpu::reference
