// Where the lanes of a memory instruction point. The addresses of half a warp are looked at
// together (tiles are often 16 wide): mostly they are consecutive or all the same, and inside the
// memory that the instruction means. Whatever does not pass the quick checks goes lane by lane
// through checked_address(), which finds the memory or raises the fault.
#pragma once

#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {

constexpr int kHalf = 16;  // lanes
constexpr u32 kWholeHalf = 0xffff;

// ---- comparing sixteen addresses at a time: one bit for each lane ----

// The lanes whose value is not first + lane * step.
template <u32 Step>
[[gnu::always_inline]] inline u32 lanes_off(const Aliased<u32>::Type* values, u32 first) {
#if defined(__AVX512F__)
  const __m512i steps = _mm512_setr_epi32(0, Step, 2 * Step, 3 * Step, 4 * Step, 5 * Step, 6 * Step,
                                          7 * Step, 8 * Step, 9 * Step, 10 * Step, 11 * Step,
                                          12 * Step, 13 * Step, 14 * Step, 15 * Step);
  return _mm512_cmpneq_epi32_mask(
      _mm512_load_si512(values),
      _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)), steps));
#elif defined(__AVX2__)
  const __m256i steps =
      _mm256_setr_epi32(0, Step, 2 * Step, 3 * Step, 4 * Step, 5 * Step, 6 * Step, 7 * Step);
  u32 equal = 0;
  for (int k = 0; k < 2; ++k) {
    const __m256i wanted = _mm256_add_epi32(
        _mm256_set1_epi32(static_cast<int>(first + static_cast<u32>(k) * 8 * Step)), steps);
    const __m256i found = _mm256_load_si256(reinterpret_cast<const __m256i*>(values) + k);
    equal |=
        static_cast<u32>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(found, wanted))))
        << (8 * k);
  }
  return equal ^ kWholeHalf;
#elif defined(__SSE4_1__)
  const __m128i steps = _mm_setr_epi32(0, Step, 2 * Step, 3 * Step);
  u32 equal = 0;
  for (int k = 0; k < 4; ++k) {
    const __m128i wanted = _mm_add_epi32(
        _mm_set1_epi32(static_cast<int>(first + static_cast<u32>(k) * 4 * Step)), steps);
    const __m128i found = _mm_load_si128(reinterpret_cast<const __m128i*>(values) + k);
    equal |= static_cast<u32>(_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(found, wanted))))
             << (4 * k);
  }
  return equal ^ kWholeHalf;
#else
  u32 off = 0;
  for (u32 i = 0; i < kHalf; ++i) off |= u32{values[i] != first + i * Step} << i;
  return off;
#endif
}
template <u64 Step>
[[gnu::always_inline]] inline u32 lanes_off(const Aliased<u64>::Type* values, u64 first) {
#if defined(__AVX512F__)
  const __m512i steps =
      _mm512_setr_epi64(0, Step, 2 * Step, 3 * Step, 4 * Step, 5 * Step, 6 * Step, 7 * Step);
  const __m512i low = _mm512_add_epi64(_mm512_set1_epi64(static_cast<long long>(first)), steps);
  const __m512i high =
      _mm512_add_epi64(_mm512_set1_epi64(static_cast<long long>(first + 8 * Step)), steps);
  const u32 low_off = _mm512_cmpneq_epi64_mask(_mm512_load_si512(values), low);
  const u32 high_off = _mm512_cmpneq_epi64_mask(_mm512_load_si512(values + 8), high);
  return low_off | high_off << 8;
#elif defined(__AVX2__)
  const __m256i steps = _mm256_setr_epi64x(0, Step, 2 * Step, 3 * Step);
  u32 equal = 0;
  for (int k = 0; k < 4; ++k) {
    const __m256i wanted = _mm256_add_epi64(
        _mm256_set1_epi64x(static_cast<long long>(first + static_cast<u64>(k) * 4 * Step)), steps);
    const __m256i found = _mm256_load_si256(reinterpret_cast<const __m256i*>(values) + k);
    equal |=
        static_cast<u32>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(found, wanted))))
        << (4 * k);
  }
  return equal ^ kWholeHalf;
#elif defined(__SSE4_1__)
  const __m128i steps = _mm_set_epi64x(Step, 0);
  u32 equal = 0;
  for (int k = 0; k < 8; ++k) {
    const __m128i wanted = _mm_add_epi64(
        _mm_set1_epi64x(static_cast<long long>(first + static_cast<u64>(k) * 2 * Step)), steps);
    const __m128i found = _mm_load_si128(reinterpret_cast<const __m128i*>(values) + k);
    equal |= static_cast<u32>(_mm_movemask_pd(_mm_castsi128_pd(_mm_cmpeq_epi64(found, wanted))))
             << (2 * k);
  }
  return equal ^ kWholeHalf;
#else
  u32 off = 0;
  for (u32 i = 0; i < kHalf; ++i) off |= u32{values[i] != first + i * Step} << i;
  return off;
#endif
}

// Is any value outside of [base, base + last], or not a multiple of `bytes`?
[[gnu::always_inline]] inline bool any_outside(const u64* values, u64 base, u64 last, u64 bytes) {
#if defined(__AVX512F__)
  const __m512i b = _mm512_set1_epi64(static_cast<long long>(base)),
                l = _mm512_set1_epi64(static_cast<long long>(last)),
                bits = _mm512_set1_epi64(static_cast<long long>(bytes - 1));
  u32 outside = 0;
  for (int k = 0; k < 2; ++k) {
    const __m512i v = _mm512_load_si512(values + 8 * k);
    outside |= static_cast<u32>(_mm512_cmpgt_epu64_mask(_mm512_sub_epi64(v, b), l)) |
               static_cast<u32>(_mm512_test_epi64_mask(v, bits));
  }
  return outside != 0;
#else
  u64 wrong = 0;
  for (int i = 0; i < kHalf; ++i) wrong |= u64{values[i] - base > last} | (values[i] & (bytes - 1));
  return wrong != 0;
#endif
}

// ---- what an instruction's addresses are ----

// The memory that an instruction of this kind usually means.
struct Extent {
  u64 base, limit;
  [[gnu::always_inline]] bool holds(u64 address, u64 bytes) const {
    return bytes <= limit && address - base <= limit - bytes;
  }
};
template <AddressKind Kind>
[[gnu::always_inline]] inline Extent extent(const Warp& warp) {
  if constexpr (Kind == AddressKind::kGeneric) return {warp.window_base, warp.window_limit};
  if constexpr (Kind == AddressKind::kLocal) return {warp.local_base, warp.local_limit};
  return {warp.shared_base, warp.shared_limit};
}

// Shared addresses of 32 bits wrap; only then the base is added.
template <AddressKind Kind>
using AddressRegister = typename Choose<Kind == AddressKind::kShared32, u32, u64>::Type;
template <AddressKind Kind>
[[gnu::always_inline]] inline u64 base_of(const Warp& warp) {
  return Kind == AddressKind::kShared32 || Kind == AddressKind::kShared64 ? warp.shared_base : 0;
}

enum class Shape : u8 { kConsecutive, kUniform, kScattered };

// The addresses of half a warp, checked for accesses of `Bytes` by the lanes in `active`.
struct HalfAddresses {
  Shape shape;
  u64 start;  // kConsecutive: of the first lane, active or not; kUniform: of all active ones
  alignas(64) u64 lane[kHalf];  // kScattered: all point to memory of some active lane
};

// Finds the memory of each lane or raises a fault. Spaces other than generic may not leave their
// memory, although checked_address would find another.
template <AddressKind Kind>
[[gnu::noinline]] void check_each(Warp& warp, const Op& op, u32 active, int half, const u64* lane,
                                  u32 bytes) {
  const Extent memory = Kind == AddressKind::kLocal ? Extent{warp.local_base, warp.local_bytes}
                                                    : Extent{warp.shared_base, warp.shared_bytes};
  for_each_lane(active, [&](int i) {
    const bool aligned = (lane[i] & (bytes - 1)) == 0;
    if (Kind != AddressKind::kGeneric && aligned && !memory.holds(lane[i], bytes)) {
      raise_fault(warp, op, kHalf * half + i, Fault::Kind::kIllegalAddress, lane[i], nullptr);
    }
    checked_address(warp, op, kHalf * half + i, lane[i], bytes);
  });
}

template <AddressKind Kind>
[[gnu::noinline]] void find_scattered(Warp& warp, const Op& op, u32 active, int half, u32 bytes,
                                      HalfAddresses& out) {
  using Register = AddressRegister<Kind>;
  const auto* registers = lanes<Register>(warp, op.a) + kHalf * half;
  const auto offset = static_cast<Register>(op.imm);
  const u64 base = base_of<Kind>(warp);
  const u64 some = base + static_cast<Register>(registers[__builtin_ctz(active)] + offset);
  for (int i = 0; i < kHalf; ++i) {
    const u64 address = base + static_cast<Register>(registers[i] + offset);
    out.lane[i] = (active >> i & 1) != 0 ? address : some;
  }
  const Extent memory = extent<Kind>(warp);
  if (memory.limit < bytes || any_outside(out.lane, memory.base, memory.limit - bytes, bytes))
    check_each<Kind>(warp, op, active, half, out.lane, bytes);
  out.shape = Shape::kScattered;
}

// `active`: of this half, not empty. kConsecutive says that the memory of all sixteen lanes lies
// inside what is allowed; it may still be closed where lanes are not active.
template <AddressKind Kind, u64 Bytes>
[[gnu::always_inline]] inline void find_addresses(Warp& warp, const Op& op, u32 active, int half,
                                                  HalfAddresses& out) {
  using Register = AddressRegister<Kind>;
  const auto* registers = lanes<Register>(warp, op.a) + kHalf * half;
  const auto offset = static_cast<Register>(op.imm);
  const u64 base = base_of<Kind>(warp);
  const Extent memory = extent<Kind>(warp);
  const auto lead = static_cast<unsigned>(__builtin_ctz(active));
  const Register first = registers[lead];
  const auto start = static_cast<Register>(first - lead * static_cast<Register>(Bytes));
  const u64 from = base + static_cast<Register>(start + offset);
  const bool aligned = (from & (Bytes - 1)) == 0;
  if ((lanes_off<static_cast<Register>(Bytes)>(registers, start) & active) == 0 && aligned &&
      memory.holds(from, kHalf * Bytes)) {
    out.shape = Shape::kConsecutive;
    out.start = from;
    return;
  }
  const u64 only = base + static_cast<Register>(first + offset);
  if ((lanes_off<Register{0}>(registers, first) & active) == 0 && aligned &&
      memory.holds(only, Bytes)) {
    out.shape = Shape::kUniform;
    out.start = only;
    return;
  }
  find_scattered<Kind>(warp, op, active, half, Bytes, out);
}

}  // namespace farcall::softgpu::FARCALL_ISA
