// mma of the regular shapes: one matrix product by a warp. A fragment's layout is a rule of the PTX
// manual: with P elements to a register, g = lane / 4 and t = lane % 4, register r of A holds row g
// + 8 * (r & 1), columns t * P + 4 * P * (r >> 1) and following; of B rows t * P + 4 * P * r and
// following, column g; accumulators hold row g + 8 * (r >> 1), column 2 * t + (r & 1).
//
// The products are formed where the registers lie. In an accumulator register four neighbouring
// lanes have the same row, and need the same element of A, which one of the four has: a shuffle
// inside of 128 bits. They need four elements of one row of B, the same for all rows: B is put in
// that order first, then broadcast.
//
// Floats: products of the inputs are exact in float (of bfloats and tf32 unless they leave its
// range). Starting from C, they are added in order of growing k, each addition rounded to nearest:
// the error is at most k * 2^-24 times the sum of the magnitudes. Hardware truncates instead, in
// groups of its own. Sums of f16 are formed in float and rounded at the end. Integers are exact
// and wrap, or saturate, at the end.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/minifloat_inl.h"
#include "softgpu/exec/handlers/tables.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace farcall::softgpu::FARCALL_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
constexpr int kVectors = kLanes / kWidth;
// Accumulators for all 16 rows at once where there are registers enough.
constexpr int kHalvesAtOnce = kWidth == 16 ? 2 : 1;

typedef float Floats __attribute__((vector_size(4 * kWidth), may_alias));
typedef s32 Integers __attribute__((vector_size(4 * kWidth), may_alias));
typedef u32 Words __attribute__((vector_size(4 * kWidth), may_alias));
typedef float Quad __attribute__((vector_size(16), may_alias, aligned(16)));
typedef s32 IntegerQuad __attribute__((vector_size(16), may_alias, aligned(16)));

// Element q of each group of four lanes, in all of them.
template <int Q, class V>
[[gnu::always_inline]] inline V spread(V v) {
  constexpr int a = Q, b = Q + 4, c = Q + 8, d = Q + 12;
  if constexpr (kWidth == 16) {
    return __builtin_shufflevector(v, v, a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
  } else if constexpr (kWidth == 8) {
    return __builtin_shufflevector(v, v, a, a, a, a, b, b, b, b);
  } else {
    return __builtin_shufflevector(v, v, a, a, a, a);
  }
}
// Four elements, again and again.
template <class V, class Four>
[[gnu::always_inline]] inline V repeat(const Four& v) {
  if constexpr (kWidth == 16) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  } else if constexpr (kWidth == 8) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 0, 1, 2, 3);
  } else {
    return v;
  }
}

// ---- what differs between types: how a register becomes `kSteps` vectors, and what is added up

struct FloatSums {
  using Vector = Floats;
  using Four = Quad;
  using Element = float;
  [[gnu::always_inline]] static Floats add_product(Floats sum, Floats a, Floats b) {
#if defined(__AVX512F__)
    return reinterpret_cast<Floats>(_mm512_fmadd_ps(
        reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(sum)));
#elif defined(__FMA__)
    return reinterpret_cast<Floats>(_mm256_fmadd_ps(
        reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(sum)));
#else
    return sum + a * b;
#endif
  }
};
struct F16 : FloatSums {
  static constexpr int kSteps = 2;
  [[gnu::always_inline]] static void expand(const u32* from, u32, float (*to)[kLanes]) {
#if defined(__AVX512F__)
    for (int part = 0; part < 2; ++part) {
      const __m512i v = _mm512_load_si512(from + 16 * part);
      const __m256i zero = _mm256_setzero_si256();
      const __m256i low = _mm512_mask_cvtepi32_epi16(zero, 0xffff, v);
      const __m256i high =
          _mm512_mask_cvtepi32_epi16(zero, 0xffff, _mm512_maskz_srli_epi32(0xffff, v, 16));
      _mm512_store_ps(to[0] + 16 * part, _mm512_maskz_cvtph_ps(0xffff, low));
      _mm512_store_ps(to[1] + 16 * part, _mm512_maskz_cvtph_ps(0xffff, high));
    }
#else
    for (int s = 0; s < 2; ++s) {
      for (int i = 0; i < kLanes; ++i)
        to[s][i] = to_float(Half{static_cast<u16>(from[i] >> (16 * s))});
    }
#endif
  }
};
struct Bf16 : FloatSums {
  static constexpr int kSteps = 2;
  [[gnu::always_inline]] static void expand(const u32* from, u32, float (*to)[kLanes]) {
    for (int i = 0; i < kLanes; ++i) to[0][i] = bit_cast<float>(from[i] << 16);
    for (int i = 0; i < kLanes; ++i) to[1][i] = bit_cast<float>(from[i] & 0xffff'0000);
  }
};
struct Tf32 : FloatSums {  // the lower bits of the register are ignored
  static constexpr int kSteps = 1;
  [[gnu::always_inline]] static void expand(const u32* from, u32, float (*to)[kLanes]) {
    for (int i = 0; i < kLanes; ++i) to[0][i] = bit_cast<float>(from[i] & ~u32{0x1fff});
  }
};
struct Bytes
    : FloatSums {  // floats of 4 to 8 bits, each in a byte; the format is known at run time
  static constexpr int kSteps = 4;
  [[gnu::always_inline]] static void expand(const u32* from, u32 format, float (*to)[kLanes]) {
    const Minifloat f = kMinifloats[format];
    for (int s = 0; s < 4; ++s) {
      for (int i = 0; i < kLanes; ++i) to[s][i] = f.decode(from[i] >> (8 * s) & 0xff);
    }
  }
};

// Sums of integers wrap around.
[[gnu::always_inline]] inline Integers wrapping_sum(Integers a, Integers b) {
  return reinterpret_cast<Integers>(reinterpret_cast<Words>(a) + reinterpret_cast<Words>(b));
}

// Products of pairs of 16-bit integers: two values of k at a time.
struct IntegerSums {
  using Vector = Integers;
  using Four = IntegerQuad;
  using Element = s32;
  [[gnu::always_inline]] static Integers add_product(Integers sum, Integers a, Integers b) {
#if defined(__AVX512BW__)
    return wrapping_sum(sum, reinterpret_cast<Integers>(_mm512_madd_epi16(
                                 reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b))));
#elif defined(__AVX2__)
    return wrapping_sum(sum, reinterpret_cast<Integers>(_mm256_madd_epi16(
                                 reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b))));
#elif defined(__SSE2__)
    return wrapping_sum(sum, reinterpret_cast<Integers>(_mm_madd_epi16(
                                 reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b))));
#else
    Integers products;
    for (int i = 0; i < kWidth; ++i) {
      products[i] =
          static_cast<s32>(static_cast<u32>(static_cast<s16>(a[i]) * static_cast<s16>(b[i])) +
                           static_cast<u32>((a[i] >> 16) * (b[i] >> 16)));
    }
    return wrapping_sum(sum, products);
#endif
  }
};
template <int Bits, bool Signed>
struct Pairs : IntegerSums {
  static constexpr int kSteps = 16 / Bits;
  [[gnu::always_inline]] static s32 element(u32 bits, int index) {
    const u32 high = bits << (32 - Bits * (index + 1));
    if constexpr (Signed) return static_cast<s32>(high) >> (32 - Bits);
    return static_cast<s32>(high >> (32 - Bits));
  }
  [[gnu::always_inline]] static void expand(const u32* from, u32, s32 (*to)[kLanes]) {
    for (int s = 0; s < kSteps; ++s) {
      for (int i = 0; i < kLanes; ++i) {
        to[s][i] = static_cast<s32>((static_cast<u32>(element(from[i], 2 * s)) & 0xffff) |
                                    static_cast<u32>(element(from[i], 2 * s + 1)) << 16);
      }
    }
  }
};
template <bool Xor>
struct Bits : IntegerSums {
  static constexpr int kSteps = 1;
  [[gnu::always_inline]] static void expand(const u32* from, u32, s32 (*to)[kLanes]) {
    for (int i = 0; i < kLanes; ++i) to[0][i] = static_cast<s32>(from[i]);
  }
  [[gnu::always_inline]] static Integers add_product(Integers sum, Integers a, Integers b) {
    Words v = reinterpret_cast<Words>(Xor ? a ^ b : a & b);
    v -= v >> 1 & 0x5555'5555;
    v = (v & 0x3333'3333) + (v >> 2 & 0x3333'3333);
    v = (v + (v >> 4)) & 0x0f0f'0f0f;
    return wrapping_sum(sum, reinterpret_cast<Integers>((v * 0x0101'0101) >> 24));
  }
};

// ---- the product ----

// Op::list: registers of D, A, B, C, then the formats of A and B. Op::imm: registers of B.
struct Lists {
  const u32 *d, *a, *b, *c, *formats;
};
Lists split_list(const Op& op, int halves, int sums) {
  const u32* const a = op.list + sums;
  const u32* const b = a + op.imm * halves;
  const u32* const c = b + op.imm;
  return {op.list, a, b, c, c + sums};
}

constexpr int kRegistersMax = 4;  // of B

// B's elements in the order in which accumulators need them: [parity of the column][q][t].
template <class Type>
using OrderedB = typename Type::Element[Type::kSteps][2][16];

template <class Type>
[[gnu::always_inline]] inline void order(const typename Type::Element (*from)[kLanes],
                                         OrderedB<Type>& to) {
  for (int s = 0; s < Type::kSteps; ++s) {
#if defined(__AVX512F__)
    typedef typename Type::Vector V;
    const V low = *reinterpret_cast<const V*>(from[s]),
            high = *reinterpret_cast<const V*>(from[s] + 16);
    *reinterpret_cast<V*>(to[s][0]) = __builtin_shufflevector(low, high, 0, 8, 16, 24, 1, 9, 17, 25,
                                                              2, 10, 18, 26, 3, 11, 19, 27);
    *reinterpret_cast<V*>(to[s][1]) = __builtin_shufflevector(low, high, 4, 12, 20, 28, 5, 13, 21,
                                                              29, 6, 14, 22, 30, 7, 15, 23, 31);
#else
    for (int parity = 0; parity < 2; ++parity) {
      for (int q = 0; q < 4; ++q) {
        for (int t = 0; t < 4; ++t) to[s][parity][4 * q + t] = from[s][8 * t + 4 * parity + q];
      }
    }
#endif
  }
}

template <class Type, int Halves>
using Sums = typename Type::Vector[Halves][2][kVectors];

template <class Type, int Q, int Halves>
[[gnu::always_inline]] inline void add_products(
    const typename Type::Element (&a)[Halves][Type::kSteps][kLanes], const OrderedB<Type>& b,
    Sums<Type, Halves>& sums) {
  using V = typename Type::Vector;
  using Four = typename Type::Four;
  for (int s = 0; s < Type::kSteps; ++s) {
    const V even = repeat<V>(*reinterpret_cast<const Four*>(b[s][0] + 4 * Q));
    const V odd = repeat<V>(*reinterpret_cast<const Four*>(b[s][1] + 4 * Q));
    for (int h = 0; h < Halves; ++h) {
      for (int v = 0; v < kVectors; ++v) {
        const V x = spread<Q>(*reinterpret_cast<const V*>(a[h][s] + kWidth * v));
        sums[h][0][v] = Type::add_product(sums[h][0][v], x, even);
        sums[h][1][v] = Type::add_product(sums[h][1][v], x, odd);
      }
    }
  }
}

// Adds A B to the sums of rows 8 * first and following.
template <class Type, int Halves>
[[gnu::always_inline]] inline void multiply(Warp& warp, const Lists& lists, int registers,
                                            int halves, int first, OrderedB<Type>* b,
                                            Sums<Type, Halves>& sums) {
  for (int r = 0; r < registers; ++r) {
    alignas(64) typename Type::Element a[Halves][Type::kSteps][kLanes];
    for (int h = 0; h < Halves; ++h)
      Type::expand(lanes<u32>(warp, lists.a[r * halves + first + h]), lists.formats[0], a[h]);
    add_products<Type, 0, Halves>(a, b[r], sums);
    add_products<Type, 1, Halves>(a, b[r], sums);
    add_products<Type, 2, Halves>(a, b[r], sums);
    add_products<Type, 3, Halves>(a, b[r], sums);
  }
}

template <class A, class B>
[[gnu::always_inline]] inline void order_b(Warp& warp, const Lists& lists, int registers,
                                           OrderedB<A>* b) {
  static_assert(A::kSteps == B::kSteps);
  for (int r = 0; r < registers; ++r) {
    alignas(64) typename B::Element expanded[B::kSteps][kLanes];
    B::expand(lanes<u32>(warp, lists.b[r]), lists.formats[1], expanded);
    order<B>(expanded, b[r]);
  }
}

// Sums of 32 bits.
template <class A, class B, int Halves, bool Saturate>
[[gnu::always_inline]] inline void mma_words(Warp& warp, const Op& op) {
  using V = typename A::Vector;
  using Element = typename A::Element;
  const Lists lists = split_list(op, Halves, 2 * Halves);
  const int registers = static_cast<int>(op.imm);
  alignas(64) OrderedB<A> b[kRegistersMax];
  order_b<A, B>(warp, lists, registers, b);
  constexpr int kPart = Halves < kHalvesAtOnce ? Halves : kHalvesAtOnce;
  // D may be registers of A, B or C: it is written when all of them have been read.
  alignas(64) Element results[2 * Halves][kLanes];
  for (int first = 0; first < Halves; first += kPart) {
    Sums<A, kPart> sums;
    for (int h = 0; h < kPart; ++h) {
      for (int e = 0; e < 2; ++e) {
        const auto* c = lanes<Element>(warp, lists.c[2 * (first + h) + e]);
        for (int v = 0; v < kVectors; ++v)
          sums[h][e][v] = Saturate ? V{} : *reinterpret_cast<const V*>(c + kWidth * v);
      }
    }
    multiply<A, kPart>(warp, lists, registers, Halves, first, b, sums);
    for (int h = 0; h < kPart; ++h) {
      for (int e = 0; e < 2; ++e) {
        for (int v = 0; v < kVectors; ++v)
          *reinterpret_cast<V*>(results[2 * (first + h) + e] + kWidth * v) = sums[h][e][v];
      }
    }
  }
  for (int k = 0; k < 2 * Halves; ++k) {
    const auto* c = lanes<Element>(warp, lists.c[k]);
    for (int i = 0; i < kLanes; ++i) {
      if constexpr (kSame<Element, float>) {
        results[k][i] = canonical(results[k][i]);
      } else if constexpr (Saturate) {
        const s64 sum = s64{results[k][i]} + c[i];
        results[k][i] = static_cast<s32>(sum > 0x7fff'ffff      ? 0x7fff'ffff
                                         : sum < -0x8000'0000LL ? -0x8000'0000LL
                                                                : sum);
      }
    }
  }
  for (int k = 0; k < 2 * Halves; ++k)
    __builtin_memcpy(lanes<u32>(warp, lists.d[k]), results[k], sizeof results[k]);
}
template <class A, class B, int Halves>
void mma(Warp& warp, const Op& op, u32) {
  mma_words<A, B, Halves, false>(warp, op);
}
template <class A, class B, int Halves>
void mma_saturating(Warp& warp, const Op& op, u32) {
  mma_words<A, B, Halves, true>(warp, op);
}

// Sums of f16, two to a register.
template <class A, class B, int Halves>
void mma_half(Warp& warp, const Op& op, u32) {
  using V = typename A::Vector;
  const Lists lists = split_list(op, Halves, Halves);
  const int registers = static_cast<int>(op.imm);
  alignas(64) OrderedB<A> b[kRegistersMax];
  order_b<A, B>(warp, lists, registers, b);
  alignas(64) u32 results[Halves][kLanes];
  for (int h = 0; h < Halves; ++h) {
    alignas(64) float c[2][kLanes];
    F16::expand(lanes<u32>(warp, lists.c[h]), 0, c);
    Sums<A, 1> sums;
    for (int e = 0; e < 2; ++e) {
      for (int v = 0; v < kVectors; ++v)
        sums[0][e][v] = *reinterpret_cast<const V*>(c[e] + kWidth * v);
    }
    multiply<A, 1>(warp, lists, registers, Halves, h, b, sums);
    for (int e = 0; e < 2; ++e) {
      for (int v = 0; v < kVectors; ++v) *reinterpret_cast<V*>(c[e] + kWidth * v) = sums[0][e][v];
    }
    for (int i = 0; i < kLanes; ++i)
      results[h][i] = to_half(c[0][i]).bits | u32{to_half(c[1][i]).bits} << 16;
  }
  for (int h = 0; h < Halves; ++h) __builtin_memcpy(lanes<u32>(warp, lists.d[h]), results[h], 128);
}

// f64: P is 1, and every product is added with one rounding.
template <int Halves>
void mma_double(Warp& warp, const Op& op, u32) {
  const Lists lists = split_list(op, Halves, 2 * Halves);
  const int registers = static_cast<int>(op.imm);
  alignas(64) double sums[8 * Halves][8];
  for (int r = 0; r < 2 * Halves; ++r) {
    const auto* c = lanes<double>(warp, lists.c[r]);
    for (int lane = 0; lane < kLanes; ++lane)
      sums[lane / 4 + 8 * (r >> 1)][lane % 4 * 2 + (r & 1)] = c[lane];
  }
  for (int r = 0; r < registers; ++r) {
    alignas(64) double b[4][8];
    const auto* from = lanes<double>(warp, lists.b[r]);
    for (int lane = 0; lane < kLanes; ++lane) b[lane % 4][lane / 4] = from[lane];
    for (int row = 0; row < 8 * Halves; ++row) {
      const auto* a = lanes<double>(warp, lists.a[r * Halves + row / 8]) + row % 8 * 4;
      for (int k = 0; k < 4; ++k) {
        const double x = a[k];
        for (int j = 0; j < 8; ++j) sums[row][j] = __builtin_fma(x, b[k][j], sums[row][j]);
      }
    }
  }
  for (int r = 0; r < 2 * Halves; ++r) {
    auto* d = lanes<double>(warp, lists.d[r]);
    for (int lane = 0; lane < kLanes; ++lane)
      d[lane] = sums[lane / 4 + 8 * (r >> 1)][lane % 4 * 2 + (r & 1)];
  }
}

template <class A, class B>
Handler find_words(int rows) {
  return rows == 16 ? mma<A, B, 2> : mma<A, B, 1>;
}
template <class A, class B>
Handler find_integers(int rows, bool saturate) {
  if (saturate) return rows == 16 ? mma_saturating<A, B, 2> : mma_saturating<A, B, 1>;
  return find_words<A, B>(rows);
}
template <int Width>
Handler find_mixed(bool a_signed, bool b_signed, int rows, bool saturate) {
  using S = Pairs<Width, true>;
  using U = Pairs<Width, false>;
  if (a_signed)
    return b_signed ? find_integers<S, S>(rows, saturate) : find_integers<S, U>(rows, saturate);
  return b_signed ? find_integers<U, S>(rows, saturate) : find_integers<U, U>(rows, saturate);
}

}  // namespace

Handler find_mma(MatrixInput a, MatrixInput b, MatrixSum sum, int rows, bool saturate) {
  using I = MatrixInput;
  switch (sum) {
    case MatrixSum::kF64:
      if (a != I::kF64 || b != I::kF64) return nullptr;
      return rows == 16 ? mma_double<2> : mma_double<1>;
    case MatrixSum::kS32: {
      const bool a8 = a == I::kS8 || a == I::kU8, b8 = b == I::kS8 || b == I::kU8;
      const bool a4 = a == I::kS4 || a == I::kU4, b4 = b == I::kS4 || b == I::kU4;
      if (a8 && b8) return find_mixed<8>(a == I::kS8, b == I::kS8, rows, saturate);
      if (a4 && b4) return find_mixed<4>(a == I::kS4, b == I::kS4, rows, saturate);
      if (saturate || a != b) return nullptr;
      if (a == I::kB1And) return find_words<Bits<false>, Bits<false>>(rows);
      if (a == I::kB1Xor) return find_words<Bits<true>, Bits<true>>(rows);
      return nullptr;
    }
    case MatrixSum::kF16:
      if (rows != 16) return nullptr;
      if (a == I::kF16 && b == I::kF16) return mma_half<F16, F16, 2>;
      return is_byte_float(a) && is_byte_float(b) ? mma_half<Bytes, Bytes, 2> : nullptr;
    case MatrixSum::kF32:
      if (rows != 16) return nullptr;
      if (is_byte_float(a) && is_byte_float(b)) return mma<Bytes, Bytes, 2>;
      if (a != b) return nullptr;
      if (a == I::kF16) return mma<F16, F16, 2>;
      if (a == I::kBf16) return mma<Bf16, Bf16, 2>;
      if (a == I::kTf32) return mma<Tf32, Tf32, 2>;
      return nullptr;
  }
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
