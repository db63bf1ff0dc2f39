// cvt between all number types. Float to integer saturates; NaN gives 0, or 0x80...0 where the
// source or the destination has 64 bits. Rounding to a narrower float follows the instruction,
// whatever the processor's mode.
//
// The usual roundings (to zero for integers, to nearest for floats) have handlers of their own; the
// others share one that reads Op::flags.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

template <class T>
constexpr T kMax = kIsSigned<T> ? static_cast<T>(~(Unsigned<T>{1} << (8 * sizeof(T) - 1)))
                                : static_cast<T>(~T{0});
template <class T>
constexpr T kMin = static_cast<T>(~kMax<T>);

// ---- integer to integer ----

template <class To, class From>
To clamp_integer(From v) {
  // Compared in a type that holds both.
  const __int128 wide = v;
  return wide < kMin<To> ? kMin<To> : wide > kMax<To> ? kMax<To> : static_cast<To>(v);
}
template <class To, class From, bool Saturate, class Register>
void integer_to_integer(Warp& warp, const Op& op, u32 mask) {
  const Active<From> a(warp, op.a, mask);
  Register values[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const From v = a[i];
    const To to = Saturate ? clamp_integer<To>(v) : static_cast<To>(v);
    values[i] = static_cast<Register>(static_cast<Signed<Register>>(to));  // extended by To's sign
    if constexpr (!kIsSigned<To>) values[i] = static_cast<Register>(static_cast<Unsigned<To>>(to));
  }
  write_lanes(lanes<Register>(warp, op.d), mask, values);
}

// ---- float to integer ----

template <class T>
T round_integral(T v, Rounding rounding) {
  if constexpr (kSame<T, float>) {
    switch (rounding) {
      case Rounding::kNearest:
        return __builtin_nearbyintf(v);
      case Rounding::kZero:
        return __builtin_truncf(v);
      case Rounding::kDown:
        return __builtin_floorf(v);
      default:
        return __builtin_ceilf(v);
    }
  } else {
    switch (rounding) {
      case Rounding::kNearest:
        return __builtin_nearbyint(v);
      case Rounding::kZero:
        return __builtin_trunc(v);
      case Rounding::kDown:
        return __builtin_floor(v);
      default:
        return __builtin_ceil(v);
    }
  }
}

// v is integral or NaN.
template <class To, bool NanIsMinimum, class F>
To saturate_to_integer(F v) {
  constexpr F kTop =
      static_cast<F>(Unsigned<To>{1} << (8 * sizeof(To) - 1)) * (kIsSigned<To> ? 1 : 2);
  constexpr F kBottom = kIsSigned<To> ? -kTop : F(0);
  const F inside =
      v >= kBottom && v < kTop ? v : F(0);  // so that no lane converts what does not fit
  To result = static_cast<To>(inside);
  result = v >= kTop ? kMax<To> : result;
  result = v < kBottom ? kMin<To> : result;
  if (NanIsMinimum)
    result = v != v ? static_cast<To>(Unsigned<To>{1} << (8 * sizeof(To) - 1)) : result;
  return result;
}
template <class To, class From, bool Truncate, bool Flush, class Register>
void float_to_integer(Warp& warp, const Op& op, u32 mask) {
  const Rounding rounding = Truncate ? Rounding::kZero : static_cast<Rounding>(op.flags);
  using F = typename Choose<sizeof(From) == 8, double, float>::Type;
  constexpr bool kNanIsMinimum = sizeof(To) == 8 || sizeof(From) == 8;
  const Active<From> a(warp, op.a, mask);
  Register values[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    F v;
    if constexpr (sizeof(From) == 8)
      v = a[i];
    else
      v = to_float(a[i]);
    if constexpr (Flush && kSame<From, float>) v = flush_denormal(v);
    const To to = saturate_to_integer<To, kNanIsMinimum>(round_integral(v, rounding));
    if constexpr (kIsSigned<To>)
      values[i] = static_cast<Register>(static_cast<Signed<Register>>(to));
    else
      values[i] = static_cast<Register>(to);
  }
  write_lanes(lanes<Register>(warp, op.d), mask, values);
}

// ---- to float ----

// The neighbour in the given direction when the conversion went the other way. `error` has the sign
// of (exact - converted).
template <class T>
T step(T converted, int error, Rounding rounding) {
  using U = Unsigned<T>;
  const U bits = bit_cast<U>(converted);
  const U sign = U{1} << (8 * sizeof(U) - 1);
  const bool negative = (bits & sign) != 0;
  const bool down =
      error < 0 && (rounding == Rounding::kDown || (rounding == Rounding::kZero && !negative));
  const bool up =
      error > 0 && (rounding == Rounding::kUp || (rounding == Rounding::kZero && negative));
  if (down)
    return bit_cast<T>(static_cast<U>((bits & ~sign) == 0 ? sign | 1
                                      : negative          ? bits + 1
                                                          : bits - 1));
  if (up)
    return bit_cast<T>(static_cast<U>((bits & ~sign) == 0 ? 1 : negative ? bits - 1 : bits + 1));
  return converted;
}

// double -> narrower float. The nearest first, then a step if that went the wrong way.
template <class To>
To narrow(double v, Rounding rounding) {
  To nearest = from_double<To>(v);
  if (rounding == Rounding::kNearest) return nearest;
  double back;
  if constexpr (kSame<To, float>)
    back = nearest;
  else
    back = to_float(nearest);
  if (back != back || v - v != 0) return nearest;  // NaN and infinity are exact
  return step(nearest, v < back ? -1 : v > back ? 1 : 0, rounding);
}

template <class T>
double widen(T v) {
  if constexpr (kSame<T, double>)
    return v;
  else
    return to_float(v);
}

template <class To, class From>
To integer_to(From v, Rounding rounding) {
  if constexpr (sizeof(From) < 8) {
    const double exact = v;
    if constexpr (kSame<To, double>)
      return exact;
    else
      return narrow<To>(exact, rounding);
  } else {
    // Twice 32 bits do not fit in a double: to the nearest, and the error in integers.
    if constexpr (kSame<To, Half> || kSame<To, Bfloat>) {
      // Sticky bit: keeps 55 leading bits apart from the rest, so that one rounding is left to do.
      const bool minus = kIsSigned<From> && v < 0;
      u64 magnitude = minus ? -static_cast<u64>(v) : static_cast<u64>(v);
      if (magnitude >> 50 != 0)
        magnitude = (magnitude & ~u64{0x3fff}) | ((magnitude & 0x3fff) != 0 ? 0x4000 : 0);
      const double exact = minus ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
      return narrow<To>(exact, rounding);
    } else {
      const To nearest = static_cast<To>(v);
      if (rounding == Rounding::kNearest) return nearest;
      const __int128 error = static_cast<__int128>(v) - static_cast<__int128>(nearest);
      return step(nearest, error < 0 ? -1 : error > 0 ? 1 : 0, rounding);
    }
  }
}
template <class To, class From, bool Nearest, bool Saturate>
void integer_to_float(Warp& warp, const Op& op, u32 mask) {
  const Rounding rounding = Nearest ? Rounding::kNearest : static_cast<Rounding>(op.flags);
  map_lanes<To, From>(warp, op, mask, [rounding](From v) {
    To to = integer_to<To>(v, rounding);
    if constexpr (Saturate && (kSame<To, float> || kSame<To, double>)) to = saturate(to);
    return to;
  });
}

enum FloatExtra : u8 { kFlush = 1, kSaturate = 2, kRelu = 4 };

template <class To, class From, bool Nearest, bool Integral, u8 Extras>
void float_to_float(Warp& warp, const Op& op, u32 mask) {
  const Rounding rounding = Nearest ? Rounding::kNearest : static_cast<Rounding>(op.flags);
  map_lanes<To, From>(warp, op, mask, [rounding](From from) -> To {
    using Wide = typename Choose<kSame<From, double> || kSame<To, double>, double, float>::Type;
    Wide v;
    if constexpr (kSame<From, double>) {
      v = from;
    } else {
      float f = to_float(from);
      if constexpr ((Extras & kFlush) != 0 && kSame<From, float>) f = flush_denormal(f);
      v = f;
    }
    if constexpr (Integral) v = round_integral(v, rounding);
    if constexpr ((Extras & kSaturate) != 0) v = saturate(v);
    if constexpr ((Extras & kRelu) != 0) v = v <= 0 ? Wide(0) : v;  // -0 is 0, too
    if constexpr (kSame<To, Wide>) {
      if constexpr ((Extras & kFlush) != 0 && kSame<To, float>) v = flush_denormal(v);
      // f32 to f32 moves no bits of a NaN; from f16 the payload is lost.
      if constexpr (!kSame<From, To> && kSame<To, float>) v = canonical(v);
      return v;
    } else if constexpr (Integral || (Nearest && kSame<Wide, float>)) {
      if constexpr (kSame<Wide, float>)
        return from_float<To>(v);
      else
        return from_double<To>(v);
    } else {
      To to = narrow<To>(v, rounding);
      if constexpr (kSame<To, float>) {
        to = canonical(to);
        if constexpr ((Extras & kFlush) != 0) to = flush_denormal(to);
      }
      return to;
    }
  });
}

template <class To, Rounding Round, bool Relu>
void floats_to_pair(Warp& warp, const Op& op, u32 mask) {  // a to the upper half
  map_lanes<u32, float, float>(warp, op, mask, [](float a, float b) {
    if (Relu) {
      a = a <= 0 ? 0.0f : a;
      b = b <= 0 ? 0.0f : b;
    }
    const To high = Round == Rounding::kNearest ? from_float<To>(a) : narrow<To>(a, Round);
    const To low = Round == Rounding::kNearest ? from_float<To>(b) : narrow<To>(b, Round);
    return u32{high.bits} << 16 | low.bits;
  });
}

// To the 19 bits of tf32: to nearest, ties away from zero (.rna).
template <Rounding Round, bool Relu>
void float_to_tf32(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, u32>(warp, op, mask, [](u32 bits) -> u32 {
    if ((bits & 0x7fff'ffff) > 0x7f80'0000) return 0x7fff'ffff;
    if (Relu && bits >> 31 != 0) return 0;
    if ((bits & 0x7f80'0000) == 0x7f80'0000) return bits;
    if (Round == Rounding::kZero) return bits & ~0x1fffu;
    if (Round == Rounding::kNearest) return (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
    return (bits + 0x1000) & ~0x1fffu;
  });
}

// ---- selection ----

template <class Make>
Handler for_any_integer(ptx::Type type, Make make) {
  if (!type.is_integer() || type.lanes != 1) return nullptr;
  if (type.bits == 8)
    return type.is_signed() ? make.template operator()<s8>() : make.template operator()<u8>();
  return for_integer(type, make);
}
template <class Make>
Handler for_float(ptx::Type type, Make make) {
  if (!type.is_float() || type.lanes != 1) return nullptr;
  if (type.kind == ptx::Type::Kind::kBfloat) return make.template operator()<Bfloat>();
  if (type.kind != ptx::Type::Kind::kFloat) return nullptr;
  switch (type.bits) {
    case 16:
      return make.template operator()<Half>();
    case 32:
      return make.template operator()<float>();
    default:
      return make.template operator()<double>();
  }
}
template <class To, class From>
Handler integers(bool saturates, bool wide) {
  if (saturates)
    return wide ? integer_to_integer<To, From, true, u64> : integer_to_integer<To, From, true, u32>;
  return wide ? integer_to_integer<To, From, false, u64> : integer_to_integer<To, From, false, u32>;
}
template <class To, class From, bool Nearest, bool Integral>
Handler floats(ConvertMode mode) {
  constexpr bool kNarrow = !Integral && (kSame<To, Half> || kSame<To, Bfloat>)&&kSame<From, float>;
  constexpr bool kHasSingle = kSame<To, float> || kSame<From, float>;
  if (mode.relu) {
    if constexpr (kNarrow) {
      return mode.flush || mode.saturate ? nullptr
                                         : float_to_float<To, From, Nearest, Integral, kRelu>;
    }
    return nullptr;
  }
  if (mode.flush) {
    if constexpr (kHasSingle) {
      return mode.saturate ? float_to_float<To, From, Nearest, Integral, kFlush | kSaturate>
                           : float_to_float<To, From, Nearest, Integral, kFlush>;
    }
    return nullptr;
  }
  return mode.saturate ? float_to_float<To, From, Nearest, Integral, kSaturate>
                       : float_to_float<To, From, Nearest, Integral, 0>;
}
template <class To, class From>
Handler any_floats(ConvertMode mode) {
  if (mode.to_integral) return floats<To, From, false, true>(mode);
  return mode.rounding == Rounding::kNearest ? floats<To, From, true, false>(mode)
                                             : floats<To, From, false, false>(mode);
}
template <class To, class From, class Register>
Handler float_to_integer_handler(ConvertMode mode) {
  constexpr bool kSingle = kSame<From, float>;
  const bool flush = mode.flush && kSingle;
  if (mode.rounding == Rounding::kZero) {
    return flush ? float_to_integer<To, From, true, kSingle, Register>
                 : float_to_integer<To, From, true, false, Register>;
  }
  return flush ? float_to_integer<To, From, false, kSingle, Register>
               : float_to_integer<To, From, false, false, Register>;
}
template <class To, class From>
Handler integer_to_float_handler(ConvertMode mode) {
  if (mode.rounding == Rounding::kNearest) {
    return mode.saturate ? integer_to_float<To, From, true, true>
                         : integer_to_float<To, From, true, false>;
  }
  return mode.saturate ? integer_to_float<To, From, false, true>
                       : integer_to_float<To, From, false, false>;
}

}  // namespace

Handler find_convert(ptx::Type to, ptx::Type from, ConvertMode mode, unsigned d_register_bits) {
  const bool wide = d_register_bits == 64;
  if (to.kind == ptx::Type::Kind::kTf32) {
    // .rna arrives as kUp, which f32 -> tf32 does not have.
    if (from.kind != ptx::Type::Kind::kFloat || from.bits != 32 || mode.flush || mode.saturate)
      return nullptr;
    switch (mode.rounding) {
      case Rounding::kUp:
        return mode.relu ? nullptr : float_to_tf32<Rounding::kUp, false>;
      case Rounding::kZero:
        return mode.relu ? float_to_tf32<Rounding::kZero, true>
                         : float_to_tf32<Rounding::kZero, false>;
      case Rounding::kNearest:
        return mode.relu ? float_to_tf32<Rounding::kNearest, true>
                         : float_to_tf32<Rounding::kNearest, false>;
      default:
        return nullptr;
    }
  }
  if (to.is_integer() && from.is_integer()) {
    if (mode.flush || mode.relu || mode.to_integral || to.bits == 128 || from.bits == 128)
      return nullptr;
    return for_any_integer(to, [&]<class To>() -> Handler {
      return for_any_integer(
          from, [&]<class From>() -> Handler { return integers<To, From>(mode.saturate, wide); });
    });
  }
  if (to.is_integer()) {
    if (mode.relu) return nullptr;  // .sat is what happens anyway
    return for_any_integer(to, [&]<class To>() -> Handler {
      return for_float(from, [&]<class From>() -> Handler {
        // A narrow integer in a wide register is sign- or zero-extended.
        if constexpr (sizeof(To) == 8)
          return float_to_integer_handler<To, From, u64>(mode);
        else
          return wide ? float_to_integer_handler<To, From, u64>(mode)
                      : float_to_integer_handler<To, From, u32>(mode);
      });
    });
  }
  if (from.is_integer()) {
    if (mode.flush || mode.relu || mode.to_integral) return nullptr;
    return for_float(to, [&]<class To>() -> Handler {
      return for_any_integer(
          from, [&]<class From>() -> Handler { return integer_to_float_handler<To, From>(mode); });
    });
  }
  return for_float(to, [&]<class To>() -> Handler {
    return for_float(from, [&]<class From>() -> Handler { return any_floats<To, From>(mode); });
  });
}

Handler find_convert_pair(ptx::Type to, ConvertMode mode) {
  if (!to.is_float() || to.bits != 16 || to.lanes != 2 || mode.flush || mode.saturate ||
      mode.to_integral)
    return nullptr;
  const bool bfloat = to.kind == ptx::Type::Kind::kBfloat;
  if (mode.rounding == Rounding::kNearest) {
    if (bfloat)
      return mode.relu ? floats_to_pair<Bfloat, Rounding::kNearest, true>
                       : floats_to_pair<Bfloat, Rounding::kNearest, false>;
    return mode.relu ? floats_to_pair<Half, Rounding::kNearest, true>
                     : floats_to_pair<Half, Rounding::kNearest, false>;
  }
  if (mode.rounding == Rounding::kZero) {
    if (bfloat)
      return mode.relu ? floats_to_pair<Bfloat, Rounding::kZero, true>
                       : floats_to_pair<Bfloat, Rounding::kZero, false>;
    return mode.relu ? floats_to_pair<Half, Rounding::kZero, true>
                     : floats_to_pair<Half, Rounding::kZero, false>;
  }
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
