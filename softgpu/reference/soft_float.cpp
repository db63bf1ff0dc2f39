#include "softgpu/reference/soft_float.h"

#include <algorithm>
#include <utility>

namespace farcall::softgpu::reference {
namespace {

using Kind = Exact::Kind;

// Sums are formed with the larger operand's highest bit here: two bits below the top, so that a
// carry fits, and far enough up that what is shifted out never matters but for being there.
constexpr int kTop = 124;

int width(U128 v) {
  int bits = 0;
  for (; v != 0; v >>= 1) ++bits;
  return bits;
}

void shift_right(Exact& v, int by) {
  if (by <= 0) return;
  const bool all = by >= 128;
  const U128 lost = all ? v.magnitude : v.magnitude & ((U128{1} << by) - 1);
  v.inexact = v.inexact || lost != 0;
  v.magnitude = all ? 0 : v.magnitude >> by;
  v.exponent += by;
}

void normalise(Exact& v) {
  if (v.magnitude == 0) return;
  const int by = kTop - width(v.magnitude);
  if (by < 0) return shift_right(v, -by);
  v.magnitude <<= by;
  v.exponent -= by;
}

Exact nan() {
  Exact v;
  v.kind = Kind::kNan;
  return v;
}

bool is_zero(const Exact& v) { return v.kind == Kind::kFinite && v.magnitude == 0 && !v.inexact; }

Exact sum(Exact a, Exact b, Rounding rounding) {
  if (a.kind == Kind::kNan || b.kind == Kind::kNan) return nan();
  if (a.kind == Kind::kInfinity || b.kind == Kind::kInfinity) {
    if (a.kind == b.kind && a.negative != b.negative) return nan();
    return a.kind == Kind::kInfinity ? a : b;
  }
  if (is_zero(a) && is_zero(b)) {
    a.negative = a.negative == b.negative ? a.negative : rounding == Rounding::kDown;
    return a;
  }
  if (is_zero(a)) return b;
  if (is_zero(b)) return a;
  normalise(a);
  normalise(b);
  if (a.exponent < b.exponent) std::swap(a, b);
  shift_right(b, a.exponent - b.exponent);
  if (a.negative == b.negative) {
    a.magnitude += b.magnitude;
    a.inexact = b.inexact;
    return a;
  }
  if (a.magnitude < b.magnitude) std::swap(a, b);  // equal exponents now; then nothing was lost
  if (a.magnitude == b.magnitude && !b.inexact) {
    Exact zero;
    zero.negative = rounding == Rounding::kDown;
    return zero;
  }
  // Something more taken away than b's magnitude: one less, and something more than that.
  a.magnitude -= b.magnitude + (b.inexact ? 1 : 0);
  a.inexact = b.inexact;
  return a;
}

Exact product(const Exact& a, const Exact& b) {
  if (a.kind == Kind::kNan || b.kind == Kind::kNan) return nan();
  const bool infinite = a.kind == Kind::kInfinity || b.kind == Kind::kInfinity;
  if (infinite && (is_zero(a) || is_zero(b))) return nan();
  Exact v;
  v.kind = infinite ? Kind::kInfinity : Kind::kFinite;
  v.negative = a.negative != b.negative;
  v.magnitude = a.magnitude * b.magnitude;  // at most 53 bits each
  v.exponent = a.exponent + b.exponent;
  return v;
}

// Whether a magnitude whose fraction is as given goes up by one.
bool rounds_up(bool odd, U128 fraction, U128 half, bool more, bool negative, Rounding rounding) {
  const bool any = fraction != 0 || more;
  switch (rounding) {
    case Rounding::kNearest:
      return fraction > half || (fraction == half && (more || odd));
    case Rounding::kAway:
      return fraction >= half;
    case Rounding::kZero:
      return false;
    case Rounding::kDown:
      return any && negative;
    case Rounding::kUp:
      return any && !negative;
  }
  return false;
}

}  // namespace

bool is_nan(uint64_t bits, const FloatFormat& format) {
  return (bits & (format.sign() - 1)) > format.infinity();
}
bool is_subnormal(uint64_t bits, const FloatFormat& format) {
  return (bits & format.infinity()) == 0 && (bits & (format.sign() - 1)) != 0;
}
uint64_t flush(uint64_t bits, const FloatFormat& format) {
  return is_subnormal(bits, format) ? bits & format.sign() : bits;
}
uint64_t saturate(uint64_t bits, const FloatFormat& format) {
  if (is_nan(bits, format) || (bits & format.sign()) != 0) return 0;
  return std::min(bits, format.one());
}

Exact take_apart(uint64_t bits, const FloatFormat& format) {
  Exact v;
  v.negative = (bits & format.sign()) != 0;
  const uint64_t fraction = bits & ((uint64_t{1} << (format.precision - 1)) - 1);
  const int biased = static_cast<int>((bits & format.infinity()) >> (format.precision - 1));
  if (biased == (1 << format.exponent_bits) - 1) {
    v.kind = fraction != 0 ? Kind::kNan : Kind::kInfinity;
    return v;
  }
  v.magnitude = biased == 0 ? fraction : fraction | uint64_t{1} << (format.precision - 1);
  v.exponent = std::max(biased, 1) - format.bias() - (format.precision - 1);
  return v;
}

Exact from_integer(I128 value) {
  Exact v;
  v.negative = value < 0;
  v.magnitude = static_cast<U128>(value < 0 ? -value : value);
  return v;
}

uint64_t round_to(const Exact& value, const FloatFormat& format, Rounding rounding) {
  if (value.kind == Kind::kNan) return format.nan();
  const uint64_t sign = value.negative ? format.sign() : 0;
  if (value.kind == Kind::kInfinity) return sign | format.infinity();
  Exact v = value;
  if (v.magnitude == 0 && !v.inexact) return sign;
  normalise(v);
  // The unit in the last place: of this binade, or of the subnormals.
  const int leading = v.exponent + width(v.magnitude) - 1;
  const int unit = std::max(leading, format.exponent_min()) - (format.precision - 1);
  const int drop = unit - v.exponent;
  U128 count = drop >= 128 ? 0 : v.magnitude >> drop;
  const U128 fraction = drop >= 128 ? 0 : v.magnitude & ((U128{1} << drop) - 1);
  const bool more = v.inexact || (drop >= 128 && v.magnitude != 0);
  const U128 half = drop >= 128 ? 1 : U128{1} << (drop - 1);
  if (rounds_up((count & 1) != 0, fraction, half, more, v.negative, rounding)) ++count;
  // Counted from the format's smallest number, the encoding is the count of units: a carry into the
  // next binade comes out right by itself.
  const U128 hidden = U128{1} << (format.precision - 1);
  U128 biased = static_cast<U128>(unit + format.precision - 1 + format.bias());
  if (count < hidden) biased = 0;  // subnormal
  U128 bits = count < hidden ? count : ((biased - 1) << (format.precision - 1)) + count;
  if (bits >= format.infinity()) {
    const bool to_infinity = rounding == Rounding::kNearest || rounding == Rounding::kAway ||
                             (rounding == Rounding::kDown && v.negative) ||
                             (rounding == Rounding::kUp && !v.negative);
    bits = format.infinity() - (to_infinity ? 0 : 1);
  }
  return sign | static_cast<uint64_t>(bits);
}

Exact round_to_integral(const Exact& value, Rounding rounding) {
  if (value.kind != Kind::kFinite || value.exponent >= 0) return value;
  Exact v = value;
  const int drop = -v.exponent;
  const bool all = drop >= 128;
  const U128 fraction = all ? 0 : v.magnitude & ((U128{1} << drop) - 1);
  const U128 half = all ? 1 : U128{1} << (drop - 1);
  const bool more = all && v.magnitude != 0;
  v.magnitude = all ? 0 : v.magnitude >> drop;
  v.exponent = 0;
  if (rounds_up((v.magnitude & 1) != 0, fraction, half, more, v.negative, rounding)) ++v.magnitude;
  return v;
}

uint64_t add(uint64_t a, uint64_t b, const FloatFormat& format, Rounding rounding) {
  return round_to(sum(take_apart(a, format), take_apart(b, format), rounding), format, rounding);
}

uint64_t multiply(uint64_t a, uint64_t b, const FloatFormat& format, Rounding rounding) {
  return round_to(product(take_apart(a, format), take_apart(b, format)), format, rounding);
}

uint64_t fused(uint64_t a, uint64_t b, uint64_t c, const FloatFormat& format, Rounding rounding) {
  const Exact ab = product(take_apart(a, format), take_apart(b, format));
  return round_to(sum(ab, take_apart(c, format), rounding), format, rounding);
}

uint64_t divide(uint64_t a, uint64_t b, const FloatFormat& format, Rounding rounding) {
  Exact x = take_apart(a, format), y = take_apart(b, format);
  if (x.kind == Kind::kNan || y.kind == Kind::kNan) return format.nan();
  if (x.kind == Kind::kInfinity && y.kind == Kind::kInfinity) return format.nan();
  if (is_zero(x) && is_zero(y)) return format.nan();
  Exact q;
  q.negative = x.negative != y.negative;
  if (x.kind == Kind::kInfinity || is_zero(y)) {
    q.kind = Kind::kInfinity;
  } else if (y.kind != Kind::kInfinity && !is_zero(x)) {
    normalise(x);  // 124 bits over at most 53: enough for any precision here, and the rest
    q.magnitude = x.magnitude / y.magnitude;
    q.inexact = x.magnitude % y.magnitude != 0;
    q.exponent = x.exponent - y.exponent;
  }
  return round_to(q, format, rounding);
}

uint64_t square_root(uint64_t a, const FloatFormat& format, Rounding rounding) {
  Exact x = take_apart(a, format);
  if (x.kind == Kind::kNan || is_zero(x)) return x.kind == Kind::kNan ? format.nan() : a;
  if (x.negative) return format.nan();
  if (x.kind == Kind::kInfinity) return a;
  normalise(x);
  if ((x.exponent & 1) != 0) shift_right(x, 1);  // its lowest bits are zeros
  U128 root = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const U128 tried = root | U128{1} << bit;
    if (tried * tried <= x.magnitude) root = tried;
  }
  Exact r;
  r.magnitude = root;
  r.exponent = x.exponent / 2;
  r.inexact = root * root != x.magnitude;
  return round_to(r, format, rounding);
}

Order compare(uint64_t a, uint64_t b, const FloatFormat& format) {
  if (is_nan(a, format) || is_nan(b, format)) return Order::kUnordered;
  // As signed numbers of units; both zeros are zero.
  auto position = [&](uint64_t v) {
    const auto magnitude = static_cast<int64_t>(v & (format.sign() - 1));
    return (v & format.sign()) != 0 ? -magnitude : magnitude;
  };
  const int64_t x = position(a), y = position(b);
  return x < y ? Order::kLess : x > y ? Order::kGreater : Order::kEqual;
}

}  // namespace farcall::softgpu::reference
