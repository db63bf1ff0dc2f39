// atom, red, and the loads and stores that other threads watch. Lanes go one after the other, in
// lane order. These are the host's atomic instructions, so they also work against the CPU's threads
// in pinned and managed memory.
#include "softgpu/exec/handlers/atomic_inl.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

// Calls f(lane, host address) for each lane; the address is aligned to `bytes` and may be used.
template <u32 Bytes, class F>
void for_each_address(Warp& warp, const Op& op, u32 mask, F f) {
  warp.current = &op;
  warp.current_mask = mask;
  const auto kind = static_cast<AddressKind>(op.flags);
  for_each_lane(mask, [&](int lane) {
    const u64 address = lane_address(warp, kind, op.a, op.imm, lane);
    if ((kind == AddressKind::kShared32 || kind == AddressKind::kShared64) &&
        address - warp.shared_base >= warp.shared_bytes) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address, nullptr);
    }
    f(lane, checked_address(warp, op, lane, address, Bytes));
  });
}

// PTX: atomic addition of floats flushes denormals, except in shared memory.
template <AtomicOp Operation, class T>
T apply(T old, T value, bool in_shared) {
  if constexpr (kSame<T, float>) {
    if (!in_shared) return flush_denormal(flush_denormal(old) + flush_denormal(value));
  }
  return apply_atomic<Operation>(old, value);
}

template <class T, AtomicOp Operation>
void atomic(Warp& warp, const Op& op, u32 mask) {
  using U = Unsigned<T>;
  using S = typename Choose<sizeof(T) == 8, u64, u32>::Type;
  const auto* b = lanes<S>(warp, op.b);
  S results[kLanes] = {};
  for_each_address<sizeof(T)>(warp, op, mask, [&](int lane, u8* host) {
    auto* memory = reinterpret_cast<typename Aliased<U>::Type*>(host);
    const U operand = static_cast<U>(b[lane]);
    U old;
    if constexpr (!kIsFloat<T> && Operation == AtomicOp::kAdd) {
      old = __atomic_fetch_add(memory, operand, __ATOMIC_SEQ_CST);
    } else if constexpr (Operation == AtomicOp::kExch) {
      old = __atomic_exchange_n(memory, operand, __ATOMIC_SEQ_CST);
    } else {
      const bool in_shared = reinterpret_cast<u64>(host) - warp.shared_base < warp.shared_bytes;
      old = __atomic_load_n(memory, __ATOMIC_RELAXED);
      U desired;
      do {
        desired = bit_cast<U>(apply<Operation>(bit_cast<T>(old), bit_cast<T>(operand), in_shared));
      } while (!__atomic_compare_exchange_n(memory, &old, desired, true, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED));
    }
    results[lane] = old;
  });
  if (op.d != kNoSlot) write_lanes(lanes<S>(warp, op.d), mask, results);
}

// Two 16-bit floats in 32 bits. Each half is atomic in itself; here both are at once.
template <class T, AtomicOp Operation>
void atomic_pair(Warp& warp, const Op& op, u32 mask) {
  const auto* b = lanes<u32>(warp, op.b);
  u32 results[kLanes] = {};
  for_each_address<4>(warp, op, mask, [&](int lane, u8* host) {
    auto* memory = reinterpret_cast<typename Aliased<u32>::Type*>(host);
    u32 old = __atomic_load_n(memory, __ATOMIC_RELAXED), desired;
    do {
      const T low = apply_atomic<Operation>(T{static_cast<u16>(old)}, T{static_cast<u16>(b[lane])});
      const T high = apply_atomic<Operation>(T{static_cast<u16>(old >> 16)},
                                             T{static_cast<u16>(b[lane] >> 16)});
      desired = low.bits | u32{high.bits} << 16;
    } while (!__atomic_compare_exchange_n(memory, &old, desired, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    results[lane] = old;
  });
  if (op.d != kNoSlot) write_lanes(lanes<u32>(warp, op.d), mask, results);
}

template <class T>
void compare_and_swap(Warp& warp, const Op& op, u32 mask) {
  using S = typename Choose<sizeof(T) == 8, u64, u32>::Type;
  const auto* b = lanes<S>(warp, op.b);
  const auto* c = lanes<S>(warp, op.c);
  S results[kLanes] = {};
  for_each_address<sizeof(T)>(warp, op, mask, [&](int lane, u8* host) {
    T expected = static_cast<T>(b[lane]);
    __atomic_compare_exchange_n(reinterpret_cast<typename Aliased<T>::Type*>(host), &expected,
                                static_cast<T>(c[lane]), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    results[lane] = expected;
  });
  if (op.d != kNoSlot) write_lanes(lanes<S>(warp, op.d), mask, results);
}

// 16 bytes are read and written in one piece, as on a GPU: look-back scans keep a flag and a sum in
// them. The pieces of longer vectors are accesses of their own.
typedef u64 Piece __attribute__((vector_size(16), may_alias));

template <class T, int Count>
[[gnu::always_inline]] inline void read_strong(const u8* host, T* values) {
  if constexpr (sizeof(T) * Count == 16) {
    const Piece piece = *reinterpret_cast<const volatile Piece*>(host);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    __builtin_memcpy(values, &piece, sizeof piece);
  } else {
    for (int k = 0; k < Count; ++k)
      values[k] = __atomic_load_n(reinterpret_cast<const typename Aliased<T>::Type*>(host) + k,
                                  __ATOMIC_ACQUIRE);
  }
}
template <class T, int Count>
[[gnu::always_inline]] inline void write_strong(u8* host, const T* values) {
  if constexpr (sizeof(T) * Count == 16) {
    Piece piece;
    __builtin_memcpy(&piece, values, sizeof piece);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *reinterpret_cast<volatile Piece*>(host) = piece;
  } else {
    for (int k = 0; k < Count; ++k)
      __atomic_store_n(reinterpret_cast<typename Aliased<T>::Type*>(host) + k, values[k],
                       __ATOMIC_RELEASE);
  }
}

template <class T, class Register, int Count>
void strong_load(Warp& warp, const Op& op, u32 mask) {
  Register values[Count][kLanes] = {};
  for_each_address<sizeof(T) * Count>(warp, op, mask, [&](int lane, u8* host) {
    T read[Count];
    read_strong<T, Count>(host, read);
    for (int k = 0; k < Count; ++k) {
      const T v = read[k];
      if constexpr (kIsSigned<T>)
        values[k][lane] = static_cast<Register>(static_cast<Signed<Register>>(v));
      else
        values[k][lane] = v;
    }
  });
  for (int k = 0; k < Count; ++k) {
    const Slot d = Count == 1 ? op.d : op.list[k];
    if (d != kNoSlot) write_lanes(lanes<Register>(warp, d), mask, values[k]);
  }
}
template <class T, class Register, int Count>
void strong_store(Warp& warp, const Op& op, u32 mask) {
  for_each_address<sizeof(T) * Count>(warp, op, mask, [&](int lane, u8* host) {
    T values[Count];
    for (int k = 0; k < Count; ++k)
      values[k] = static_cast<T>(lanes<Register>(warp, Count == 1 ? op.b : op.list[k])[lane]);
    write_strong<T, Count>(host, values);
  });
}

template <class T, class Register>
void strong_load_any(Warp& warp, const Op& op, u32 mask) {
  switch (op.count) {
    case 2:
      return strong_load<T, Register, 2>(warp, op, mask);
    case 4:
      return strong_load<T, Register, 4>(warp, op, mask);
    case 8:
      return strong_load<T, Register, 8>(warp, op, mask);
    default:
      return strong_load<T, Register, 1>(warp, op, mask);
  }
}
template <class T, class Register>
void strong_store_any(Warp& warp, const Op& op, u32 mask) {
  switch (op.count) {
    case 2:
      return strong_store<T, Register, 2>(warp, op, mask);
    case 4:
      return strong_store<T, Register, 4>(warp, op, mask);
    case 8:
      return strong_store<T, Register, 8>(warp, op, mask);
    default:
      return strong_store<T, Register, 1>(warp, op, mask);
  }
}

template <AtomicOp Operation>
Handler typed(ptx::Type type) {
  using Kind = ptx::Type::Kind;
  constexpr bool kMinMax = Operation == AtomicOp::kMin || Operation == AtomicOp::kMax;
  constexpr bool kForFloats = Operation == AtomicOp::kAdd;
  if (type.is_float()) {
    if constexpr (kForFloats || kMinMax) {
      if (type.kind == Kind::kBfloat) {
        if (type.lanes == 2) return atomic_pair<Bfloat, Operation>;
        return atomic<Bfloat, Operation>;
      }
      if (type.kind == Kind::kFloat && type.bits == 16) {
        if (type.lanes == 2) return atomic_pair<Half, Operation>;
        return atomic<Half, Operation>;
      }
    }
    if constexpr (kForFloats) {
      if (type.kind == Kind::kFloat && type.bits == 32) return atomic<float, Operation>;
      if (type.kind == Kind::kFloat && type.bits == 64) return atomic<double, Operation>;
    }
    return nullptr;
  }
  if (!type.is_integer() || type.lanes != 1) return nullptr;
  if (type.bits == 32) return type.is_signed() ? atomic<s32, Operation> : atomic<u32, Operation>;
  if (type.bits == 64) return type.is_signed() ? atomic<s64, Operation> : atomic<u64, Operation>;
  return nullptr;
}

}  // namespace

Handler find_atomic(AtomicOp operation, ptx::Type type) {
  switch (operation) {
    case AtomicOp::kAdd:
      return typed<AtomicOp::kAdd>(type);
    case AtomicOp::kMin:
      return typed<AtomicOp::kMin>(type);
    case AtomicOp::kMax:
      return typed<AtomicOp::kMax>(type);
    case AtomicOp::kInc:
      return type.bits == 32 && !type.is_float() ? atomic<u32, AtomicOp::kInc> : nullptr;
    case AtomicOp::kDec:
      return type.bits == 32 && !type.is_float() ? atomic<u32, AtomicOp::kDec> : nullptr;
    case AtomicOp::kAnd:
      return typed<AtomicOp::kAnd>(type);
    case AtomicOp::kOr:
      return typed<AtomicOp::kOr>(type);
    case AtomicOp::kXor:
      return typed<AtomicOp::kXor>(type);
    case AtomicOp::kExch:
      return typed<AtomicOp::kExch>(type);
  }
  return nullptr;
}

Handler find_compare_and_swap(ptx::Type type) {
  if (!type.is_integer() || type.lanes != 1) return nullptr;
  switch (type.bits) {
    case 16:
      return compare_and_swap<u16>;
    case 32:
      return compare_and_swap<u32>;
    case 64:
      return compare_and_swap<u64>;
    default:
      return nullptr;
  }
}

Handler find_strong_load(ptx::Type type, unsigned register_bits) {
  const bool wide = register_bits == 64, is_signed = type.is_signed();
  switch (type.total_bits()) {
    case 8:
      if (is_signed) return wide ? strong_load_any<s8, u64> : strong_load_any<s8, u32>;
      return wide ? strong_load_any<u8, u64> : strong_load_any<u8, u32>;
    case 16:
      if (is_signed) return wide ? strong_load_any<s16, u64> : strong_load_any<s16, u32>;
      return wide ? strong_load_any<u16, u64> : strong_load_any<u16, u32>;
    case 32:
      if (!wide) return strong_load_any<u32, u32>;
      return is_signed ? strong_load_any<s32, u64> : strong_load_any<u32, u64>;
    case 64:
      return wide ? strong_load_any<u64, u64> : nullptr;
    default:
      return nullptr;
  }
}
Handler find_strong_store(ptx::Type type, unsigned register_bits) {
  const bool wide = register_bits == 64;
  switch (type.total_bits()) {
    case 8:
      return wide ? strong_store_any<u8, u64> : strong_store_any<u8, u32>;
    case 16:
      return wide ? strong_store_any<u16, u64> : strong_store_any<u16, u32>;
    case 32:
      return wide ? strong_store_any<u32, u64> : strong_store_any<u32, u32>;
    case 64:
      return wide ? strong_store_any<u64, u64> : nullptr;
    default:
      return nullptr;
  }
}

namespace {

using Wide = unsigned __int128;

Wide read_pair(Warp& warp, Slot slot, int lane) {
  return lanes<u64>(warp, slot)[lane] | Wide{lanes<u64>(warp, slot + 8 * kLanes)[lane]} << 64;
}
void write_pair(Warp& warp, Slot slot, int lane, Wide value) {
  if (slot == kNoSlot) return;
  lanes<u64>(warp, slot)[lane] = static_cast<u64>(value);
  lanes<u64>(warp, slot + 8 * kLanes)[lane] = static_cast<u64>(value >> 64);
}

// The value that was there; `desired` is written if that was `expected`. Not inlined: clang would
// do that to callers that lack the instruction, and then look for a function of the runtime.
#if defined(__x86_64__)
[[gnu::target("cx16"), gnu::noinline]]
#endif
Wide swap_if_equal(u8* host, Wide expected, Wide desired) {
  return __sync_val_compare_and_swap(reinterpret_cast<typename Aliased<Wide>::Type*>(host),
                                     expected, desired);
}

}  // namespace

void exchange_128(Warp& warp, const Op& op, u32 mask) {
  for_each_address<16>(warp, op, mask, [&](int lane, u8* host) {
    const Wide desired = read_pair(warp, op.b, lane);
    Wide seen = 0, expected;
    do {
      expected = seen;
      seen = swap_if_equal(host, expected, desired);
    } while (seen != expected);
    write_pair(warp, op.d, lane, seen);
  });
}

void compare_and_swap_128(Warp& warp, const Op& op, u32 mask) {
  for_each_address<16>(warp, op, mask, [&](int lane, u8* host) {
    const Wide expected = read_pair(warp, op.b, lane), desired = read_pair(warp, op.c, lane);
    write_pair(warp, op.d, lane, swap_if_equal(host, expected, desired));
  });
}

void no_multicast_memory(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const int lane = __builtin_ctz(mask);
  const u64 address = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
  raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
              "multimem access: this device has no multicast memory");
}

void fence(Warp&, const Op&, u32) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

}  // namespace farcall::softgpu
