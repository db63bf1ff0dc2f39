// f32 and f64 arithmetic. Every operation rounds once, as PTX says; nothing is contracted
// (-ffp-contract=off).
//
// The approximate functions (.approx) are computed more exactly than a GPU does, in double where
// that is cheap, so bit equality with a GPU is not to be had, its error bounds are.
#include "softgpu/exec/handlers/directed_inl.h"
#include "softgpu/exec/handlers/elementary_inl.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

float magnitude(float v) { return __builtin_fabsf(v); }
double magnitude(double v) { return __builtin_fabs(v); }
float root(float v) { return __builtin_sqrtf(v); }
double root(double v) { return __builtin_sqrt(v); }
float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
float with_sign(float v, float sign) { return __builtin_copysignf(v, sign); }
double with_sign(double v, double sign) { return __builtin_copysign(v, sign); }
bool negative(float v) { return (bit_cast<u32>(v) >> 31) != 0; }
bool negative(double v) { return (bit_cast<u64>(v) >> 63) != 0; }
template <class T>
T negate(T v) {
  return bit_cast<T>(
      static_cast<Unsigned<T>>(bit_cast<Unsigned<T>>(v) ^ Unsigned<T>{1} << (8 * sizeof(T) - 1)));
}

// kArithmetic: produces the canonical NaN and a flushed result; the others move bits.
struct Neg {
  static constexpr bool kArithmetic = false;
  template <class T>
  static T apply(T a) {
    return negate(a);
  }
};
struct Abs {
  static constexpr bool kArithmetic = false;
  template <class T>
  static T apply(T a) {
    return magnitude(a);
  }
};
struct Rcp {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a) {
    return T(1) / a;
  }
};
struct Sqrt {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a) {
    return root(a);
  }
};
struct Rsqrt {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a) {
    return T(1) / root(a);
  }
};
struct Sin {
  static constexpr bool kArithmetic = true;
  static float apply(float a) { return approximate_sin(a); }
};
struct Cos {
  static constexpr bool kArithmetic = true;
  static float apply(float a) { return approximate_cos(a); }
};
struct Ex2 {
  static constexpr bool kArithmetic = true;
  static float apply(float a) { return approximate_exp2(a); }
};
struct Lg2 {
  static constexpr bool kArithmetic = true;
  static float apply(float a) { return approximate_log2(a); }
};
struct Tanh {
  static constexpr bool kArithmetic = true;
  static float apply(float a) { return approximate_tanh(a); }
};

struct Add {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    return a + b;
  }
};
struct Sub {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    return a - b;
  }
};
struct Mul {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    return a * b;
  }
};
struct Div {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    return a / b;
  }
};
struct Min {  // a NaN loses; -0 < +0
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    const T smaller = a < b ? a : b < a ? b : negative(a) ? a : b;
    return b != b ? a : a != a ? b : smaller;
  }
};
struct Max {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    const T larger = a > b ? a : b > a ? b : negative(a) ? b : a;
    return b != b ? a : a != a ? b : larger;
  }
};
struct MinNan {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    return a != a ? a : b != b ? b : Min::apply(a, b);
  }
};
struct MaxNan {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    return a != a ? a : b != b ? b : Max::apply(a, b);
  }
};
template <class Order>
struct Xorsign {  // of the magnitudes, with the product's sign
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b) {
    const T result = Order::apply(magnitude(a), magnitude(b));
    return negative(a) != negative(b) ? negate(result) : result;
  }
};
struct Copysign {
  static constexpr bool kArithmetic = false;
  template <class T>
  static T apply(T a, T b) {
    return with_sign(b, a);
  }
};
struct Fma {
  static constexpr bool kArithmetic = true;
  template <class T>
  static T apply(T a, T b, T c) {
    return fused(a, b, c);
  }
};
struct FmaToNearest {
  static constexpr bool kArithmetic = true;
  static double apply(double a, double b, double c) { return fused(a, b, c); }
  static float apply(float a, float b, float c) {
#if defined(__x86_64__) && !defined(__FMA__)
    // A call per lane otherwise. The product is exact in double, the sum rounded to odd, so the
    // last rounding is the only one that shows.
    return static_cast<float>(
        add_odd(static_cast<double>(a) * static_cast<double>(b), static_cast<double>(c)));
#else
    return fused(a, b, c);
#endif
  }
};

template <bool Flush, class T>
T in(T v) {
  if constexpr (Flush && kSame<T, float>) return flush_denormal(v);
  return v;
}
template <class Operation, bool Flush, bool Saturate, class T>
T out(T v) {
  if constexpr (Operation::kArithmetic && kSame<T, float>) v = canonical(v);
  if constexpr (Flush && kSame<T, float>) v = flush_denormal(v);
  if constexpr (Saturate) v = saturate(v);
  return v;
}

template <class Operation, class T, bool Flush, bool Saturate>
void unary(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T>(warp, op, mask, [](T a) {
    return out<Operation, Flush, Saturate>(Operation::apply(in<Flush>(a)));
  });
}
template <class Operation, class T, bool Flush, bool Saturate>
void binary(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, T>(warp, op, mask, [](T a, T b) {
    return out<Operation, Flush, Saturate>(Operation::apply(in<Flush>(a), in<Flush>(b)));
  });
}
template <class Operation, class T, bool Flush, bool Saturate>
void ternary(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, T, T>(warp, op, mask, [](T a, T b, T c) {
    return out<Operation, Flush, Saturate>(
        Operation::apply(in<Flush>(a), in<Flush>(b), in<Flush>(c)));
  });
}

template <class Operation, int Operands, class T, bool Flush, bool Saturate>
Handler shaped() {
  if constexpr (Operands == 1) return unary<Operation, T, Flush, Saturate>;
  if constexpr (Operands == 2) return binary<Operation, T, Flush, Saturate>;
  if constexpr (Operands == 3) return ternary<Operation, T, Flush, Saturate>;
}
template <class Operation, int Operands>
Handler single(FloatMode mode) {
  if (mode.flush) {
    return mode.saturate ? shaped<Operation, Operands, float, true, true>()
                         : shaped<Operation, Operands, float, true, false>();
  }
  return mode.saturate ? shaped<Operation, Operands, float, false, true>()
                       : shaped<Operation, Operands, float, false, false>();
}
template <class Operation, int Operands>
Handler any(ptx::Type type, FloatMode mode) {
  if (type.bits == 32) return single<Operation, Operands>(mode);
  return mode.flush || mode.saturate ? nullptr
                                     : shaped<Operation, Operands, double, false, false>();
}

// Directed rounding: the mode of the processor is switched once for the 32 lanes.
template <class Operation, int Operands, class T, Rounding Direction, bool Flush, bool Saturate>
void directed(Warp& warp, const Op& op, u32 mask) {
  T a[kLanes], b[kLanes], c[kLanes], values[kLanes];
  const Active<T> pa(warp, op.a, mask);
  const Active<T> pb(warp, Operands > 1 ? op.b : op.a, mask);
  const Active<T> pc(warp, Operands > 2 ? op.c : op.a, mask);
  for (int i = 0; i < kLanes; ++i) {
    a[i] = in<Flush>(pa[i]);
    b[i] = in<Flush>(pb[i]);
    c[i] = in<Flush>(pc[i]);
  }
  {
    const RoundingScope scope(Direction, a, b, c);
    for (int i = 0; i < kLanes; ++i) {
      if constexpr (Operands == 1) values[i] = Operation::apply(a[i]);
      if constexpr (Operands == 2) values[i] = Operation::apply(a[i], b[i]);
      if constexpr (Operands == 3) values[i] = Operation::apply(a[i], b[i], c[i]);
    }
    scope.finish(values);
  }
  for (T& v : values) v = out<Operation, Flush, Saturate>(v);
  write_lanes(lanes<T>(warp, op.d), mask, values);
}
template <class Operation, int Operands, Rounding Direction>
Handler directed_to(ptx::Type type, FloatMode mode) {
  if (type.bits == 64) {
    return mode.flush || mode.saturate
               ? nullptr
               : directed<Operation, Operands, double, Direction, false, false>;
  }
  if (mode.flush) {
    return mode.saturate ? directed<Operation, Operands, float, Direction, true, true>
                         : directed<Operation, Operands, float, Direction, true, false>;
  }
  return mode.saturate ? directed<Operation, Operands, float, Direction, false, true>
                       : directed<Operation, Operands, float, Direction, false, false>;
}
template <class Operation, int Operands>
Handler rounded(ptx::Type type, FloatMode mode) {
  switch (mode.rounding) {
    case Rounding::kNearest:
      return any<Operation, Operands>(type, mode);
    case Rounding::kZero:
      return directed_to<Operation, Operands, Rounding::kZero>(type, mode);
    case Rounding::kDown:
      return directed_to<Operation, Operands, Rounding::kDown>(type, mode);
    case Rounding::kUp:
      return directed_to<Operation, Operands, Rounding::kUp>(type, mode);
  }
  return nullptr;
}
// Operations that have neither saturation nor rounding.
template <class Operation, int Operands>
Handler plain(ptx::Type type, FloatMode mode) {
  return mode.saturate ? nullptr : any<Operation, Operands>(type, mode);
}
template <class Operation>
Handler single_only(ptx::Type type, FloatMode mode) {
  return type.bits == 32 && !mode.saturate ? single<Operation, 1>(mode) : nullptr;
}

}  // namespace

Handler find_float(FloatOp op, ptx::Type type, FloatMode mode) {
  if (!type.is_float() || type.kind == ptx::Type::Kind::kTf32) return nullptr;
  if (type.bits == 16) return find_half(op, type, mode);
  if (type.lanes != 1 || mode.relu) return nullptr;
  switch (op) {
    case FloatOp::kRcp:
      return rounded<Rcp, 1>(type, mode);
    case FloatOp::kSqrt:
      return rounded<Sqrt, 1>(type, mode);
    case FloatOp::kAdd:
      return rounded<Add, 2>(type, mode);
    case FloatOp::kSub:
      return rounded<Sub, 2>(type, mode);
    case FloatOp::kMul:
      return rounded<Mul, 2>(type, mode);
    case FloatOp::kDiv:
      return rounded<Div, 2>(type, mode);
    case FloatOp::kFma:
      return mode.rounding == Rounding::kNearest ? any<FmaToNearest, 3>(type, mode)
                                                 : rounded<Fma, 3>(type, mode);
    default:
      break;
  }
  if (mode.rounding != Rounding::kNearest) return nullptr;
  switch (op) {
    case FloatOp::kNeg:
      return plain<Neg, 1>(type, mode);
    case FloatOp::kAbs:
      return plain<Abs, 1>(type, mode);
    case FloatOp::kRsqrt:
      return plain<Rsqrt, 1>(type, mode);
    case FloatOp::kSin:
      return single_only<Sin>(type, mode);
    case FloatOp::kCos:
      return single_only<Cos>(type, mode);
    case FloatOp::kEx2:
      return single_only<Ex2>(type, mode);
    case FloatOp::kLg2:
      return single_only<Lg2>(type, mode);
    case FloatOp::kTanh:
      return single_only<Tanh>(type, mode);
    case FloatOp::kMin:
      return plain<Min, 2>(type, mode);
    case FloatOp::kMax:
      return plain<Max, 2>(type, mode);
    case FloatOp::kMinNan:
      return type.bits == 32 ? plain<MinNan, 2>(type, mode) : nullptr;
    case FloatOp::kMaxNan:
      return type.bits == 32 ? plain<MaxNan, 2>(type, mode) : nullptr;
    case FloatOp::kMinXorsign:
      return type.bits == 32 ? plain<Xorsign<Min>, 2>(type, mode) : nullptr;
    case FloatOp::kMaxXorsign:
      return type.bits == 32 ? plain<Xorsign<Max>, 2>(type, mode) : nullptr;
    case FloatOp::kMinNanXorsign:
      return type.bits == 32 ? plain<Xorsign<MinNan>, 2>(type, mode) : nullptr;
    case FloatOp::kMaxNanXorsign:
      return type.bits == 32 ? plain<Xorsign<MaxNan>, 2>(type, mode) : nullptr;
    case FloatOp::kCopysign:
      return mode.flush ? nullptr : plain<Copysign, 2>(type, mode);
    default:
      return nullptr;
  }
}

ConvoyHandler float_for_convoy(Handler handler) {
  return among<false, binary<Add, float, false, false>, binary<Sub, float, false, false>,
               binary<Mul, float, false, false>, ternary<FmaToNearest, float, false, false>,
               binary<Add, double, false, false>, binary<Mul, double, false, false>,
               ternary<FmaToNearest, double, false, false>>(handler);
}

}  // namespace farcall::softgpu::FARCALL_ISA
