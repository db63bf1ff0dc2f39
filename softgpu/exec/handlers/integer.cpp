// Integer arithmetic, logic, shifts and bit fields. Every function is defined for every value: all
// lanes are computed, and a GPU never traps on arithmetic.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

template <class T>
constexpr u32 kBits = 8 * sizeof(T);
template <class T>
constexpr T kMax = kIsSigned<T> ? static_cast<T>(~(Unsigned<T>{1} << (kBits<T> - 1)))
                                : static_cast<T>(~T{0});
template <class T>
constexpr T kMin = static_cast<T>(~kMax<T>);
// Twice as wide.
template <class T>
using Wide = typename IntegerOf<sizeof(T) == 8 ? 8 : 2 * sizeof(T), kIsSigned<T>>::Type;

template <class T>
T multiply_high(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    using Product = typename Choose<kIsSigned<T>, __int128, unsigned __int128>::Type;
    return static_cast<T>(static_cast<Product>(a) * b >> 64);
  } else {
    return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b) >> kBits<T>);
  }
}
template <class T>
T multiply_low(T a, T b) {
  return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b));
}
template <class T>
T wrapping_add(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <class T>
T clamp_to(s64 v) {
  return static_cast<T>(v < s64{kMin<T>} ? s64{kMin<T>} : v > s64{kMax<T>} ? s64{kMax<T>} : v);
}
// 24-bit operands, sign- or zero-extended to 64 bits so that the 48-bit product is whole.
template <class T>
s64 low24(T v) {
  return kIsSigned<T> ? s64{static_cast<s32>(static_cast<u32>(v) << 8) >> 8}
                      : s64{static_cast<u32>(v) & 0xff'ffffu};
}

// Unary: T -> Result.
struct Not {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(~a);
  }
};
struct Neg {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(-static_cast<Unsigned<T>>(a));
  }
};
struct Abs {
  template <class T>
  static T apply(T a) {
    return a < 0 ? Neg::apply(a) : a;
  }
};
struct Cnot {
  template <class T>
  static T apply(T a) {
    return a == 0 ? T{1} : T{0};
  }
};
struct Popc {
  template <class T>
  static u32 apply(T a) {
    return static_cast<u32>(__builtin_popcountll(static_cast<Unsigned<T>>(a)));
  }
};
struct Clz {
  template <class T>
  static u32 apply(T a) {
    const u64 v = static_cast<Unsigned<T>>(a);
    return v == 0 ? kBits<T> : static_cast<u32>(__builtin_clzll(v)) - (64 - kBits<T>);
  }
};
struct Brev {
  template <class T>
  static T apply(T a) {
    u64 v = static_cast<Unsigned<T>>(a);
    v = (v >> 1 & 0x5555'5555'5555'5555u) | (v & 0x5555'5555'5555'5555u) << 1;
    v = (v >> 2 & 0x3333'3333'3333'3333u) | (v & 0x3333'3333'3333'3333u) << 2;
    v = (v >> 4 & 0x0f0f'0f0f'0f0f'0f0fu) | (v & 0x0f0f'0f0f'0f0f'0f0fu) << 4;
    return static_cast<T>(__builtin_bswap64(v) >> (64 - kBits<T>));
  }
};
struct Bfind {  // position of the most significant bit that differs from the sign
  template <class T>
  static u32 apply(T a) {
    const T v = a < 0 ? static_cast<T>(~a) : a;
    return v == 0 ? ~u32{0} : kBits<T> - 1 - Clz::apply(v);
  }
};
struct BfindShift {  // how far to shift left to bring it to the top
  template <class T>
  static u32 apply(T a) {
    const T v = a < 0 ? static_cast<T>(~a) : a;
    return v == 0 ? ~u32{0} : Clz::apply(v);
  }
};

// Binary.
struct Add {
  template <class T>
  static T apply(T a, T b) {
    return wrapping_add(a, b);
  }
};
struct Sub {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
  }
};
struct MulLo {
  template <class T>
  static T apply(T a, T b) {
    return multiply_low(a, b);
  }
};
struct MulHi {
  template <class T>
  static T apply(T a, T b) {
    return multiply_high(a, b);
  }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? a : b;
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return a > b ? a : b;
  }
};
struct MinRelu {
  template <class T>
  static T apply(T a, T b) {
    return Max::apply(Min::apply(a, b), T{0});
  }
};
struct MaxRelu {
  template <class T>
  static T apply(T a, T b) {
    return Max::apply(Max::apply(a, b), T{0});
  }
};
struct And {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct Xor {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
struct Div {  // by zero: all ones, as the hardware's sequence gives
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return static_cast<T>(~T{0});
    if (kIsSigned<T> && b == static_cast<T>(-1)) return Neg::apply(a);
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return a;
    if (kIsSigned<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct AddSat {
  template <class T>
  static T apply(T a, T b) {
    return clamp_to<T>(s64{a} + s64{b});
  }
};
struct SubSat {
  template <class T>
  static T apply(T a, T b) {
    return clamp_to<T>(s64{a} - s64{b});
  }
};
struct Mul24Lo {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(low24(a) * low24(b));
  }
};
struct Mul24Hi {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(low24(a) * low24(b) >> 16);
  }
};

// Shift amounts are 32 bits wide and clamped to the width.
struct Shl {
  template <class T>
  static T apply(T a, u32 n) {
    return n >= kBits<T> ? T{0} : static_cast<T>(static_cast<Unsigned<T>>(a) << n);
  }
};
struct Shr {
  template <class T>
  static T apply(T a, u32 n) {
    if constexpr (kIsSigned<T>)
      return static_cast<T>(a >> (n >= kBits<T> ? kBits<T> - 1 : n));
    else
      return n >= kBits<T> ? T{0} : static_cast<T>(a >> n);
  }
};
template <bool Wrap>
struct Bmsk {  // b ones from bit a on
  static u32 apply(u32 a, u32 b) {
    if (Wrap) return static_cast<u32>(((u64{1} << (b & 31)) - 1) << (a & 31));
    const u32 position = a > 32 ? 32 : a, width = b > 32 ? 32 : b;
    return static_cast<u32>(((u64{1} << width) - 1) << position);
  }
};
template <bool Wrap>
struct Szext {  // the low b bits of a, extended by T's sign
  template <class T>
  static T apply(T a, u32 b) {
    const u32 width = Wrap ? b & 31 : b;
    if (width >= 32) return a;
    if (width == 0) return 0;
    return static_cast<T>(static_cast<T>(static_cast<u32>(a) << (32 - width)) >> (32 - width));
  }
};

// Ternary.
struct MadLo {
  template <class T>
  static T apply(T a, T b, T c) {
    return wrapping_add(multiply_low(a, b), c);
  }
};
struct MadHi {
  template <class T>
  static T apply(T a, T b, T c) {
    return wrapping_add(multiply_high(a, b), c);
  }
};
struct MadHiSat {
  template <class T>
  static T apply(T a, T b, T c) {
    return clamp_to<T>(s64{multiply_high(a, b)} + s64{c});
  }
};
struct Sad {
  template <class T>
  static T apply(T a, T b, T c) {
    return wrapping_add(c, a > b ? Sub::apply(a, b) : Sub::apply(b, a));
  }
};
struct Mad24Lo {
  template <class T>
  static T apply(T a, T b, T c) {
    return wrapping_add(Mul24Lo::apply(a, b), c);
  }
};
struct Mad24Hi {
  template <class T>
  static T apply(T a, T b, T c) {
    return wrapping_add(Mul24Hi::apply(a, b), c);
  }
};
struct Min3 {
  template <class T>
  static T apply(T a, T b, T c) {
    return Min::apply(Min::apply(a, b), c);
  }
};
struct Max3 {
  template <class T>
  static T apply(T a, T b, T c) {
    return Max::apply(Max::apply(a, b), c);
  }
};
struct Prmt {  // four bytes picked from the eight of b:a; bit 3 of a selector replicates the byte's
               // sign
  static u32 apply(u32 a, u32 b, u32 selector) {
    const u64 bytes = a | u64{b} << 32;
    u32 result = 0;
    for (int k = 0; k < 4; ++k) {
      const u32 pick = selector >> (4 * k) & 15;
      u32 byte = static_cast<u32>(bytes >> (8 * (pick & 7))) & 0xff;
      if ((pick & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
      result |= byte << (8 * k);
    }
    return result;
  }
};
template <bool Left, bool Wrap>
struct Shf {
  static u32 apply(u32 low, u32 high, u32 n) {
    const u32 by = Wrap ? n & 31 : n > 32 ? 32 : n;
    const u64 both = low | u64{high} << 32;
    return static_cast<u32>(Left ? both << by >> 32 : both >> by);
  }
};
struct Bfe {
  template <class T>
  static T apply(T a, u32 position, u32 length) {
    const u32 p = position & 0xff, n = length & 0xff;
    if (n == 0) return 0;
    // What lies past the top is the sign (or zero).
    const T field = static_cast<T>(a >> (p >= kBits<T> ? kBits<T> - 1 : p));
    const T shifted = !kIsSigned<T> && p >= kBits<T> ? T{0} : field;
    if (n >= kBits<T>) return shifted;
    if constexpr (kIsSigned<T>) {
      // The sign bit is that of the field, or the operand's when the field reaches past the top.
      const u32 keep = kBits<T> - n;
      return static_cast<T>(static_cast<T>(static_cast<Unsigned<T>>(shifted) << keep) >> keep);
    } else {
      return static_cast<T>(shifted & ((T{1} << n) - 1));
    }
  }
};

template <class Operation, class T>
void unary(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T>(warp, op, mask, [](T a) { return Operation::apply(a); });
}
template <class Operation, class T>
void unary_to_32(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, T>(warp, op, mask, [](T a) { return Operation::apply(a); });
}
template <class Operation, class T>
void binary(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, T>(warp, op, mask, [](T a, T b) { return Operation::apply(a, b); });
}
template <class Operation, class T>
void by_amount(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, u32>(warp, op, mask, [](T a, u32 b) { return Operation::apply(a, b); });
}
template <class Operation, class T>
void ternary(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, T, T>(warp, op, mask, [](T a, T b, T c) { return Operation::apply(a, b, c); });
}
#if defined(__AVX512F__)
// One multiplication of 32 bits each; the compiler would take the 64-bit one, of three.
template <class T>
void multiply_wide_32(Warp& warp, const Op& op, u32 mask) {
  constexpr int kPiece = 8;
  const auto* a = lanes<T>(warp, op.a);
  const auto* b = lanes<T>(warp, op.b);
  alignas(64) Wide<T> values[kLanes];
#pragma GCC unroll 4
  for (int k = 0; k < kLanes / kPiece; ++k) {
    const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(a + k * kPiece));
    const __m256i y = _mm256_load_si256(reinterpret_cast<const __m256i*>(b + k * kPiece));
    // The masked forms: GCC 12 takes the undefined value inside the plain ones for a mistake.
    __m512i product;
    if constexpr (kIsSigned<T>)
      product = _mm512_maskz_mul_epi32(0xff, _mm512_maskz_cvtepi32_epi64(0xff, x),
                                       _mm512_maskz_cvtepi32_epi64(0xff, y));
    else
      product = _mm512_maskz_mul_epu32(0xff, _mm512_maskz_cvtepu32_epi64(0xff, x),
                                       _mm512_maskz_cvtepu32_epi64(0xff, y));
    __builtin_memcpy(values + k * kPiece, &product, sizeof product);
  }
  write_lanes(lanes<Wide<T>>(warp, op.d), mask, values);
}
#endif
template <class T>
void multiply_wide(Warp& warp, const Op& op, u32 mask) {
  using W = Wide<T>;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return multiply_wide_32<T>(warp, op, mask);
#endif
  map_lanes<W, T, T>(warp, op, mask, [](T a, T b) {
    return static_cast<W>(static_cast<W>(a) * static_cast<W>(b));
  });
}
template <class T>
void multiply_add_wide(Warp& warp, const Op& op, u32 mask) {
  using W = Wide<T>;
  map_lanes<W, T, T, W>(warp, op, mask, [](T a, T b, W c) {
    return wrapping_add(static_cast<W>(static_cast<W>(a) * static_cast<W>(b)), c);
  });
}
template <class T>
void bit_field_extract(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, u32, u32>(warp, op, mask, [](T a, u32 p, u32 n) { return Bfe::apply(a, p, n); });
}

template <class T>
void bit_field_insert(Warp& warp, const Op& op, u32 mask) {  // a into b at c; length in list[0]
  const auto* a = lanes<T>(warp, op.a);
  const auto* b = lanes<T>(warp, op.b);
  const auto* position = lanes<u32>(warp, op.c);
  const auto* length = lanes<u32>(warp, op.list[0]);
  T values[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const u32 p = position[i] & 0xff, n = length[i] & 0xff;
    const T ones = n >= kBits<T> ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << n) - 1);
    const T field = Shl::apply(ones, p);
    values[i] = static_cast<T>((Shl::apply(a[i], p) & field) | (b[i] & ~field));
  }
  write_lanes(lanes<T>(warp, op.d), mask, values);
}

void lop3(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<u32>(warp, op.a);
  const auto* b = lanes<u32>(warp, op.b);
  const auto* c = lanes<u32>(warp, op.c);
  const u32 table = static_cast<u32>(op.imm);
  u32 values[kLanes] = {};
  for (u32 k = 0; k < 8; ++k) {
    if ((table >> k & 1) == 0) continue;
    const u32 na = (k & 4) != 0 ? 0 : kAllLanes, nb = (k & 2) != 0 ? 0 : kAllLanes,
              nc = (k & 1) != 0 ? 0 : kAllLanes;
    for (int i = 0; i < kLanes; ++i) values[i] |= (a[i] ^ na) & (b[i] ^ nb) & (c[i] ^ nc);
  }
  write_lanes(lanes<u32>(warp, op.d), mask, values);
}

template <class Operation>
Handler unary_handler(ptx::Type type) {
  return for_integer(type, []<class T>() -> Handler { return unary<Operation, T>; });
}
template <class Operation>
Handler unary_to_32_handler(ptx::Type type) {
  return for_integer(type, []<class T>() -> Handler {
    return sizeof(T) >= 4 ? unary_to_32<Operation, T> : nullptr;
  });
}
template <class Operation>
Handler binary_handler(ptx::Type type) {
  return for_integer(type, []<class T>() -> Handler { return binary<Operation, T>; });
}
template <class Operation>
Handler amount_handler(ptx::Type type) {
  return for_integer(type, []<class T>() -> Handler { return by_amount<Operation, T>; });
}
template <class Operation>
Handler ternary_handler(ptx::Type type) {
  return for_integer(type, []<class T>() -> Handler { return ternary<Operation, T>; });
}
// Operations that PTX has for 32 bits only.
template <class Operation>
Handler binary_32(ptx::Type type) {
  if (!type.is_integer() || type.total_bits() != 32 || type.lanes != 1) return nullptr;
  return type.is_signed() ? Handler{binary<Operation, s32>} : Handler{binary<Operation, u32>};
}
template <class Operation>
Handler ternary_32(ptx::Type type) {
  if (!type.is_integer() || type.total_bits() != 32 || type.lanes != 1) return nullptr;
  return type.is_signed() ? Handler{ternary<Operation, s32>} : Handler{ternary<Operation, u32>};
}
Handler if_bits_32(ptx::Type type, Handler handler) {
  return type.is_integer() && type.bits == 32 && type.lanes == 1 ? handler : nullptr;
}

template <class T, CarryOp Operation>
void with_carry(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<T>(warp, op.a);
  const auto* b = lanes<T>(warp, op.b);
  const auto* c = lanes<T>(warp, op.c == kNoSlot ? op.b : op.c);
  auto* d = lanes<T>(warp, op.d);
  using Sum = unsigned __int128;
  using U = Unsigned<T>;
  for_each_lane(mask, [&](int i) {
    const Sum in = (op.flags & 1) != 0 ? warp.carry >> i & 1 : 0;
    Sum x = static_cast<U>(a[i]), y = static_cast<U>(b[i]);
    if (Operation == CarryOp::kMadLo) x = static_cast<U>(multiply_low(a[i], b[i]));
    if (Operation == CarryOp::kMadHi) x = static_cast<U>(multiply_high(a[i], b[i]));
    if (Operation == CarryOp::kMadLo || Operation == CarryOp::kMadHi) y = static_cast<U>(c[i]);
    const Sum sum = Operation == CarryOp::kSub ? x - y - in : x + y + in;
    d[i] = static_cast<T>(sum);
    if ((op.flags & 2) != 0) {
      warp.carry = (warp.carry & ~(u32{1} << i)) | static_cast<u32>(sum >> kBits<T> & 1) << i;
    }
  });
}

}  // namespace

Handler find_carry(CarryOp op, ptx::Type type) {
  if (!type.is_integer() || type.bits < 32 || type.lanes != 1) return nullptr;
  return for_integer(type, [op]<class T>() -> Handler {
    switch (op) {
      case CarryOp::kAdd:
        return with_carry<T, CarryOp::kAdd>;
      case CarryOp::kSub:
        return with_carry<T, CarryOp::kSub>;
      case CarryOp::kMadLo:
        return with_carry<T, CarryOp::kMadLo>;
      case CarryOp::kMadHi:
        return with_carry<T, CarryOp::kMadHi>;
    }
    return nullptr;
  });
}

Handler find_integer(IntegerOp op, ptx::Type type) {
  switch (op) {
    case IntegerOp::kNot:
      return unary_handler<Not>(type);
    case IntegerOp::kNeg:
      return unary_handler<Neg>(type);
    case IntegerOp::kAbs:
      return unary_handler<Abs>(type);
    case IntegerOp::kCnot:
      return unary_handler<Cnot>(type);
    case IntegerOp::kPopc:
      return unary_to_32_handler<Popc>(type);
    case IntegerOp::kClz:
      return unary_to_32_handler<Clz>(type);
    case IntegerOp::kBrev:
      return type.bits >= 32 ? unary_handler<Brev>(type) : nullptr;
    case IntegerOp::kBfind:
      return unary_to_32_handler<Bfind>(type);
    case IntegerOp::kBfindShift:
      return unary_to_32_handler<BfindShift>(type);
    case IntegerOp::kAdd:
      return binary_handler<Add>(type);
    case IntegerOp::kSub:
      return binary_handler<Sub>(type);
    case IntegerOp::kMulLo:
      return binary_handler<MulLo>(type);
    case IntegerOp::kMulHi:
      return binary_handler<MulHi>(type);
    case IntegerOp::kMulWide:
      return for_integer(
          type, []<class T>() -> Handler { return sizeof(T) < 8 ? multiply_wide<T> : nullptr; });
    case IntegerOp::kMin:
      return binary_handler<Min>(type);
    case IntegerOp::kMax:
      return binary_handler<Max>(type);
    case IntegerOp::kMinRelu:
      return type.is_signed() ? binary_32<MinRelu>(type) : nullptr;
    case IntegerOp::kMaxRelu:
      return type.is_signed() ? binary_32<MaxRelu>(type) : nullptr;
    case IntegerOp::kAnd:
      return binary_handler<And>(type);
    case IntegerOp::kOr:
      return binary_handler<Or>(type);
    case IntegerOp::kXor:
      return binary_handler<Xor>(type);
    case IntegerOp::kDiv:
      return binary_handler<Div>(type);
    case IntegerOp::kRem:
      return binary_handler<Rem>(type);
    case IntegerOp::kAddSat:
      return type.is_signed() ? binary_32<AddSat>(type) : nullptr;
    case IntegerOp::kSubSat:
      return type.is_signed() ? binary_32<SubSat>(type) : nullptr;
    case IntegerOp::kShl:
      return amount_handler<Shl>(type);
    case IntegerOp::kShr:
      return amount_handler<Shr>(type);
    case IntegerOp::kBmskClamp:
      return if_bits_32(type, binary<Bmsk<false>, u32>);
    case IntegerOp::kBmskWrap:
      return if_bits_32(type, binary<Bmsk<true>, u32>);
    case IntegerOp::kMul24Lo:
      return binary_32<Mul24Lo>(type);
    case IntegerOp::kMul24Hi:
      return binary_32<Mul24Hi>(type);
    case IntegerOp::kSzextClamp:
      return if_bits_32(type, type.is_signed() ? Handler{by_amount<Szext<false>, s32>}
                                               : Handler{by_amount<Szext<false>, u32>});
    case IntegerOp::kSzextWrap:
      return if_bits_32(type, type.is_signed() ? Handler{by_amount<Szext<true>, s32>}
                                               : Handler{by_amount<Szext<true>, u32>});
    case IntegerOp::kMadLo:
      return ternary_handler<MadLo>(type);
    case IntegerOp::kMadHi:
      return ternary_handler<MadHi>(type);
    case IntegerOp::kMadHiSat:
      return type.is_signed() ? ternary_32<MadHiSat>(type) : nullptr;
    case IntegerOp::kMadWide:
      return for_integer(type, []<class T>() -> Handler {
        return sizeof(T) < 8 ? multiply_add_wide<T> : nullptr;
      });
    case IntegerOp::kSad:
      return ternary_handler<Sad>(type);
    case IntegerOp::kBfe:
      return for_integer(type, []<class T>() -> Handler {
        return sizeof(T) >= 4 ? bit_field_extract<T> : nullptr;
      });
    case IntegerOp::kPrmt:
      return if_bits_32(type, ternary<Prmt, u32>);
    case IntegerOp::kShfLeftClamp:
      return if_bits_32(type, ternary<Shf<true, false>, u32>);
    case IntegerOp::kShfLeftWrap:
      return if_bits_32(type, ternary<Shf<true, true>, u32>);
    case IntegerOp::kShfRightClamp:
      return if_bits_32(type, ternary<Shf<false, false>, u32>);
    case IntegerOp::kShfRightWrap:
      return if_bits_32(type, ternary<Shf<false, true>, u32>);
    case IntegerOp::kMad24Lo:
      return ternary_32<Mad24Lo>(type);
    case IntegerOp::kMad24Hi:
      return ternary_32<Mad24Hi>(type);
    case IntegerOp::kMin3:
      return ternary_32<Min3>(type);
    case IntegerOp::kMax3:
      return ternary_32<Max3>(type);
    case IntegerOp::kBfi:
      return type.is_integer() && type.lanes == 1 && type.bits >= 32
                 ? (type.bits == 64 ? Handler{bit_field_insert<u64>}
                                    : Handler{bit_field_insert<u32>})
                 : nullptr;
    case IntegerOp::kLop3:
      return if_bits_32(type, lop3);
  }
  return nullptr;
}

ConvoyHandler integer_for_convoy(Handler handler) {
  return among<false, binary<Add, s32>, binary<Add, u32>, binary<Add, s64>, binary<Add, u64>,
               binary<Sub, s32>, binary<MulLo, s32>, binary<And, u32>, binary<Or, u32>,
               binary<Xor, u32>, by_amount<Shl, u32>, by_amount<Shl, u64>, by_amount<Shr, s32>,
               by_amount<Shr, u32>, ternary<MadLo, s32>, multiply_wide<s32>, multiply_wide<u32>>(
      handler);
}

}  // namespace farcall::softgpu::FARCALL_ISA
