// Floating-point formats by definition: a value is a count of quanta, and rounding chooses a count.
// Slow and with no bit tricks, to compare the interpreter with.
#pragma once

#include <cmath>
#include <cstdint>

namespace farcall::softgpu {

struct Format {
  int precision;  // bits of the significand, the hidden one included
  int exponent_min, exponent_max;
  uint64_t infinity, nan;

  int bits() const { return precision + (exponent_max == 15 ? 5 : exponent_max == 127 ? 8 : 11); }
  uint64_t sign_bit() const { return uint64_t{1} << (bits() - 1); }
};
inline constexpr Format kF16{11, -14, 15, 0x7c00, 0x7fff};
inline constexpr Format kBf16{8, -126, 127, 0x7f80, 0x7fff};
inline constexpr Format kF32{24, -126, 127, 0x7f80'0000, 0x7fff'ffff};
inline constexpr Format kF64{53, -1022, 1023, 0x7ff0'0000'0000'0000, 0x7ff8'0000'0000'0000};

enum class Round { kNearest, kZero, kDown, kUp };

// The bits of `value` in a format. `rest` has the sign of what is missing from value to the exact
// result.
inline uint64_t encode(long double value, const Format& format, Round round = Round::kNearest,
                       int rest = 0) {
  if (std::isnan(value)) return format.nan;
  const bool negative = std::signbit(value);
  const uint64_t sign = negative ? format.sign_bit() : 0;
  const long double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | format.infinity;
  if (magnitude == 0) return sign;
  int exponent = std::max(std::ilogb(magnitude), format.exponent_min);
  // Just below a power of two, the quanta are finer.
  if ((negative ? -rest : rest) < 0 && exponent > format.exponent_min &&
      magnitude == std::ldexp(1.0L, exponent))
    --exponent;
  const long double count = std::ldexp(magnitude, format.precision - 1 - exponent);
  long double whole = std::floor(count), part = count - whole;
  int beyond = negative ? -rest : rest;
  if (part == 0 && beyond < 0) {  // just below a whole count
    whole -= 1;
    part = 0.75;
    beyond = 0;
  }
  const bool inexact = part != 0 || beyond != 0;
  bool up = false;
  switch (round) {
    case Round::kNearest:
      up = part > 0.5L ||
           (part == 0.5L && (beyond > 0 || (beyond == 0 && std::fmod(whole, 2.0L) == 1)));
      break;
    case Round::kZero:
      break;
    case Round::kDown:
      up = inexact && negative;
      break;
    case Round::kUp:
      up = inexact && !negative;
      break;
  }
  const long double rounded = std::ldexp(whole + (up ? 1 : 0), exponent - (format.precision - 1));
  if (rounded >= std::ldexp(1.0L, format.exponent_max + 1)) {
    const bool to_infinity = round == Round::kNearest || (round == Round::kDown && negative) ||
                             (round == Round::kUp && !negative);
    return sign | (to_infinity ? format.infinity : format.infinity - 1);
  }
  if (rounded == 0) return sign;
  const int e = std::ilogb(rounded);
  if (e < format.exponent_min) {
    return sign |
           static_cast<uint64_t>(std::ldexp(rounded, format.precision - 1 - format.exponent_min));
  }
  const auto significand = static_cast<uint64_t>(std::ldexp(rounded, format.precision - 1 - e));
  const auto biased = static_cast<uint64_t>(e + format.exponent_max);
  return sign | biased << (format.precision - 1) |
         (significand - (uint64_t{1} << (format.precision - 1)));
}

inline long double decode(uint64_t bits, const Format& format) {
  const long double sign = (bits & format.sign_bit()) != 0 ? -1 : 1;
  const uint64_t magnitude = bits & (format.sign_bit() - 1);
  if (magnitude > format.infinity) return NAN;
  if (magnitude == format.infinity) return sign * INFINITY;
  const auto biased = static_cast<int>(magnitude >> (format.precision - 1));
  const uint64_t fraction = magnitude & ((uint64_t{1} << (format.precision - 1)) - 1);
  if (biased == 0)
    return sign * std::ldexp(static_cast<long double>(fraction),
                             format.exponent_min - (format.precision - 1));
  const uint64_t significand = fraction | uint64_t{1} << (format.precision - 1);
  return sign * std::ldexp(static_cast<long double>(significand),
                           biased - format.exponent_max - (format.precision - 1));
}

inline bool is_nan(uint64_t bits, const Format& format) {
  return (bits & (format.sign_bit() - 1)) > format.infinity;
}

}  // namespace farcall::softgpu
