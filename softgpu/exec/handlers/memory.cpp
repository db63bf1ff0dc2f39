// ld and st. The addresses of half a warp are looked at together (tiles are often 16 wide): mostly
// they are consecutive or all the same, and inside the memory that the instruction means. Whatever
// does not pass the quick checks goes lane by lane through checked_address(), which finds the
// memory or raises the fault.
//
// A lane that is not in the mask gets the address of one that is, so that gathers need no mask.
#include "softgpu/exec/memory.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace farcall::softgpu::FARCALL_ISA {
namespace {

constexpr int kHalf = 16;  // lanes

// Eight addresses: one register with AVX-512, two with AVX2; the compiler splits it as needed.
typedef u64 Addresses __attribute__((vector_size(64), aligned(64), may_alias));
typedef u32 Offsets __attribute__((vector_size(32), aligned(32), may_alias));

[[gnu::always_inline]] inline Addresses splat(u64 v) { return Addresses{v, v, v, v, v, v, v, v}; }
[[gnu::always_inline]] inline bool any(Addresses v) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask(reinterpret_cast<__m512i>(v), reinterpret_cast<__m512i>(v)) != 0;
#elif defined(__AVX2__)
  __m256i halves[2];
  __builtin_memcpy(halves, &v, sizeof v);
  const __m256i all = _mm256_or_si256(halves[0], halves[1]);
  return _mm256_testz_si256(all, all) == 0;
#else
  u64 all = 0;
  for (int i = 0; i < 8; ++i) all |= v[i];
  return all != 0;
#endif
}
template <u64 Step>
[[gnu::always_inline]] inline Addresses steps(u64 first) {
  return Addresses{0, Step, 2 * Step, 3 * Step, 4 * Step, 5 * Step, 6 * Step, 7 * Step} +
         splat(first);
}

struct WarpAddresses {
  alignas(64) u64 lane[kLanes];
  [[gnu::always_inline]] Addresses& part(int k) {
    return *reinterpret_cast<Addresses*>(lane + 8 * k);
  }
};

template <AddressKind Kind>
[[gnu::always_inline]] inline void find_addresses(Warp& warp, const Op& op, u32 mask,
                                                  WarpAddresses& out) {
  const u64 offset = static_cast<u64>(op.imm);
  for (int k = 0; k < 4; ++k) {
    if constexpr (Kind == AddressKind::kShared32) {
      // Shared addresses of 32 bits wrap.
      const Offsets at = *reinterpret_cast<const Offsets*>(lanes<u32>(warp, op.a) + 8 * k) +
                         static_cast<u32>(op.imm);
      out.part(k) = __builtin_convertvector(at, Addresses) + splat(warp.shared_base);
    } else {
      const u64 base = Kind == AddressKind::kShared64 ? warp.shared_base + offset : offset;
      out.part(k) =
          *reinterpret_cast<const Addresses*>(lanes<u64>(warp, op.a) + 8 * k) + splat(base);
    }
  }
  if (mask != kAllLanes) {
    const u64 some = out.lane[__builtin_ctz(mask)];
    for (int i = 0; i < kLanes; ++i) out.lane[i] = (mask >> i & 1) != 0 ? out.lane[i] : some;
  }
}

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

// The slow way: finds the memory of each lane or raises a fault. Spaces other than generic may not
// leave their memory, although checked_address would find another.
template <AddressKind Kind>
[[gnu::noinline]] void check_each(Warp& warp, const Op& op, u32 mask, WarpAddresses& at,
                                  u32 bytes) {
  const Extent memory = Kind == AddressKind::kLocal ? Extent{warp.local_base, warp.local_bytes}
                                                    : Extent{warp.shared_base, warp.shared_bytes};
  for_each_lane(mask, [&](int i) {
    const bool aligned = (at.lane[i] & (bytes - 1)) == 0;
    if (Kind != AddressKind::kGeneric && aligned && !memory.holds(at.lane[i], bytes)) {
      raise_fault(warp, op, i, Fault::Kind::kIllegalAddress, at.lane[i], nullptr);
    }
    checked_address(warp, op, i, at.lane[i], bytes);
  });
}

enum class Shape : u8 { kConsecutive, kUniform, kScattered };

// How the addresses of half a warp lie, for accesses of `Bytes`; checks them all. Lanes not in the
// mask count as consecutive too, so kConsecutive is only right where all are active.
template <AddressKind Kind, u64 Bytes>
[[gnu::always_inline]] inline Shape check_half(Warp& warp, const Op& op, u32 mask,
                                               WarpAddresses& at, int half) {
  const u64 start = at.lane[kHalf * half];
  const Addresses low = at.part(2 * half) - splat(start),
                  high = at.part(2 * half + 1) - splat(start);
  const Extent memory = extent<Kind>(warp);
  const bool aligned = (start & (Bytes - 1)) == 0;
  if (!any((low ^ steps<Bytes>(0)) | (high ^ steps<Bytes>(8 * Bytes))) && aligned &&
      memory.holds(start, kHalf * Bytes)) {
    return Shape::kConsecutive;
  }
  if (!any(low | high) && aligned && memory.holds(start, Bytes)) return Shape::kUniform;
  bool good = false;
  if (memory.limit >= Bytes) {
    const Addresses last = splat(memory.limit - Bytes), base = splat(memory.base),
                    bits = splat(Bytes - 1);
    const Addresses a = at.part(2 * half), b = at.part(2 * half + 1);
    good = !any(reinterpret_cast<Addresses>(a - base > last) |
                reinterpret_cast<Addresses>(b - base > last) | ((a | b) & bits));
  }
  if (!good) [[unlikely]]
    check_each<Kind>(warp, op, mask & (u32{0xffff} << (kHalf * half)), at, Bytes);
  return Shape::kScattered;
}

template <class Register, class T>
[[gnu::always_inline]] inline Register extend(T v) {
  if constexpr (kIsSigned<T>)
    return static_cast<Register>(static_cast<Signed<Register>>(v));
  else
    return static_cast<Register>(v);
}

// Device memory is read and written by other threads too; this is an ordinary access all the same.
// A program that races has undefined values on a GPU as well.
template <class T>
[[gnu::always_inline]] inline T read(u64 address) {
  typedef T Unaligned __attribute__((may_alias));
  return *reinterpret_cast<const Unaligned*>(address);
}
template <class T>
[[gnu::always_inline]] inline void write(u64 address, T value) {
  typedef T Unaligned __attribute__((may_alias));
  *reinterpret_cast<Unaligned*>(address) = value;
}

// Sixteen values from anywhere. Written with full-width stores: the next instruction reads them so.
template <class T, class Register>
[[gnu::always_inline]] inline void gather(Register* to, const u64* from, u64 offset) {
#if defined(__AVX512F__)
  const __m512i o = _mm512_set1_epi64(static_cast<long long>(offset));
  const __m512i low = _mm512_add_epi64(_mm512_load_si512(from), o),
                high = _mm512_add_epi64(_mm512_load_si512(from + 8), o);
  // The masked forms: GCC 12 takes the undefined value inside the plain ones for a mistake.
  if constexpr (sizeof(T) == 4 && sizeof(Register) == 4) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i a = _mm512_mask_i64gather_epi32(zero, 0xff, low, nullptr, 1);
    const __m256i b = _mm512_mask_i64gather_epi32(zero, 0xff, high, nullptr, 1);
    _mm512_store_si512(to, _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(a), b, 1));
    return;
  }
  if constexpr (sizeof(T) == 8) {
    const __m512i zero = _mm512_setzero_si512();
    _mm512_store_si512(to, _mm512_mask_i64gather_epi64(zero, 0xff, low, nullptr, 1));
    _mm512_store_si512(to + 8, _mm512_mask_i64gather_epi64(zero, 0xff, high, nullptr, 1));
    return;
  }
#endif
  for (int i = 0; i < kHalf; ++i) to[i] = extend<Register>(read<T>(from[i] + offset));
}

template <class T, class Register>
[[gnu::always_inline]] inline void broadcast(Register* to, u64 from) {
  const Register v = extend<Register>(read<T>(from));
  for (int i = 0; i < kHalf; ++i) to[i] = v;
}

template <class T, class Register, AddressKind Kind>
[[gnu::always_inline]] inline void load_all(Warp& warp, const Op& op, u32 mask, WarpAddresses& at,
                                            Register* to) {
  for (int half = 0; half < 2; ++half) {
    const u32 active = mask >> (kHalf * half) & 0xffff;
    if (active == 0) continue;
    Register* const d = to + kHalf * half;
    const u64 start = at.lane[kHalf * half];
    switch (check_half<Kind, sizeof(T)>(warp, op, mask, at, half)) {
      case Shape::kConsecutive:
        if constexpr (sizeof(T) == sizeof(Register)) {
          __builtin_memcpy(d, reinterpret_cast<const void*>(start), kHalf * sizeof(T));
        } else {
          T raw[kHalf];
          __builtin_memcpy(raw, reinterpret_cast<const void*>(start), sizeof raw);
          for (int i = 0; i < kHalf; ++i) d[i] = extend<Register>(raw[i]);
        }
        break;
      case Shape::kUniform:
        broadcast<T>(d, start);
        break;
      case Shape::kScattered:
        gather<T>(d, at.lane + kHalf * half, 0);
        break;
    }
  }
}

template <class T, class Register, AddressKind Kind>
void load(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  WarpAddresses at;
  find_addresses<Kind>(warp, op, mask, at);
  auto* const d = lanes<Register>(warp, op.d);
  if (mask == kAllLanes) return load_all<T, Register, Kind>(warp, op, mask, at, d);
  alignas(64) Register values[kLanes] = {};
  load_all<T, Register, Kind>(warp, op, mask, at, values);
  write_lanes(d, mask, values);
}

// .param of the kernel: one value for all. The decoder has checked the offset.
template <class T, class Register>
void load_param(Warp& warp, const Op& op, u32 mask) {
  write_uniform(warp, op.d, mask,
                extend<Register>(read<T>(warp.block->params + static_cast<u64>(op.imm))));
}
template <class T, class Register>
void load_param_vector(Warp& warp, const Op& op, u32 mask) {
  for (unsigned k = 0; k < op.count; ++k) {
    if (op.list[k] == kNoSlot) continue;
    const u64 address = warp.block->params + static_cast<u64>(op.imm) + k * sizeof(T);
    write_uniform(warp, op.list[k], mask, extend<Register>(read<T>(address)));
  }
}

template <class T, class Register, AddressKind Kind>
void store(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  WarpAddresses at;
  find_addresses<Kind>(warp, op, mask, at);
  for (int half = 0; half < 2; ++half) {
    const u32 active = mask >> (kHalf * half) & 0xffff;
    if (active == 0) continue;
    const auto* const values = lanes<Register>(warp, op.b) + kHalf * half;
    const u64* const to = at.lane + kHalf * half;
    const Shape shape = check_half<Kind, sizeof(T)>(warp, op, mask, at, half);
    if (shape == Shape::kConsecutive && active == 0xffff) {
      if constexpr (sizeof(T) == sizeof(Register)) {
        __builtin_memcpy(reinterpret_cast<void*>(to[0]), values, kHalf * sizeof(T));
      } else {
        T raw[kHalf];
        for (int i = 0; i < kHalf; ++i) raw[i] = static_cast<T>(values[i]);
        __builtin_memcpy(reinterpret_cast<void*>(to[0]), raw, sizeof raw);
      }
    } else {  // in lane order: of several lanes with one address the last wins
      for_each_lane(active, [&](int i) { write(to[i], static_cast<T>(values[i])); });
    }
  }
}

template <int Count, class T, class Register, AddressKind Kind>
[[gnu::always_inline]] inline void load_elements(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  WarpAddresses at;
  find_addresses<Kind>(warp, op, mask, at);
  alignas(64) Register values[Count][kLanes];
  for (int half = 0; half < 2; ++half) {
    if ((mask >> (kHalf * half) & 0xffff) == 0) continue;
    const u64* const from = at.lane + kHalf * half;
    const bool uniform =
        check_half<Kind, sizeof(T) * Count>(warp, op, mask, at, half) == Shape::kUniform;
    for (int k = 0; k < Count; ++k) {
      if (uniform)
        broadcast<T>(values[k] + kHalf * half, from[0] + static_cast<u64>(k) * sizeof(T));
      else
        gather<T>(values[k] + kHalf * half, from, static_cast<u64>(k) * sizeof(T));
    }
  }
  for (int k = 0; k < Count; ++k) {
    if (op.list[k] != kNoSlot) write_lanes(lanes<Register>(warp, op.list[k]), mask, values[k]);
  }
}
template <class T, class Register, AddressKind Kind>
void load_vector(Warp& warp, const Op& op, u32 mask) {
  if (op.count == 2) return load_elements<2, T, Register, Kind>(warp, op, mask);
  if (op.count == 4) return load_elements<4, T, Register, Kind>(warp, op, mask);
  if constexpr (sizeof(T) == 4) load_elements<8, T, Register, Kind>(warp, op, mask);
}

template <int Count, class T, class Register, AddressKind Kind>
[[gnu::always_inline]] inline void store_elements(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  WarpAddresses at;
  find_addresses<Kind>(warp, op, mask, at);
  for (int half = 0; half < 2; ++half) {
    if ((mask >> (kHalf * half) & 0xffff) != 0)
      check_half<Kind, sizeof(T) * Count>(warp, op, mask, at, half);
  }
  const typename Aliased<Register>::Type* values[Count];
  for (int k = 0; k < Count; ++k) values[k] = lanes<Register>(warp, op.list[k]);
  for_each_lane(mask, [&](int i) {
    for (int k = 0; k < Count; ++k) {
      write(at.lane[i] + static_cast<u64>(k) * sizeof(T), static_cast<T>(values[k][i]));
    }
  });
}
template <class T, class Register, AddressKind Kind>
void store_vector(Warp& warp, const Op& op, u32 mask) {
  if (op.count == 2) return store_elements<2, T, Register, Kind>(warp, op, mask);
  if (op.count == 4) return store_elements<4, T, Register, Kind>(warp, op, mask);
  if constexpr (sizeof(T) == 4) store_elements<8, T, Register, Kind>(warp, op, mask);
}

// Floats are loaded and stored as their bits.
template <class Make>
Handler for_memory_type(ptx::Type type, unsigned register_bits, Make make) {
  const bool wide = register_bits == 64;
  switch (type.total_bits()) {
    case 8:
      if (type.is_signed())
        return wide ? make.template operator()<s8, u64>() : make.template operator()<s8, u32>();
      return wide ? make.template operator()<u8, u64>() : make.template operator()<u8, u32>();
    case 16:
      if (type.is_signed())
        return wide ? make.template operator()<s16, u64>() : make.template operator()<s16, u32>();
      return wide ? make.template operator()<u16, u64>() : make.template operator()<u16, u32>();
    case 32:
      if (!wide) return make.template operator()<u32, u32>();
      return type.is_signed() ? make.template operator()<s32, u64>()
                              : make.template operator()<u32, u64>();
    case 64:
      return wide ? make.template operator()<u64, u64>() : nullptr;
    default:
      return nullptr;
  }
}
template <class Make>
Handler for_kind(AddressKind kind, Make make) {
  switch (kind) {
    case AddressKind::kGeneric:
      return make.template operator()<AddressKind::kGeneric>();
    case AddressKind::kShared32:
      return make.template operator()<AddressKind::kShared32>();
    case AddressKind::kShared64:
      return make.template operator()<AddressKind::kShared64>();
    case AddressKind::kLocal:
      return make.template operator()<AddressKind::kLocal>();
    case AddressKind::kParam:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

Handler find_load(ptx::Type type, AddressKind kind, unsigned register_bits) {
  return for_memory_type(type, register_bits, [&]<class T, class Register>() -> Handler {
    if (kind == AddressKind::kParam) return load_param<T, Register>;
    return for_kind(kind, []<AddressKind K>() -> Handler { return load<T, Register, K>; });
  });
}
Handler find_store(ptx::Type type, AddressKind kind, unsigned register_bits) {
  return for_memory_type(type, register_bits, [&]<class T, class Register>() -> Handler {
    return for_kind(kind,
                    []<AddressKind K>() -> Handler { return store<Unsigned<T>, Register, K>; });
  });
}
Handler find_load_vector(ptx::Type type, AddressKind kind, unsigned register_bits) {
  return for_memory_type(type, register_bits, [&]<class T, class Register>() -> Handler {
    if (kind == AddressKind::kParam) return load_param_vector<T, Register>;
    return for_kind(kind, []<AddressKind K>() -> Handler { return load_vector<T, Register, K>; });
  });
}
Handler find_store_vector(ptx::Type type, AddressKind kind, unsigned register_bits) {
  return for_memory_type(type, register_bits, [&]<class T, class Register>() -> Handler {
    return for_kind(
        kind, []<AddressKind K>() -> Handler { return store_vector<Unsigned<T>, Register, K>; });
  });
}

}  // namespace farcall::softgpu::FARCALL_ISA
