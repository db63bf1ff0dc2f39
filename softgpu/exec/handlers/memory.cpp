// ld and st. The addresses of a warp are looked at together: mostly they are consecutive or all the same, and all
// inside the window of device memory. Whatever does not pass the quick checks goes lane by lane through
// checked_address(), which finds the memory or raises the fault.
//
// A lane that is not in the mask gets the address of one that is, so that gathers need no mask.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

// Eight addresses: one register with AVX-512, two with AVX2; the compiler splits it as needed.
typedef u64 Addresses __attribute__((vector_size(64), aligned(64), may_alias));
typedef u32 Offsets __attribute__((vector_size(32), aligned(32), may_alias));

[[gnu::always_inline]] inline Addresses splat(u64 v) { return Addresses{v, v, v, v, v, v, v, v}; }
[[gnu::always_inline]] inline bool any(Addresses v) {
  u64 all = 0;
  for (int i = 0; i < 8; ++i) all |= v[i];
  return all != 0;
}
template <u64 Step>
[[gnu::always_inline]] inline Addresses steps() {
  return Addresses{0, Step, 2 * Step, 3 * Step, 4 * Step, 5 * Step, 6 * Step, 7 * Step};
}

struct WarpAddresses {
  alignas(64) u64 lane[kLanes];
  [[gnu::always_inline]] Addresses& part(int k) { return *reinterpret_cast<Addresses*>(lane + 8 * k); }
};

template <AddressKind Kind>
[[gnu::always_inline]] inline void find_addresses(Warp& warp, const Op& op, u32 mask, WarpAddresses& out) {
  const u64 offset = static_cast<u64>(op.imm);
  for (int k = 0; k < 4; ++k) {
    if constexpr (Kind == AddressKind::kShared32) {
      // Shared addresses of 32 bits wrap.
      const Offsets at = *reinterpret_cast<const Offsets*>(lanes<u32>(warp, op.a) + 8 * k) + static_cast<u32>(op.imm);
      out.part(k) = __builtin_convertvector(at, Addresses) + splat(warp.shared_base);
    } else {
      const u64 base = Kind == AddressKind::kShared64 ? warp.shared_base + offset : offset;
      out.part(k) = *reinterpret_cast<const Addresses*>(lanes<u64>(warp, op.a) + 8 * k) + splat(base);
    }
  }
  if (mask != kAllLanes) {
    const u64 some = out.lane[__builtin_ctz(mask)];
    for (int i = 0; i < kLanes; ++i) out.lane[i] = (mask >> i & 1) != 0 ? out.lane[i] : some;
  }
}

// All addresses aligned and inside the memory that this kind usually means.
template <AddressKind Kind, u64 Bytes>
[[gnu::always_inline]] inline bool all_inside(Warp& warp, WarpAddresses& at) {
  constexpr bool kShared = Kind == AddressKind::kShared32 || Kind == AddressKind::kShared64;
  const u64 base = kShared ? warp.shared_base : Kind == AddressKind::kLocal ? warp.local_base : warp.window_base;
  const u64 limit = kShared ? warp.shared_limit : Kind == AddressKind::kLocal ? warp.local_limit : warp.window_limit;
  if (limit < Bytes) return false;
  Addresses bad = splat(0);
  for (int k = 0; k < 4; ++k) {
    bad |= reinterpret_cast<Addresses>(at.part(k) - splat(base) > splat(limit - Bytes));
    bad |= at.part(k) & splat(Bytes - 1);
  }
  return !any(bad);
}

// The slow way, shared by all types: replaces addresses by host addresses or raises a fault. Spaces other than
// generic may not leave their memory, although checked_address would find another.
template <AddressKind Kind>
[[gnu::noinline]] void check_each(Warp& warp, const Op& op, u32 mask, WarpAddresses& at, u32 bytes) {
  for_each_lane(mask, [&](int i) {
    checked_address(warp, op, i, at.lane[i], bytes);
    const u64 base = Kind == AddressKind::kLocal ? warp.local_base : warp.shared_base;
    const u64 limit = Kind == AddressKind::kLocal ? warp.local_limit : warp.shared_limit;
    if (Kind != AddressKind::kGeneric && (at.lane[i] - base >= limit || limit - (at.lane[i] - base) < bytes)) {
      raise_fault(warp, op, i, Fault::Kind::kIllegalAddress, at.lane[i], nullptr);
    }
  });
}

template <AddressKind Kind, u64 Bytes>
[[gnu::always_inline]] inline void prepare(Warp& warp, const Op& op, u32 mask, WarpAddresses& at) {
  warp.current = &op;
  warp.current_mask = mask;
  find_addresses<Kind>(warp, op, mask, at);
  if (!all_inside<Kind, Bytes>(warp, at)) [[unlikely]] check_each<Kind>(warp, op, mask, at, Bytes);
}

template <class Register, class T>
[[gnu::always_inline]] inline Register extend(T v) {
  if constexpr (kIsSigned<T>) return static_cast<Register>(static_cast<Signed<Register>>(v));
  else return static_cast<Register>(v);
}

// Device memory is read and written by other threads too; this is an ordinary access all the same. A program that
// races has undefined values on a GPU as well.
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

template <class T, class Register, AddressKind Kind>
void load(Warp& warp, const Op& op, u32 mask) {
  WarpAddresses at;
  prepare<Kind, sizeof(T)>(warp, op, mask, at);
  alignas(64) Register values[kLanes];
  // Half a warp at a time: tiles are often 16 wide.
  for (int half = 0; half < 2; ++half) {
    const int first = 16 * half;
    const u64 start = at.lane[first];
    const Addresses low = at.part(2 * half) - splat(start), high = at.part(2 * half + 1) - splat(start);
    if (!any((low ^ steps<sizeof(T)>()) | (high ^ (steps<sizeof(T)>() + splat(8 * sizeof(T)))))) {
      if constexpr (sizeof(T) == sizeof(Register)) {
        __builtin_memcpy(values + first, reinterpret_cast<const void*>(start), 16 * sizeof(T));
      } else {
        T raw[16];
        __builtin_memcpy(raw, reinterpret_cast<const void*>(start), sizeof raw);
        for (int i = 0; i < 16; ++i) values[first + i] = extend<Register>(raw[i]);
      }
    } else if (!any(low | high)) {
      const Register v = extend<Register>(read<T>(start));
      for (int i = 0; i < 16; ++i) values[first + i] = v;
    } else {
      for (int i = 0; i < 16; ++i) values[first + i] = extend<Register>(read<T>(at.lane[first + i]));
    }
  }
  write_lanes(lanes<Register>(warp, op.d), mask, values);
}

// .param of the kernel: one value for all. The decoder has checked the offset.
template <class T, class Register>
void load_param(Warp& warp, const Op& op, u32 mask) {
  write_uniform(warp, op.d, mask, extend<Register>(read<T>(warp.block->params + static_cast<u64>(op.imm))));
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
  WarpAddresses at;
  prepare<Kind, sizeof(T)>(warp, op, mask, at);
  const auto* values = lanes<Register>(warp, op.b);
  for (int half = 0; half < 2; ++half) {
    const int first = 16 * half;
    const u32 active = mask >> first & 0xffff;
    const u64 start = at.lane[first];
    const Addresses low = at.part(2 * half) - splat(start), high = at.part(2 * half + 1) - splat(start);
    if (active == 0xffff &&
        !any((low ^ steps<sizeof(T)>()) | (high ^ (steps<sizeof(T)>() + splat(8 * sizeof(T)))))) {
      if constexpr (sizeof(T) == sizeof(Register)) {
        __builtin_memcpy(reinterpret_cast<void*>(start), values + first, 16 * sizeof(T));
      } else {
        T raw[16];
        for (int i = 0; i < 16; ++i) raw[i] = static_cast<T>(values[first + i]);
        __builtin_memcpy(reinterpret_cast<void*>(start), raw, sizeof raw);
      }
    } else {  // in lane order: of several lanes with one address the last wins
      for_each_lane(active, [&](int i) { write(at.lane[first + i], static_cast<T>(values[first + i])); });
    }
  }
}

template <int Count, class T, class Register, AddressKind Kind>
[[gnu::always_inline]] inline void load_elements(Warp& warp, const Op& op, u32 mask) {
  WarpAddresses at;
  prepare<Kind, sizeof(T) * Count>(warp, op, mask, at);
  alignas(64) Register values[Count][kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const u64 from = at.lane[i];
    for (int k = 0; k < Count; ++k) values[k][i] = extend<Register>(read<T>(from + static_cast<u64>(k) * sizeof(T)));
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
  WarpAddresses at;
  prepare<Kind, sizeof(T) * Count>(warp, op, mask, at);
  const Register* values[Count];
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
      if (type.is_signed()) return wide ? make.template operator()<s8, u64>() : make.template operator()<s8, u32>();
      return wide ? make.template operator()<u8, u64>() : make.template operator()<u8, u32>();
    case 16:
      if (type.is_signed()) return wide ? make.template operator()<s16, u64>() : make.template operator()<s16, u32>();
      return wide ? make.template operator()<u16, u64>() : make.template operator()<u16, u32>();
    case 32:
      if (!wide) return make.template operator()<u32, u32>();
      return type.is_signed() ? make.template operator()<s32, u64>() : make.template operator()<u32, u64>();
    case 64: return wide ? make.template operator()<u64, u64>() : nullptr;
    default: return nullptr;
  }
}
template <class Make>
Handler for_kind(AddressKind kind, Make make) {
  switch (kind) {
    case AddressKind::kGeneric: return make.template operator()<AddressKind::kGeneric>();
    case AddressKind::kShared32: return make.template operator()<AddressKind::kShared32>();
    case AddressKind::kShared64: return make.template operator()<AddressKind::kShared64>();
    case AddressKind::kLocal: return make.template operator()<AddressKind::kLocal>();
    case AddressKind::kParam: return nullptr;
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
    return for_kind(kind, []<AddressKind K>() -> Handler { return store<Unsigned<T>, Register, K>; });
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
    return for_kind(kind, []<AddressKind K>() -> Handler { return store_vector<Unsigned<T>, Register, K>; });
  });
}

}  // namespace farcall::softgpu::FARCALL_ISA
