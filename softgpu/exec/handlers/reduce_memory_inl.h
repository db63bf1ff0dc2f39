// Atomic operations on elements in memory by run-time type: what bulk reductions do.
#pragma once

#include "softgpu/exec/handlers/atomic_inl.h"
#include "softgpu/exec/handlers/bulk_plan.h"

namespace farcall::softgpu::FARCALL_ISA {

template <class T, AtomicOp Operation>
void reduce_elements(u8* to, const u8* from, u32 count) {
  using U = Unsigned<T>;
  auto* memory = reinterpret_cast<typename Aliased<U>::Type*>(to);
  for (u32 i = 0; i < count; ++i) {
    T value;
    __builtin_memcpy(&value, from + i * sizeof(T), sizeof value);
    U old = __atomic_load_n(memory + i, __ATOMIC_RELAXED), desired;
    do {
      desired = bit_cast<U>(apply_atomic<Operation>(bit_cast<T>(old), value));
    } while (!__atomic_compare_exchange_n(memory + i, &old, desired, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
  }
}

using Reduce = void (*)(u8* to, const u8* from, u32 count);

template <class T>
Reduce find_reduce_of(AtomicOp operation) {
  if (operation == AtomicOp::kAdd) return reduce_elements<T, AtomicOp::kAdd>;
  if constexpr (!kSame<T, float> && !kSame<T, double>) {
    if (operation == AtomicOp::kMin) return reduce_elements<T, AtomicOp::kMin>;
    if (operation == AtomicOp::kMax) return reduce_elements<T, AtomicOp::kMax>;
  }
  if constexpr (!kIsFloat<T>) {
    switch (operation) {
      case AtomicOp::kInc:
        return reduce_elements<T, AtomicOp::kInc>;
      case AtomicOp::kDec:
        return reduce_elements<T, AtomicOp::kDec>;
      case AtomicOp::kAnd:
        return reduce_elements<T, AtomicOp::kAnd>;
      case AtomicOp::kOr:
        return reduce_elements<T, AtomicOp::kOr>;
      case AtomicOp::kXor:
        return reduce_elements<T, AtomicOp::kXor>;
      default:
        break;
    }
  }
  return nullptr;
}

// nullptr: there is no such operation on the type.
inline Reduce find_reduce(AtomicOp operation, BulkType type) {
  switch (type) {
    case BulkType::kU32:
      return find_reduce_of<u32>(operation);
    case BulkType::kS32:
      return find_reduce_of<s32>(operation);
    case BulkType::kU64:
      return find_reduce_of<u64>(operation);
    case BulkType::kS64:
      return find_reduce_of<s64>(operation);
    case BulkType::kF16:
      return find_reduce_of<Half>(operation);
    case BulkType::kBf16:
      return find_reduce_of<Bfloat>(operation);
    case BulkType::kF32:
      return find_reduce_of<float>(operation);
    case BulkType::kF64:
      return find_reduce_of<double>(operation);
    case BulkType::kNone:
      return nullptr;
  }
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
