// What an atomic operation computes; also used by redux.
#pragma once

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu::FARCALL_ISA {

template <AtomicOp Operation, class T>
[[gnu::always_inline]] inline T apply_atomic(T old, T value) {
  if constexpr (Operation == AtomicOp::kExch) {
    return value;
  } else if constexpr (kSame<T, Half> || kSame<T, Bfloat>) {
    const float a = to_float(old), b = to_float(value);
    if constexpr (Operation == AtomicOp::kAdd) return from_float<T>(a + b);
    const bool first = Operation == AtomicOp::kMin ? a < b || b != b : a > b || b != b;
    return first ? old : value;
  } else if constexpr (kSame<T, float> || kSame<T, double>) {
    static_assert(Operation == AtomicOp::kAdd);
    return old + value;
  } else {
    using U = Unsigned<T>;
    switch (Operation) {
      case AtomicOp::kAdd:
        return static_cast<T>(static_cast<U>(old) + static_cast<U>(value));
      case AtomicOp::kMin:
        return value < old ? value : old;
      case AtomicOp::kMax:
        return value > old ? value : old;
      case AtomicOp::kInc:
        return old >= value ? T(0) : static_cast<T>(old + 1);
      case AtomicOp::kDec:
        return old == 0 || old > value ? value : static_cast<T>(old - 1);
      case AtomicOp::kAnd:
        return static_cast<T>(old & value);
      case AtomicOp::kOr:
        return static_cast<T>(old | value);
      case AtomicOp::kXor:
        return static_cast<T>(old ^ value);
      case AtomicOp::kExch:
        break;
    }
    return value;
  }
}

}  // namespace farcall::softgpu::FARCALL_ISA
