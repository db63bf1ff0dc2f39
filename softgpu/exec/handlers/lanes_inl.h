// What all handler files share: typed access to 32 lanes, writing under a mask, 16-bit floats.
//
// These files are built once per instruction set, each time inside another namespace (FARCALL_ISA).
// Everything they define must be in it: a function that two builds share by name would be linked
// from either, and a machine without AVX-512 would run the wrong one. Therefore builtins instead of
// std:: templates, here and in the files that include this (isa_isolation_test checks the object
// files).
#pragma once

#ifndef FARCALL_ISA
#error "built through engine.cmake, which defines FARCALL_ISA"
#endif

#include "softgpu/exec/fault.h"
#include "softgpu/exec/handlers/handlers.h"
#include "softgpu/exec/state.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace farcall::softgpu::FARCALL_ISA {

struct Half {
  u16 bits;
};
struct Bfloat {
  u16 bits;
};

template <class T, class U>
inline constexpr bool kSame = false;
template <class T>
inline constexpr bool kSame<T, T> = true;
template <class T>
inline constexpr bool kIsFloat =
    kSame<T, float> || kSame<T, double> || kSame<T, Half> || kSame<T, Bfloat>;
template <class T>
inline constexpr bool kIsSigned = T(-1) < T(0);

template <bool Condition, class T, class F>
struct Choose {
  using Type = T;
};
template <class T, class F>
struct Choose<false, T, F> {
  using Type = F;
};
template <size_t Bytes, bool Signed>
struct IntegerOf;
template <>
struct IntegerOf<1, false> {
  using Type = u8;
};
template <>
struct IntegerOf<2, false> {
  using Type = u16;
};
template <>
struct IntegerOf<4, false> {
  using Type = u32;
};
template <>
struct IntegerOf<8, false> {
  using Type = u64;
};
template <>
struct IntegerOf<1, true> {
  using Type = s8;
};
template <>
struct IntegerOf<2, true> {
  using Type = s16;
};
template <>
struct IntegerOf<4, true> {
  using Type = s32;
};
template <>
struct IntegerOf<8, true> {
  using Type = s64;
};
template <class T>
using Unsigned = typename IntegerOf<sizeof(T), false>::Type;
template <class T>
using Signed = typename IntegerOf<sizeof(T), true>::Type;

template <class To, class From>
[[gnu::always_inline]] inline To bit_cast(From value) {
  return __builtin_bit_cast(To, value);
}

// How a T is kept in a slot: 32 or 64 bits a lane.
template <class T>
struct Lane {
  using Storage =
      typename Choose<sizeof(T) == 8, T, typename Choose<sizeof(T) == 4, T, u32>::Type>::Type;
  static T get(Storage s) {
    if constexpr (sizeof(T) == sizeof(Storage)) {
      return s;
    } else if constexpr (kSame<T, Half> || kSame<T, Bfloat>) {
      return T{static_cast<u16>(s)};
    } else {
      return static_cast<T>(s);
    }
  }
  static Storage put(T v) {
    if constexpr (sizeof(T) == sizeof(Storage)) {
      return v;
    } else if constexpr (kSame<T, Half> || kSame<T, Bfloat>) {
      return v.bits;
    } else if constexpr (kIsSigned<T>) {
      return static_cast<u32>(static_cast<s32>(v));
    } else {
      return v;
    }
  }
};
template <class T>
using Storage = typename Lane<T>::Storage;

// A slot is written as one type and read as another ("may_alias").
template <class T>
struct Aliased {
  typedef T Type __attribute__((may_alias));
};

template <class T>
[[gnu::always_inline]] inline typename Aliased<T>::Type* lanes(Warp& warp, Slot slot) {
  using Pointer = typename Aliased<T>::Type*;
  return reinterpret_cast<Pointer>(
      __builtin_assume_aligned(warp.base[slot >> 30] + (slot & kSlotOffsetMask), 64));
}

[[gnu::always_inline]] inline u32 predicate(const Warp& warp, u16 index, bool negated) {
  return warp.predicates[index] ^ (negated ? kAllLanes : 0);
}

[[gnu::always_inline]] inline void set_predicate(Warp& warp, u16 index, u32 mask, u32 value) {
  if (index != 0) warp.predicates[index] = (warp.predicates[index] & ~mask) | (value & mask);
}

// The widest vector register, of integers; not aligned. What memcpy writes in smaller parts, a load
// of a whole slot has to wait for.
#if defined(__AVX512F__)
constexpr size_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr size_t kVectorBytes = 32;
#else
constexpr size_t kVectorBytes = 16;
#endif
template <size_t Bytes>
[[gnu::always_inline]] inline void copy_vectors(void* to, const void* from) {
  typedef u32 Piece __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
  static_assert(Bytes % sizeof(Piece) == 0);
  Piece pieces[Bytes / sizeof(Piece)];
#pragma GCC unroll 16
  for (size_t k = 0; k < Bytes / sizeof(Piece); ++k) pieces[k] = static_cast<const Piece*>(from)[k];
#pragma GCC unroll 16
  for (size_t k = 0; k < Bytes / sizeof(Piece); ++k) static_cast<Piece*>(to)[k] = pieces[k];
}

// Writes the lanes in `mask`. `values` is the handler's own array, so sources may be the
// destination. In pieces of a vector register's size, which the compiler can leave in registers:
// through memory the next instruction would wait for the values twice.
template <class S, class D>
[[gnu::always_inline]] inline void write_lanes(D* __restrict d, u32 mask,
                                               const S* __restrict values) {
  static_assert(sizeof(S) == sizeof(D));
#if defined(__AVX512F__)
  constexpr int kPiece = 64 / sizeof(S);
  if (mask == kAllLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < kLanes / kPiece; ++k) {
      __m512i piece;
      __builtin_memcpy(&piece, values + k * kPiece, sizeof piece);
      _mm512_store_si512(d + k * kPiece, piece);
    }
    return;
  }
#pragma GCC unroll 4
  for (int k = 0; k < kLanes / kPiece; ++k) {
    __m512i piece;
    __builtin_memcpy(&piece, values + k * kPiece, sizeof piece);
    const __m512i old = _mm512_load_si512(d + k * kPiece);
    if constexpr (sizeof(S) == 4)
      piece = _mm512_mask_mov_epi32(old, static_cast<__mmask16>(mask >> (k * kPiece)), piece);
    else
      piece = _mm512_mask_mov_epi64(old, static_cast<__mmask8>(mask >> (k * kPiece)), piece);
    // Not a masked store, for which a load that follows has to wait.
    asm("" : "+v"(piece));
    _mm512_store_si512(d + k * kPiece, piece);
  }
#else
  typedef Unsigned<S> Piece
      __attribute__((vector_size(kVectorBytes), aligned(sizeof(S)), may_alias));
  constexpr int kPiece = kVectorBytes / sizeof(S);
  Piece bits;
  for (int i = 0; i < kPiece; ++i) bits[i] = Unsigned<S>{1} << i;
#pragma GCC unroll 16
  for (int k = 0; k < kLanes / kPiece; ++k) {
    Piece piece = *reinterpret_cast<const Piece*>(values + k * kPiece);
    Piece& to = *reinterpret_cast<Piece*>(d + k * kPiece);
    if (mask != kAllLanes) {
      const Piece wanted = (Piece{} + Unsigned<S>{mask >> (k * kPiece)}) & bits;
      piece = wanted != 0 ? piece : to;
    }
    to = piece;
  }
#endif
}

template <class S>
[[gnu::always_inline]] inline void write_uniform(Warp& warp, Slot slot, u32 mask, S value) {
  S values[kLanes];
  for (S& v : values) v = value;
  write_lanes(lanes<S>(warp, slot), mask, values);
}

// The lanes of a slot for f to work on: those in the mask, and for floats zero in the others. They
// hold whatever was left there, an integer perhaps, which as a float is a denormal, and a processor
// takes a hundred times as long to multiply that. Integers are read where they are: of a copy the
// compiler keeps the stores, although nobody reads them.
template <class T>
struct Active {
  const typename Aliased<Storage<T>>::Type* lane;
  [[gnu::always_inline]] Active(Warp& warp, Slot slot, u32) : lane(lanes<Storage<T>>(warp, slot)) {}
  [[gnu::always_inline]] T operator[](int i) const { return Lane<T>::get(lane[i]); }
};
template <class T>
requires(kSame<T, float> || kSame<T, double>) struct Active<T> {
  alignas(64) Storage<T> lane[kLanes];
  [[gnu::always_inline]] Active(Warp& warp, Slot slot, u32 mask) {
    const auto* from = lanes<Storage<T>>(warp, slot);
#if defined(__AVX512F__)
    constexpr int kPiece = 64 / sizeof(T);
#pragma GCC unroll 4
    for (int k = 0; k < kLanes / kPiece; ++k) {
      __m512i piece;
      if constexpr (sizeof(T) == 4)
        piece = _mm512_maskz_load_epi32(static_cast<__mmask16>(mask >> (k * kPiece)),
                                        from + k * kPiece);
      else
        piece =
            _mm512_maskz_load_epi64(static_cast<__mmask8>(mask >> (k * kPiece)), from + k * kPiece);
      __builtin_memcpy(lane + k * kPiece, &piece, sizeof piece);
    }
#else
    typedef Unsigned<T> Piece __attribute__((vector_size(kVectorBytes), may_alias));
    constexpr int kPiece = kVectorBytes / sizeof(T);
    Piece bits;
    for (int i = 0; i < kPiece; ++i) bits[i] = Unsigned<T>{1} << i;
#pragma GCC unroll 16
    for (int k = 0; k < kLanes / kPiece; ++k) {
      const Piece off = ((Piece{} + Unsigned<T>{mask >> (k * kPiece)}) & bits) == 0;
      *reinterpret_cast<Piece*>(lane + k * kPiece) =
          *reinterpret_cast<const Piece*>(from + k * kPiece) & ~off;
    }
#endif
  }
  [[gnu::always_inline]] T operator[](int i) const { return Lane<T>::get(lane[i]); }
};

// d = f(a). All lanes are computed, also those not asked for: f must be defined for every value.
template <class D, class A, class F>
[[gnu::always_inline]] inline void map_lanes(Warp& warp, const Op& op, u32 mask, F f) {
  const Active<A> a(warp, op.a, mask);
  Storage<D> values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = Lane<D>::put(f(a[i]));
  write_lanes(lanes<Storage<D>>(warp, op.d), mask, values);
}
template <class D, class A, class B, class F>
[[gnu::always_inline]] inline void map_lanes(Warp& warp, const Op& op, u32 mask, F f) {
  const Active<A> a(warp, op.a, mask);
  const Active<B> b(warp, op.b, mask);
  Storage<D> values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = Lane<D>::put(f(a[i], b[i]));
  write_lanes(lanes<Storage<D>>(warp, op.d), mask, values);
}
template <class D, class A, class B, class C, class F>
[[gnu::always_inline]] inline void map_lanes(Warp& warp, const Op& op, u32 mask, F f) {
  const Active<A> a(warp, op.a, mask);
  const Active<B> b(warp, op.b, mask);
  const Active<C> c(warp, op.c, mask);
  Storage<D> values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = Lane<D>::put(f(a[i], b[i], c[i]));
  write_lanes(lanes<Storage<D>>(warp, op.d), mask, values);
}

// One bit per lane. By way of a vector of all-ones and zeros, which processors turn into bits at
// once; or-ing bits takes the compiler five steps.
template <class F>
[[gnu::always_inline]] inline u32 mask_of(F f) {
  alignas(64) u32 set[kLanes];
  for (int i = 0; i < kLanes; ++i) set[i] = f(i) ? kAllLanes : 0;
#if defined(__AVX512F__)
  __m512i low, high;
  __builtin_memcpy(&low, set, sizeof low);
  __builtin_memcpy(&high, set + 16, sizeof high);
  return static_cast<u32>(_mm512_test_epi32_mask(low, low)) |
         static_cast<u32>(_mm512_test_epi32_mask(high, high)) << 16;
#elif defined(__SSE2__)
  u32 mask = 0;
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) {
    const __m128 piece = *reinterpret_cast<const __m128*>(set + 4 * k);
    mask |= static_cast<u32>(_mm_movemask_ps(piece)) << (4 * k);
  }
  return mask;
#else
  u32 mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= set[i] & u32{1} << i;
  return mask;
#endif
}

// A handler for the warps of a convoy: compiled into the loop, so that a call, and what it makes of
// the Op, is paid for once. For handlers that take few nanoseconds and programs use all the time:
// it is code twice.
template <Handler One, bool Faults>
[[gnu::flatten]] void run_for_convoy(const Walker* walker, const Walker* end, const Op& op,
                                     Warp* volatile* current) {
  const u32 negation = op.guard_negated ? kAllLanes : 0;
  for (; walker != end; ++walker) {
    const u32 active = walker->mask & (walker->warp->predicates[op.guard] ^ negation);
    if (active == 0) continue;
    if (Faults) *current = walker->warp;
    One(*walker->warp, op, active);
  }
}
// The one for `handler`, if it is among these.
template <bool Faults, Handler... Handlers>
ConvoyHandler among(Handler handler) {
  ConvoyHandler found = nullptr;
  ((handler == Handlers ? void(found = run_for_convoy<Handlers, Faults>) : void()), ...);
  return found;
}

// Calls make.template operator()<T>() with the C++ type of an integer type; nullptr for others.
template <class Make>
inline Handler for_integer(ptx::Type type, Make make) {
  if (!type.is_integer() || type.lanes != 1) return nullptr;
  switch (type.bits) {
    case 16:
      return type.is_signed() ? make.template operator()<s16>() : make.template operator()<u16>();
    case 32:
      return type.is_signed() ? make.template operator()<s32>() : make.template operator()<u32>();
    case 64:
      return type.is_signed() ? make.template operator()<s64>() : make.template operator()<u64>();
    default:
      return nullptr;
  }
}

[[gnu::always_inline]] inline float flush_denormal(float v) {
  const u32 bits = bit_cast<u32>(v);
  return (bits & 0x7f80'0000u) == 0 ? bit_cast<float>(bits & 0x8000'0000u) : v;
}
// PTX's single-precision instructions give one NaN.
[[gnu::always_inline]] inline float canonical(float v) {
  return v != v ? bit_cast<float>(u32{0x7fff'ffff}) : v;
}
template <class T>
[[gnu::always_inline]] inline T saturate(T v) {  // NaN becomes +0
  return v > T(0) ? (v < T(1) ? v : T(1)) : T(0);
}

[[gnu::always_inline]] inline float to_float(float v) { return v; }
[[gnu::always_inline]] inline float to_float(Bfloat v) {
  return bit_cast<float>(u32{v.bits} << 16);
}
[[gnu::always_inline]] inline float to_float(Half v) {
  const u32 magnitude = u32{v.bits & 0x7fffu} << 13;
  const u32 scaled =
      bit_cast<u32>(bit_cast<float>(magnitude) * 0x1p112f);  // rebias; denormals become normal
  const u32 finite = (v.bits & 0x7c00u) == 0x7c00u ? magnitude | 0x7f80'0000u : scaled;
  return bit_cast<float>(finite | u32{v.bits & 0x8000u} << 16);
}

// Round to nearest even; NaN becomes PTX's canonical one.
[[gnu::always_inline]] inline Half to_half(float v) {
  const u32 bits = bit_cast<u32>(v), sign = bits & 0x8000'0000u, magnitude = bits ^ sign;
  constexpr u32 kDenormalMagic =
      126u << 23;  // adding 0.5 puts the bits of a denormal half at the lower end
  const u32 denormal =
      bit_cast<u32>(bit_cast<float>(magnitude) + bit_cast<float>(kDenormalMagic)) - kDenormalMagic;
  const u32 normal = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  u32 result = magnitude < 0x3880'0000u ? denormal : normal;
  result = magnitude >= 0x4780'0000u ? 0x7c00u : result;
  result |= sign >> 16;
  return {static_cast<u16>(magnitude > 0x7f80'0000u ? 0x7fffu : result)};
}
[[gnu::always_inline]] inline Bfloat to_bfloat(float v) {
  const u32 bits = bit_cast<u32>(v);
  return {static_cast<u16>(v != v ? 0x7fffu : (bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

// To float so that a second rounding, to a type of at most 22 bits, gives what one rounding would:
// inexact results are made odd in the last place (Boldo and Melquiond, "When double rounding is
// odd").
[[gnu::always_inline]] inline float to_float_odd(double v) {
  const float nearest = static_cast<float>(v);
  const double back = nearest;
  u32 bits = bit_cast<u32>(nearest);
  const double magnitude = v < 0 ? -v : v, back_magnitude = back < 0 ? -back : back;
  bits -= back_magnitude > magnitude ? 1 : 0;
  bits |= back != v && v == v ? 1 : 0;
  return bit_cast<float>(bits);
}
// The same for a sum of doubles, of which no double may be near enough.
[[gnu::always_inline]] inline double add_odd(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);  // exact minus sum (Knuth's TwoSum)
  const u64 bits = bit_cast<u64>(sum);
  const u64 odd = (error > 0) == (sum > 0) ? bits + 1 : bits - 1;
  return bit_cast<double>((error > 0 || error < 0) && (bits & 1) == 0 ? odd : bits);
}
template <class T>
[[gnu::always_inline]] inline T from_double(double v) {
  if constexpr (kSame<T, Half>) return to_half(to_float_odd(v));
  if constexpr (kSame<T, Bfloat>) return to_bfloat(to_float_odd(v));
  if constexpr (kSame<T, float> || kSame<T, double>) return static_cast<T>(v);
}
template <class T>
[[gnu::always_inline]] inline T from_float(float v) {
  if constexpr (kSame<T, Half>) return to_half(v);
  if constexpr (kSame<T, Bfloat>) return to_bfloat(v);
  if constexpr (kSame<T, float> || kSame<T, double>) return v;
}

}  // namespace farcall::softgpu::FARCALL_ISA
