// ld and st. Device memory is read and written by other threads too; these are ordinary accesses
// all the same: a program that races has undefined values on a GPU as well.
#include "softgpu/exec/handlers/addresses_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

template <class T>
[[gnu::always_inline]] inline T read(u64 address) {
  typedef T Unaligned __attribute__((may_alias, aligned(1)));
  return *reinterpret_cast<const Unaligned*>(address);
}
template <class T>
[[gnu::always_inline]] inline void write(u64 address, T value) {
  typedef T Unaligned __attribute__((may_alias, aligned(1)));
  *reinterpret_cast<Unaligned*>(address) = value;
}

template <class Register, class T>
[[gnu::always_inline]] inline Register extend(T v) {
  if constexpr (kIsSigned<T>)
    return static_cast<Register>(static_cast<Signed<Register>>(v));
  else
    return static_cast<Register>(v);
}

// ---- sixteen values at a time ----

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

template <class T, class Register>
[[gnu::always_inline]] inline void load_consecutive(Register* to, u64 from) {
  const auto* values = reinterpret_cast<const typename Aliased<T>::Type*>(from);
  if constexpr (sizeof(T) == sizeof(Register)) {
    copy_vectors<kHalf * sizeof(T)>(to, reinterpret_cast<const void*>(from));
  } else {
    for (int i = 0; i < kHalf; ++i) to[i] = extend<Register>(values[i]);
  }
}

// Lanes that are not active may point to closed memory.
template <class T, class Register>
[[gnu::always_inline]] inline void load_some(Register* to, u64 from, u32 active) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4 && sizeof(Register) == 4) {
    _mm512_store_si512(to, _mm512_maskz_loadu_epi32(static_cast<__mmask16>(active),
                                                    reinterpret_cast<const void*>(from)));
    return;
  }
  if constexpr (sizeof(T) == 8) {
    for (int k = 0; k < 2; ++k) {
      _mm512_store_si512(to + 8 * k,
                         _mm512_maskz_loadu_epi64(static_cast<__mmask8>(active >> (8 * k)),
                                                  reinterpret_cast<const T*>(from) + 8 * k));
    }
    return;
  }
#endif
  for_each_lane(active, [&](int i) {
    to[i] = extend<Register>(read<T>(from + static_cast<u64>(i) * sizeof(T)));
  });
}

template <class T, class Register>
[[gnu::always_inline]] inline void store_consecutive(u64 to, const Register* values) {
  if constexpr (sizeof(T) == sizeof(Register)) {
    copy_vectors<kHalf * sizeof(T)>(reinterpret_cast<void*>(to), values);
  } else {
    T raw[kHalf];
    for (int i = 0; i < kHalf; ++i) raw[i] = static_cast<T>(values[i]);
    __builtin_memcpy(reinterpret_cast<void*>(to), raw, sizeof raw);
  }
}

template <class T, class Register>
[[gnu::always_inline]] inline void store_some(u64 to, const Register* values, u32 active) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4 && sizeof(Register) == 4) {
    _mm512_mask_storeu_epi32(reinterpret_cast<void*>(to), static_cast<__mmask16>(active),
                             _mm512_load_si512(values));
    return;
  }
  if constexpr (sizeof(T) == 8) {
    for (int k = 0; k < 2; ++k) {
      _mm512_mask_storeu_epi64(reinterpret_cast<T*>(to) + 8 * k,
                               static_cast<__mmask8>(active >> (8 * k)),
                               _mm512_load_si512(values + 8 * k));
    }
    return;
  }
#endif
  for_each_lane(active, [&](int i) {
    write(to + static_cast<u64>(i) * sizeof(T), static_cast<T>(values[i]));
  });
}

// ---- one value for each lane ----

// Whatever is not simply consecutive for all sixteen lanes.
template <class T, class Register>
[[gnu::noinline]] void load_shaped(const HalfAddresses& at, u32 active, Register* to) {
  switch (at.shape) {
    case Shape::kConsecutive:
      load_some<T>(to, at.start, active);
      break;
    case Shape::kUniform:
      broadcast<T>(to, at.start);
      break;
    case Shape::kScattered:
      gather<T>(to, at.lane, 0);
      break;
  }
}

template <class T, class Register, AddressKind Kind>
[[gnu::always_inline]] inline void load_half(Warp& warp, const Op& op, u32 active, int half,
                                             Register* to) {
  HalfAddresses at;
  find_addresses<Kind, sizeof(T)>(warp, op, active, half, at);
  // All of a block's shared memory is there, whoever asks.
  constexpr bool kShared = Kind == AddressKind::kShared32 || Kind == AddressKind::kShared64;
  if (at.shape == Shape::kConsecutive && (active == kWholeHalf || kShared))
    load_consecutive<T>(to, at.start);
  else if (sizeof(T) == sizeof(Register) && at.shape == Shape::kUniform)
    broadcast<T>(to, at.start);
  else
    load_shaped<T>(at, active, to);
}

template <class T, class Register, AddressKind Kind>
[[gnu::noinline]] void load_partly(Warp& warp, const Op& op, u32 mask) {
  alignas(64) Register values[kLanes];
  for (int half = 0; half < 2; ++half) {
    const u32 active = mask >> (kHalf * half) & kWholeHalf;
    Register* const to = values + kHalf * half;
    if (active != 0) {
      load_half<T, Register, Kind>(warp, op, active, half, to);
    } else {  // written by nobody, but read
      for (int i = 0; i < kHalf; ++i) to[i] = 0;
    }
  }
  write_lanes(lanes<Register>(warp, op.d), mask, values);
}

template <class T, class Register, AddressKind Kind>
void load(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  if (mask != kAllLanes) return load_partly<T, Register, Kind>(warp, op, mask);
  Register* const d = lanes<Register>(warp, op.d);
  for (int half = 0; half < 2; ++half)
    load_half<T, Register, Kind>(warp, op, kWholeHalf, half, d + kHalf * half);
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

template <class T, class Register>
[[gnu::noinline]] void store_shaped(const HalfAddresses& at, u32 active, const Register* values) {
  switch (at.shape) {
    case Shape::kConsecutive:
      store_some<T>(at.start, values, active);
      break;
    case Shape::kUniform:  // of several lanes with one address the last wins
      write(at.start, static_cast<T>(values[31 - __builtin_clz(active)]));
      break;
    case Shape::kScattered:  // in lane order, for the same reason
      for_each_lane(active, [&](int i) { write(at.lane[i], static_cast<T>(values[i])); });
      break;
  }
}

template <class T, class Register, AddressKind Kind>
void store(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  for (int half = 0; half < 2; ++half) {
    const u32 active = mask >> (kHalf * half) & kWholeHalf;
    if (active == 0) continue;
    const Register* const values = lanes<Register>(warp, op.b) + kHalf * half;
    HalfAddresses at;
    find_addresses<Kind, sizeof(T)>(warp, op, active, half, at);
    if (at.shape == Shape::kConsecutive && active == kWholeHalf)
      store_consecutive<T>(at.start, values);
    else
      store_shaped<T>(at, active, values);
  }
}

// ---- vectors: op.count elements, whose slots are in the list ----

template <AddressKind Kind, class T>
[[gnu::noinline]] void find_vectors(Warp& warp, const Op& op, u32 active, int half,
                                    HalfAddresses& at) {
  switch (op.count) {
    case 2:
      return find_addresses<Kind, sizeof(T) * 2>(warp, op, active, half, at);
    case 4:
      return find_addresses<Kind, sizeof(T) * 4>(warp, op, active, half, at);
    default:
      return find_addresses<Kind, sizeof(T) * 8>(warp, op, active, half, at);
  }
}

constexpr int kElementsMax = 8;

template <int Count, class T, class Register>
[[gnu::always_inline]] inline void split(u64 start, Register (*to)[kLanes], int first) {
  const auto* from = reinterpret_cast<const typename Aliased<T>::Type*>(start);
  for (int i = 0; i < kHalf; ++i) {
    for (int k = 0; k < Count; ++k) to[k][first + i] = extend<Register>(from[i * Count + k]);
  }
}
template <int Count, class T, class Register>
[[gnu::always_inline]] inline void join(u64 start, const Register* const* values, int first) {
  auto* const to = reinterpret_cast<typename Aliased<T>::Type*>(start);
  for (int i = 0; i < kHalf; ++i) {
    for (int k = 0; k < Count; ++k) to[i * Count + k] = static_cast<T>(values[k][first + i]);
  }
}

template <class T, class Register>
[[gnu::noinline]] void load_vectors(HalfAddresses& at, u32 active, int half, int count,
                                    Register (*to)[kLanes]) {
  const int first = kHalf * half;
  if (at.shape == Shape::kUniform) {
    for (int k = 0; k < count; ++k)
      broadcast<T>(to[k] + first, at.start + static_cast<u64>(k) * sizeof(T));
    return;
  }
  if (at.shape == Shape::kConsecutive) {
    if (active == kWholeHalf && count == 2) return split<2, T>(at.start, to, first);
    if (active == kWholeHalf && count == 4) return split<4, T>(at.start, to, first);
    // Where nobody asks the memory may be closed.
    const u64 vector_bytes = static_cast<u64>(count) * sizeof(T);
    for (int i = 0; i < kHalf; ++i) {
      const int source = (active >> i & 1) != 0 ? i : __builtin_ctz(active);
      at.lane[i] = at.start + static_cast<u64>(source) * vector_bytes;
    }
  }
  for (int k = 0; k < count; ++k)
    gather<T>(to[k] + first, at.lane, static_cast<u64>(k) * sizeof(T));
}

template <class T, class Register, AddressKind Kind>
void load_vector(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  alignas(64) Register values[kElementsMax][kLanes];
  for (int half = 0; half < 2; ++half) {
    const u32 active = mask >> (kHalf * half) & kWholeHalf;
    if (active != 0) {
      HalfAddresses at;
      find_vectors<Kind, T>(warp, op, active, half, at);
      load_vectors<T>(at, active, half, op.count, values);
    } else {  // written by nobody, but read
      for (int k = 0; k < op.count; ++k) {
        for (int i = 0; i < kHalf; ++i) values[k][kHalf * half + i] = 0;
      }
    }
  }
  for (int k = 0; k < op.count; ++k) {
    if (op.list[k] != kNoSlot) write_lanes(lanes<Register>(warp, op.list[k]), mask, values[k]);
  }
}

template <class T, class Register>
[[gnu::noinline]] void store_vectors(const HalfAddresses& at, u32 active, int half, int count,
                                     const Register* const* values) {
  const int first = kHalf * half;
  const bool consecutive = at.shape == Shape::kConsecutive;
  if (consecutive && active == kWholeHalf) {
    if (count == 2) return join<2, T>(at.start, values, first);
    if (count == 4) return join<4, T>(at.start, values, first);
  }
  const u64 step = consecutive ? static_cast<u64>(count) * sizeof(T) : 0;
  for_each_lane(active, [&](int i) {
    u64 to = at.shape == Shape::kScattered ? at.lane[i] : at.start + static_cast<u64>(i) * step;
    for (int k = 0; k < count; ++k, to += sizeof(T))
      write(to, static_cast<T>(values[k][first + i]));
  });
}

template <class T, class Register, AddressKind Kind>
void store_vector(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const Register* values[kElementsMax];
  for (int k = 0; k < op.count; ++k) values[k] = lanes<Register>(warp, op.list[k]);
  for (int half = 0; half < 2; ++half) {
    const u32 active = mask >> (kHalf * half) & kWholeHalf;
    if (active == 0) continue;
    HalfAddresses at;
    find_vectors<Kind, T>(warp, op, active, half, at);
    store_vectors<T>(at, active, half, op.count, values);
  }
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

ConvoyHandler memory_for_convoy(Handler handler) {
  constexpr AddressKind kGeneric = AddressKind::kGeneric, kShared = AddressKind::kShared32;
  return among<true, load<u32, u32, kGeneric>, load<u32, u32, kShared>, store<u32, u32, kGeneric>,
               store<u32, u32, kShared>>(handler);
}

}  // namespace farcall::softgpu::FARCALL_ISA
