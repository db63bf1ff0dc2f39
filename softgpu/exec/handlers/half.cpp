// f16 and bf16 arithmetic, one or two to a register. Sums, products, quotients and roots of 16-bit
// floats are exact enough in float (24 bits) for the second rounding not to matter. For fma not
// even double is: a bfloat's product may be a tie that only an addend 2^100 times smaller breaks,
// so the sum is rounded to odd.
#include "softgpu/exec/handlers/elementary_inl.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

bool is_nan(float v) { return v != v; }
bool is_negative(float v) { return (bit_cast<u32>(v) >> 31) != 0; }

// On the bits, so that NaNs keep their payload.
struct Neg {
  template <class T>
  static T bits(T a) {
    return {static_cast<u16>(a.bits ^ 0x8000)};
  }
};
struct Abs {
  template <class T>
  static T bits(T a) {
    return {static_cast<u16>(a.bits & 0x7fff)};
  }
};
struct Rcp {
  static float apply(float a) { return 1.0f / a; }
};
struct Sqrt {
  static float apply(float a) { return __builtin_sqrtf(a); }
};
struct Rsqrt {
  static float apply(float a) { return 1.0f / __builtin_sqrtf(a); }
};
struct Sin {
  static float apply(float a) { return approximate_sin(a); }
};
struct Cos {
  static float apply(float a) { return approximate_cos(a); }
};
struct Ex2 {
  static float apply(float a) { return approximate_exp2(a); }
};
struct Lg2 {
  static float apply(float a) { return approximate_log2(a); }
};
struct Tanh {
  static float apply(float a) { return approximate_tanh(a); }
};

struct Add {
  static float apply(float a, float b) { return a + b; }
};
struct Sub {
  static float apply(float a, float b) { return a - b; }
};
struct Mul {
  static float apply(float a, float b) { return a * b; }
};
struct Min {
  static float apply(float a, float b) {
    return is_nan(b) ? a : is_nan(a) ? b : a < b ? a : b < a ? b : is_negative(a) ? a : b;
  }
};
struct Max {
  static float apply(float a, float b) {
    return is_nan(b) ? a : is_nan(a) ? b : a > b ? a : b > a ? b : is_negative(a) ? b : a;
  }
};
struct MinNan {
  static float apply(float a, float b) { return is_nan(a) ? a : is_nan(b) ? b : Min::apply(a, b); }
};
struct MaxNan {
  static float apply(float a, float b) { return is_nan(a) ? a : is_nan(b) ? b : Max::apply(a, b); }
};
template <class Order>
struct Xorsign {
  static float apply(float a, float b) {
    const float r = Order::apply(__builtin_fabsf(a), __builtin_fabsf(b));
    return is_negative(a) != is_negative(b) ? -r : r;
  }
};
struct Fma {
  static double apply(double a, double b, double c) { return add_odd(a * b, c); }
};

template <class T>
T flush(T v) {
  constexpr u16 kExponent = kSame<T, Half> ? 0x7c00 : 0x7f80;
  return (v.bits & kExponent) == 0 ? T{static_cast<u16>(v.bits & 0x8000)} : v;
}

enum Extra : u8 { kNoExtra = 0, kFlush = 1, kSaturate = 2, kRelu = 4 };

template <class T, u8 Extras>
T finish(T v) {
  if constexpr ((Extras & kFlush) != 0) v = flush(v);
  constexpr u16 kOne = kSame<T, Half> ? 0x3c00 : 0x3f80;
  constexpr u16 kInfinity = kSame<T, Half> ? 0x7c00 : 0x7f80;
  if constexpr ((Extras & kSaturate) != 0) {
    // Positive floats order like their bits.
    if ((v.bits & 0x8000) != 0 || v.bits > kInfinity) v.bits = 0;
    if (v.bits > kOne) v.bits = kOne;
  }
  if constexpr ((Extras & kRelu) != 0) {  // a NaN stays
    if ((v.bits & 0x8000) != 0 && (v.bits & 0x7fff) <= kInfinity) v.bits = 0;
  }
  return v;
}
template <class T, u8 Extras>
float start(T v) {
  return to_float((Extras & kFlush) != 0 ? flush(v) : v);
}

template <class Operation, class T, u8 Extras>
struct Scalar {
  static T apply(T a) {
    if constexpr (requires { Operation::bits(a); }) {
      return Operation::bits((Extras & kFlush) != 0 ? flush(a) : a);
    } else {
      return finish<T, Extras>(from_float<T>(Operation::apply(start<T, Extras>(a))));
    }
  }
  static T apply(T a, T b) {
    return finish<T, Extras>(
        from_float<T>(Operation::apply(start<T, Extras>(a), start<T, Extras>(b))));
  }
  static T apply(T a, T b, T c) {
    return finish<T, Extras>(from_double<T>(
        Operation::apply(start<T, Extras>(a), start<T, Extras>(b), start<T, Extras>(c))));
  }
};

template <class Operation, class T, u8 Extras, int Operands>
void one(Warp& warp, const Op& op, u32 mask) {
  using S = Scalar<Operation, T, Extras>;
  if constexpr (Operands == 1) map_lanes<T, T>(warp, op, mask, [](T a) { return S::apply(a); });
  if constexpr (Operands == 2)
    map_lanes<T, T, T>(warp, op, mask, [](T a, T b) { return S::apply(a, b); });
  if constexpr (Operands == 3)
    map_lanes<T, T, T, T>(warp, op, mask, [](T a, T b, T c) { return S::apply(a, b, c); });
}

template <class T>
T low(u32 v) {
  return {static_cast<u16>(v)};
}
template <class T>
T high(u32 v) {
  return {static_cast<u16>(v >> 16)};
}
template <class T>
u32 join(T low, T high) {
  return low.bits | u32{high.bits} << 16;
}

template <class Operation, class T, u8 Extras, int Operands>
void two(Warp& warp, const Op& op, u32 mask) {
  using S = Scalar<Operation, T, Extras>;
  if constexpr (Operands == 1) {
    map_lanes<u32, u32>(warp, op, mask,
                        [](u32 a) { return join(S::apply(low<T>(a)), S::apply(high<T>(a))); });
  } else if constexpr (Operands == 2) {
    map_lanes<u32, u32, u32>(warp, op, mask, [](u32 a, u32 b) {
      return join(S::apply(low<T>(a), low<T>(b)), S::apply(high<T>(a), high<T>(b)));
    });
  } else {
    map_lanes<u32, u32, u32, u32>(warp, op, mask, [](u32 a, u32 b, u32 c) {
      return join(S::apply(low<T>(a), low<T>(b), low<T>(c)),
                  S::apply(high<T>(a), high<T>(b), high<T>(c)));
    });
  }
}

template <class Operation, int Operands, u8 Extras>
Handler typed(ptx::Type type) {
  if (type.kind == ptx::Type::Kind::kBfloat) {
    return type.lanes == 2 ? two<Operation, Bfloat, Extras, Operands>
                           : one<Operation, Bfloat, Extras, Operands>;
  }
  return type.lanes == 2 ? two<Operation, Half, Extras, Operands>
                         : one<Operation, Half, Extras, Operands>;
}
template <class Operation, int Operands>
Handler arithmetic(ptx::Type type, u8 extras) {
  switch (extras) {
    case kNoExtra:
      return typed<Operation, Operands, kNoExtra>(type);
    case kFlush:
      return typed<Operation, Operands, kFlush>(type);
    case kSaturate:
      return typed<Operation, Operands, kSaturate>(type);
    case kFlush | kSaturate:
      return typed<Operation, Operands, kFlush | kSaturate>(type);
    case kRelu:
      return Operands == 3 ? typed<Operation, Operands, kRelu>(type) : nullptr;
    case kFlush | kRelu:
      return Operands == 3 ? typed<Operation, Operands, kFlush | kRelu>(type) : nullptr;
    default:
      return nullptr;
  }
}
template <class Operation, int Operands>
Handler flushable(ptx::Type type, u8 extras) {
  if (extras == kNoExtra) return typed<Operation, Operands, kNoExtra>(type);
  return extras == kFlush ? typed<Operation, Operands, kFlush>(type) : nullptr;
}

}  // namespace

Handler find_half(FloatOp op, ptx::Type type, FloatMode mode) {
  if (mode.rounding != Rounding::kNearest) return nullptr;
  const u8 extras = static_cast<u8>((mode.flush ? kFlush : 0) | (mode.saturate ? kSaturate : 0) |
                                    (mode.relu ? kRelu : 0));
  switch (op) {
    case FloatOp::kNeg:
      return flushable<Neg, 1>(type, extras);
    case FloatOp::kAbs:
      return flushable<Abs, 1>(type, extras);
    case FloatOp::kRcp:
      return flushable<Rcp, 1>(type, extras);
    case FloatOp::kSqrt:
      return flushable<Sqrt, 1>(type, extras);
    case FloatOp::kRsqrt:
      return flushable<Rsqrt, 1>(type, extras);
    case FloatOp::kSin:
      return flushable<Sin, 1>(type, extras);
    case FloatOp::kCos:
      return flushable<Cos, 1>(type, extras);
    case FloatOp::kEx2:
      return flushable<Ex2, 1>(type, extras);
    case FloatOp::kLg2:
      return flushable<Lg2, 1>(type, extras);
    case FloatOp::kTanh:
      return flushable<Tanh, 1>(type, extras);
    case FloatOp::kAdd:
      return arithmetic<Add, 2>(type, extras);
    case FloatOp::kSub:
      return arithmetic<Sub, 2>(type, extras);
    case FloatOp::kMul:
      return arithmetic<Mul, 2>(type, extras);
    case FloatOp::kMin:
      return flushable<Min, 2>(type, extras);
    case FloatOp::kMax:
      return flushable<Max, 2>(type, extras);
    case FloatOp::kMinNan:
      return flushable<MinNan, 2>(type, extras);
    case FloatOp::kMaxNan:
      return flushable<MaxNan, 2>(type, extras);
    case FloatOp::kMinXorsign:
      return flushable<Xorsign<Min>, 2>(type, extras);
    case FloatOp::kMaxXorsign:
      return flushable<Xorsign<Max>, 2>(type, extras);
    case FloatOp::kMinNanXorsign:
      return flushable<Xorsign<MinNan>, 2>(type, extras);
    case FloatOp::kMaxNanXorsign:
      return flushable<Xorsign<MaxNan>, 2>(type, extras);
    case FloatOp::kFma:
      return arithmetic<Fma, 3>(type, extras);
    default:
      return nullptr;
  }
}

}  // namespace farcall::softgpu::FARCALL_ISA
