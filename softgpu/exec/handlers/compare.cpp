// setp, set, selp, slct and moves between registers.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

struct Eq {
  template <class T>
  static bool apply(T a, T b) {
    return a == b;
  }
};
struct Ne {
  template <class T>
  static bool apply(T a, T b) {
    return a < b || a > b;
  }
};  // ordered: false for NaN
struct Lt {
  template <class T>
  static bool apply(T a, T b) {
    return a < b;
  }
};
struct Le {
  template <class T>
  static bool apply(T a, T b) {
    return a <= b;
  }
};
struct Gt {
  template <class T>
  static bool apply(T a, T b) {
    return a > b;
  }
};
struct Ge {
  template <class T>
  static bool apply(T a, T b) {
    return a >= b;
  }
};
struct Equ {
  template <class T>
  static bool apply(T a, T b) {
    return !(a < b || a > b);
  }
};
struct Neu {
  template <class T>
  static bool apply(T a, T b) {
    return !(a == b);
  }
};
struct Ltu {
  template <class T>
  static bool apply(T a, T b) {
    return !(a >= b);
  }
};
struct Leu {
  template <class T>
  static bool apply(T a, T b) {
    return !(a > b);
  }
};
struct Gtu {
  template <class T>
  static bool apply(T a, T b) {
    return !(a <= b);
  }
};
struct Geu {
  template <class T>
  static bool apply(T a, T b) {
    return !(a < b);
  }
};
struct Num {
  template <class T>
  static bool apply(T a, T b) {
    return a == a && b == b;
  }
};
struct Nan {
  template <class T>
  static bool apply(T a, T b) {
    return a != a || b != b;
  }
};

u32 combine(u32 value, u32 with, u8 flags) {
  switch (flags & kCombineMask) {
    case kCombineAnd:
      return value & with;
    case kCombineOr:
      return value | with;
    case kCombineXor:
      return value ^ with;
    default:
      return value;
  }
}

u32 true_value(s64 set) {
  switch (set) {
    case kSetF32:
      return 0x3f80'0000;
    case kSetF16:
      return 0x3c00;
    case kSetBf16:
      return 0x3f80;
    case kSetMask16:
      return 0xffff;
    case kSetF16x2:
      return 0x3c00'3c00;
    case kSetBf16x2:
      return 0x3f80'3f80;
    default:
      return kAllLanes;
  }
}

// `result` and its negation into pd and pq, or d = true or 0.
[[gnu::noinline]] void deliver_combined(Warp& warp, const Op& op, u32 mask, u32 result) {
  u32 negation = ~result;
  if ((op.flags & kCombineMask) != 0) {
    const u32 with = predicate(warp, op.ps, (op.flags & kCombineNegated) != 0);
    result = combine(result, with, op.flags);
    negation = combine(negation, with, op.flags);
  }
  if (op.imm == kSetPredicate) {
    set_predicate(warp, op.pd, mask, result);
    set_predicate(warp, op.pq, mask, negation);
    return;
  }
  const u32 set = true_value(op.imm);
  u32 values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = (result >> i & 1) != 0 ? set : 0;
  write_lanes(lanes<u32>(warp, op.d), mask, values);
}

[[gnu::always_inline]] inline void deliver(Warp& warp, const Op& op, u32 mask, u32 result) {
  // Nearly always.
  if ((op.flags & kCombineMask) == 0 && op.imm == kSetPredicate && op.pq == 0)
    return set_predicate(warp, op.pd, mask, result);
  deliver_combined(warp, op, mask, result);
}

// AVX-512's number of a comparison; -1: it takes more than one.
template <class Operation>
constexpr int kOrder = -1;
template <>
constexpr int kOrder<Eq> = 0;
template <>
constexpr int kOrder<Lt> = 1;
template <>
constexpr int kOrder<Le> = 2;
template <>
constexpr int kOrder<Ne> = 4;
template <>
constexpr int kOrder<Ge> = 5;
template <>
constexpr int kOrder<Gt> = 6;

// The lanes for which it is true.
template <class Operation, class T>
[[gnu::always_inline]] inline u32 true_lanes(Warp& warp, const Op& op) {
  const auto* a = lanes<Storage<T>>(warp, op.a);
  const auto* b = lanes<Storage<T>>(warp, op.b);
#if defined(__AVX512F__)
  // The result is in a mask at once; the compiler would take it through two more vectors.
  constexpr bool kSigned = kSame<T, s32>;
  if constexpr (kOrder<Operation> >= 0 && (kSigned || kSame<T, u32>)) {
    u32 result = 0;
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const __m512i first = _mm512_load_si512(a + 16 * k), second = _mm512_load_si512(b + 16 * k);
      const __mmask16 part = kSigned ? _mm512_cmp_epi32_mask(first, second, kOrder<Operation>)
                                     : _mm512_cmp_epu32_mask(first, second, kOrder<Operation>);
      result |= static_cast<u32>(part) << (16 * k);
    }
    return result;
  }
#endif
  return mask_of([&](int i) { return Operation::apply(Lane<T>::get(a[i]), Lane<T>::get(b[i])); });
}

template <class Operation, class T>
void compare(Warp& warp, const Op& op, u32 mask) {
  deliver(warp, op, mask, true_lanes<Operation, T>(warp, op));
}
template <class Operation>
void compare_flushed(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<float>(warp, op.a);
  const auto* b = lanes<float>(warp, op.b);
  deliver(warp, op, mask, mask_of([&](int i) {
            return Operation::apply(flush_denormal(a[i]), flush_denormal(b[i]));
          }));
}
// A 16-bit float's denormals are flushed by their bits.
template <class T, bool Flush>
float widen(u32 bits) {
  constexpr u32 kExponent = kSame<T, Half> ? 0x7c00 : 0x7f80;
  if (Flush && (bits & kExponent) == 0) bits &= 0x8000;
  return to_float(T{static_cast<u16>(bits)});
}
template <class Operation, class T, bool Flush>
void compare_half(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<u32>(warp, op.a);
  const auto* b = lanes<u32>(warp, op.b);
  deliver(warp, op, mask, mask_of([&](int i) {
            return Operation::apply(widen<T, Flush>(a[i]), widen<T, Flush>(b[i]));
          }));
}
// Both halves: two predicates, or two results in one register.
template <class Operation, class T, bool Flush>
void compare_pair(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<u32>(warp, op.a);
  const auto* b = lanes<u32>(warp, op.b);
  u32 low = mask_of(
      [&](int i) { return Operation::apply(widen<T, Flush>(a[i]), widen<T, Flush>(b[i])); });
  u32 high = mask_of([&](int i) {
    return Operation::apply(widen<T, Flush>(a[i] >> 16), widen<T, Flush>(b[i] >> 16));
  });
  if ((op.flags & kCombineMask) != 0) {
    const u32 with = predicate(warp, op.ps, (op.flags & kCombineNegated) != 0);
    low = combine(low, with, op.flags);
    high = combine(high, with, op.flags);
  }
  if (op.imm == kSetPredicate) {
    set_predicate(warp, op.pd, mask, low);
    set_predicate(warp, op.pq, mask, high);
    return;
  }
  const u32 set = true_value(op.imm);
  u32 values[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    values[i] =
        ((low >> i & 1) != 0 ? set & 0xffff : 0) | ((high >> i & 1) != 0 ? set & 0xffff'0000 : 0);
  }
  write_lanes(lanes<u32>(warp, op.d), mask, values);
}

template <class Operation, class T>
Handler half_handler(unsigned lane_count, bool flush) {
  if (lane_count == 2)
    return flush ? compare_pair<Operation, T, true> : compare_pair<Operation, T, false>;
  return flush ? compare_half<Operation, T, true> : compare_half<Operation, T, false>;
}
template <class Operation>
Handler float_handler(ptx::Type type, bool flush) {
  if (type.kind == ptx::Type::Kind::kBfloat)
    return half_handler<Operation, Bfloat>(type.lanes, flush);
  if (type.bits == 16) return half_handler<Operation, Half>(type.lanes, flush);
  if (type.lanes != 1) return nullptr;
  if (type.bits == 32) return flush ? compare_flushed<Operation> : compare<Operation, float>;
  return flush ? nullptr : compare<Operation, double>;
}
template <class Operation>
Handler integer_handler(ptx::Type type) {
  return for_integer(type, []<class T>() -> Handler { return compare<Operation, T>; });
}
template <class Operation>
Handler any(ptx::Type type, bool flush) {
  if (type.is_float()) return float_handler<Operation>(type, flush);
  return flush ? nullptr : integer_handler<Operation>(type);
}

template <class T>
void select(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<T>(warp, op.a);
  const auto* b = lanes<T>(warp, op.b);
  const u32 pick = predicate(warp, op.ps, (op.flags & 1) != 0);
  T values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = (pick >> i & 1) != 0 ? a[i] : b[i];
  write_lanes(lanes<T>(warp, op.d), mask, values);
}

// By the sign of c; Op::flags bit 0: c is a float, bit 1: flushed. -0 and flushed denormals count
// as >= 0, NaN not.
template <class T>
void select_signed(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T, T, u32>(warp, op, mask, [&](T a, T b, u32 c) {
    const bool integer = static_cast<s32>(c) >= 0;
    float f = bit_cast<float>(c);
    if ((op.flags & 2) != 0) f = flush_denormal(f);
    return ((op.flags & 1) != 0 ? f >= 0 : integer) ? a : b;
  });
}

template <class T>
void copy(Warp& warp, const Op& op, u32 mask) {
  map_lanes<T, T>(warp, op, mask, [](T a) { return a; });
}

}  // namespace

Handler find_compare(Comparison comparison, ptx::Type type, bool flush) {
  if (type.kind == ptx::Type::Kind::kTf32 || type.is_predicate()) return nullptr;
  switch (comparison) {
    case Comparison::kEq:
      return any<Eq>(type, flush);
    case Comparison::kNe:
      return any<Ne>(type, flush);
    case Comparison::kLt:
      return any<Lt>(type, flush);
    case Comparison::kLe:
      return any<Le>(type, flush);
    case Comparison::kGt:
      return any<Gt>(type, flush);
    case Comparison::kGe:
      return any<Ge>(type, flush);
    default:
      break;
  }
  if (!type.is_float()) return nullptr;
  switch (comparison) {
    case Comparison::kEqu:
      return float_handler<Equ>(type, flush);
    case Comparison::kNeu:
      return float_handler<Neu>(type, flush);
    case Comparison::kLtu:
      return float_handler<Ltu>(type, flush);
    case Comparison::kLeu:
      return float_handler<Leu>(type, flush);
    case Comparison::kGtu:
      return float_handler<Gtu>(type, flush);
    case Comparison::kGeu:
      return float_handler<Geu>(type, flush);
    case Comparison::kNum:
      return float_handler<Num>(type, flush);
    case Comparison::kNan:
      return float_handler<Nan>(type, flush);
    default:
      return nullptr;
  }
}

Handler find_select(unsigned bits) { return bits == 64 ? select<u64> : select<u32>; }
Handler find_select_signed(ptx::Type type) {
  return type.total_bits() == 64 ? select_signed<u64> : select_signed<u32>;
}
Handler find_copy(unsigned bits) { return bits == 64 ? copy<u64> : copy<u32>; }

ConvoyHandler compare_for_convoy(Handler handler) {
  return among<false, compare<Eq, s32>, compare<Ne, s32>, compare<Lt, s32>, compare<Le, s32>,
               compare<Gt, s32>, compare<Ge, s32>, compare<Eq, u32>, compare<Ne, u32>,
               compare<Lt, u32>, compare<Le, u32>, compare<Gt, u32>, compare<Ge, u32>,
               compare<Lt, float>, compare<Gt, float>, select<u32>, copy<u32>, copy<u64>>(handler);
}

}  // namespace farcall::softgpu::FARCALL_ISA
