// wmma. PTX leaves open which lane has which elements of a matrix. Ours are in row-major order: the
// lanes of the first register, then those of the second, and so on, make up the matrix as it would
// lie in memory without gaps (B of elements below a byte by columns). Where PTX has more registers
// than that needs, the matrix is there twice or more often. Loads and stores move and transpose,
// products need no shuffling.
//
// Accumulation is that of mma.cpp: from C, in order of growing k, rounded at each step in float.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/matrix_plan.h"
#include "softgpu/exec/handlers/tables.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

constexpr u32 kElementsMax = 512;  // of the largest matrix, 32 x 16

template <class T>
void transpose(const u8* from, u8* to, u32 lines, u32 length) {
  const auto* source = reinterpret_cast<const typename Aliased<T>::Type*>(from);
  auto* target = reinterpret_cast<typename Aliased<T>::Type*>(to);
  for (u32 i = 0; i < lines; ++i) {
    for (u32 j = 0; j < length; ++j) target[j * lines + i] = source[i * length + j];
  }
}
void transpose(u32 bits, const u8* from, u8* to, u32 lines, u32 length) {
  if (bits == 8) return transpose<u8>(from, to, lines, length);
  if (bits == 16) return transpose<u16>(from, to, lines, length);
  if (bits == 32) return transpose<u32>(from, to, lines, length);
  transpose<u64>(from, to, lines, length);
}

// Calls f(address, bytes, offset in the packed matrix) for each row, or column, in memory.
template <class F>
void for_each_line(Warp& warp, const Op& op, const FragmentPlan& plan, u32 mask, F f) {
  warp.current = &op;
  warp.current_mask = mask;
  const int lane = __builtin_ctz(mask);  // all have the same address
  const u32 lines = plan.memory_columns != 0 ? plan.columns : plan.rows,
            length = plan.memory_columns != 0 ? plan.rows : plan.columns;
  const u64 base = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
  const u64 stride = plan.stride == kNoSlot ? length : lanes<u32>(warp, plan.stride)[lane];
  const u64 alignment = plan.bits >= 8 ? plan.bits / 8 : 4;
  if ((base & (alignment - 1)) != 0)
    raise_fault(warp, op, lane, Fault::Kind::kMisaligned, base, nullptr);
  const u32 bytes = length * plan.bits / 8;
  for (u32 i = 0; i < lines; ++i) {
    const u64 address = base + i * stride * plan.bits / 8;
    f(checked_range(warp, op, lane, address, bytes), bytes, i * bytes);
  }
}

FragmentPlan fragment_plan(const Op& op) {
  FragmentPlan plan;
  __builtin_memcpy(&plan, op.list, sizeof plan);
  return plan;
}
const Slot* fragment_slots(const Op& op) { return op.list + sizeof(FragmentPlan) / sizeof(u32); }

}  // namespace

void wmma_load(Warp& warp, const Op& op, u32 mask) {
  const FragmentPlan plan = fragment_plan(op);
  alignas(64) u8 packed[kElementsMax * 4], turned[kElementsMax * 4];
  for_each_line(warp, op, plan, mask, [&](const u8* from, u32 bytes, u32 offset) {
    __builtin_memcpy(packed + offset, from, bytes);
  });
  const u8* matrix = packed;
  if (plan.memory_columns != plan.register_columns) {
    transpose(plan.bits, packed, turned, plan.memory_columns != 0 ? plan.columns : plan.rows,
              plan.memory_columns != 0 ? plan.rows : plan.columns);
    matrix = turned;
  }
  const u32 register_bytes = plan.register_bits / 8 * kLanes;
  const u32 needed = plan.rows * plan.columns * plan.bits / 8 / register_bytes;
  const Slot* const slots = fragment_slots(op);
  for (u32 r = 0; r < plan.registers; ++r)
    __builtin_memcpy(lanes<u32>(warp, slots[r]), matrix + r % needed * register_bytes,
                     register_bytes);
}

void wmma_store(Warp& warp, const Op& op, u32 mask) {
  const FragmentPlan plan = fragment_plan(op);
  alignas(64) u8 packed[kElementsMax * 4], turned[kElementsMax * 4];
  const u32 register_bytes = plan.register_bits / 8 * kLanes;
  const Slot* const slots = fragment_slots(op);
  for (u32 r = 0; r < plan.registers; ++r)
    __builtin_memcpy(packed + r * register_bytes, lanes<u32>(warp, slots[r]), register_bytes);
  const u8* matrix = packed;
  if (plan.memory_columns != 0) {
    transpose(plan.bits, packed, turned, plan.rows, plan.columns);
    matrix = turned;
  }
  for_each_line(warp, op, plan, mask, [&](u8* to, u32 bytes, u32 offset) {
    __builtin_memcpy(to, matrix + offset, bytes);
  });
}

namespace {

// ---- products ----

template <MatrixInput Input>
struct InputOf;
template <>
struct InputOf<MatrixInput::kF16> {
  using Sum = float;
  static void expand(const u8* packed, float* to, u32 count) {
    const auto* from = reinterpret_cast<const Aliased<u16>::Type*>(packed);
    for (u32 i = 0; i < count; ++i) to[i] = to_float(Half{from[i]});
  }
};
template <>
struct InputOf<MatrixInput::kBf16> {
  using Sum = float;
  static void expand(const u8* packed, float* to, u32 count) {
    const auto* from = reinterpret_cast<const Aliased<u16>::Type*>(packed);
    for (u32 i = 0; i < count; ++i) to[i] = to_float(Bfloat{from[i]});
  }
};
template <>
struct InputOf<MatrixInput::kTf32> {
  using Sum = float;
  static void expand(const u8* packed, float* to, u32 count) {
    const auto* from = reinterpret_cast<const Aliased<u32>::Type*>(packed);
    for (u32 i = 0; i < count; ++i) to[i] = bit_cast<float>(from[i] & ~u32{0x1fff});
  }
};
template <>
struct InputOf<MatrixInput::kF64> {
  using Sum = double;
  static void expand(const u8* packed, double* to, u32 count) {
    __builtin_memcpy(to, packed, count * sizeof(double));
  }
};
template <>
struct InputOf<MatrixInput::kS8> {
  using Sum = s32;
  static void expand(const u8* packed, s32* to, u32 count) {
    for (u32 i = 0; i < count; ++i) to[i] = static_cast<s8>(packed[i]);
  }
};
template <>
struct InputOf<MatrixInput::kU8> {
  using Sum = s32;
  static void expand(const u8* packed, s32* to, u32 count) {
    for (u32 i = 0; i < count; ++i) to[i] = packed[i];
  }
};
template <>
struct InputOf<MatrixInput::kS4> {
  using Sum = s32;
  static void expand(const u8* packed, s32* to, u32 count) {
    for (u32 i = 0; i < count; ++i)
      to[i] = static_cast<s8>(static_cast<u8>(packed[i / 2] >> (4 * (i & 1)) << 4)) >> 4;
  }
};
template <>
struct InputOf<MatrixInput::kU4> {
  using Sum = s32;
  static void expand(const u8* packed, s32* to, u32 count) {
    for (u32 i = 0; i < count; ++i) to[i] = packed[i / 2] >> (4 * (i & 1)) & 15;
  }
};

void gather(Warp& warp, const Slot* slots, u32 count, u32 register_bytes, u8* to) {
  for (u32 r = 0; r < count; ++r)
    __builtin_memcpy(to + r * register_bytes, lanes<u32>(warp, slots[r]), register_bytes);
}

struct Operands {
  WmmaPlan plan;
  const Slot *d, *a, *b, *c;
};
Operands operands_of(const Op& op) {
  Operands o;
  __builtin_memcpy(&o.plan, op.list, sizeof o.plan);
  o.d = op.list + sizeof(WmmaPlan) / sizeof(u32);
  o.a = o.d + o.plan.d_registers;
  o.b = o.a + o.plan.a_registers;
  o.c = o.b + o.plan.b_registers;
  return o;
}

s32 saturated(s64 v) {
  return static_cast<s32>(v > 0x7fff'ffff ? 0x7fff'ffff : v < -0x8000'0000LL ? -0x8000'0000LL : v);
}

template <MatrixInput Input>
void multiply(Warp& warp, const Op& op, u32) {
  using Sum = typename InputOf<Input>::Sum;
  const Operands o = operands_of(op);
  const WmmaPlan& plan = o.plan;
  const u32 rows = plan.rows, columns = plan.columns, depth = plan.depth;
  constexpr u32 kRegisterBytes = kSame<Sum, double> ? 256 : 128;
  alignas(64) u8 packed[8 * 256];
  alignas(64) Sum a[kElementsMax], b[kElementsMax], sums[256];
  gather(warp, o.a, plan.a_registers, kRegisterBytes, packed);
  InputOf<Input>::expand(packed, a, rows * depth);
  gather(warp, o.b, plan.b_registers, kRegisterBytes, packed);
  constexpr bool kByColumns = Input == MatrixInput::kS4 || Input == MatrixInput::kU4;
  if constexpr (kByColumns) {
    alignas(64) Sum turned[kElementsMax];
    InputOf<Input>::expand(packed, turned, columns * depth);
    for (u32 j = 0; j < columns; ++j) {
      for (u32 k = 0; k < depth; ++k) b[k * columns + j] = turned[j * depth + k];
    }
  } else {
    InputOf<Input>::expand(packed, b, columns * depth);
  }
  const bool saturate = plan.saturate != 0;
  if (plan.c == MatrixSum::kF16) {
    gather(warp, o.c, 4, 128, packed);
    if constexpr (kSame<Sum, float>) InputOf<MatrixInput::kF16>::expand(packed, sums, 256);
  } else if (saturate) {
    for (Sum& v : sums) v = 0;
  } else {
    const u32 count = rows * columns * static_cast<u32>(sizeof(Sum)) / kRegisterBytes;
    gather(warp, o.c, count, kRegisterBytes, reinterpret_cast<u8*>(sums));
  }
  for (u32 i = 0; i < rows; ++i) {
    for (u32 k = 0; k < depth; ++k) {
      const Sum x = a[i * depth + k];
      Sum* const to = sums + i * columns;
      const Sum* const from = b + k * columns;
      for (u32 j = 0; j < columns; ++j) {
        if constexpr (kSame<Sum, double>)
          to[j] = __builtin_fma(x, from[j], to[j]);
        else if constexpr (kSame<Sum, s32>)
          to[j] = static_cast<s32>(static_cast<u32>(to[j]) + static_cast<u32>(x * from[j]));
        else
          to[j] += x * from[j];
      }
    }
  }
  if constexpr (kSame<Sum, float>) {
    if (plan.d == MatrixSum::kF16) {
      alignas(64) u16 halves[256];
      for (u32 i = 0; i < 256; ++i) halves[i] = to_half(sums[i]).bits;
      for (u32 r = 0; r < plan.d_registers; ++r)
        __builtin_memcpy(lanes<u32>(warp, o.d[r]), halves + 64 * r, 128);
      return;
    }
    for (Sum& v : sums) v = canonical(v);
  }
  if constexpr (kSame<Sum, s32>) {
    for (u32 i = 0; saturate && i < rows * columns; ++i)
      sums[i] = saturated(s64{sums[i]} + lanes<s32>(warp, o.c[i / kLanes])[i % kLanes]);
  }
  // Only now, since D may be registers of the others.
  for (u32 r = 0; r < plan.d_registers; ++r)
    __builtin_memcpy(lanes<Sum>(warp, o.d[r]), sums + kLanes * r, kRegisterBytes);
}

// m8n8k128: a row of A and a column of B are four words each.
template <bool Xor>
void multiply_bits(Warp& warp, const Op& op, u32) {
  const Operands o = operands_of(op);
  u32 a[kLanes], b[kLanes], sums[64];
  __builtin_memcpy(a, lanes<u32>(warp, o.a[0]), sizeof a);
  __builtin_memcpy(b, lanes<u32>(warp, o.b[0]), sizeof b);
  gather(warp, o.c, 2, 128, reinterpret_cast<u8*>(sums));
  for (u32 i = 0; i < 64; ++i) {
    u32 count = 0;
    for (u32 k = 0; k < 4; ++k) {
      const u32 x = a[i / 8 * 4 + k], y = b[i % 8 * 4 + k];
      count += static_cast<u32>(__builtin_popcount(Xor ? x ^ y : x & y));
    }
    sums[i] += count;
  }
  for (u32 r = 0; r < 2; ++r) __builtin_memcpy(lanes<u32>(warp, o.d[r]), sums + kLanes * r, 128);
}

}  // namespace

Handler find_wmma_multiply(MatrixInput input, MatrixSum) {
  switch (input) {
    case MatrixInput::kF16:
      return multiply<MatrixInput::kF16>;
    case MatrixInput::kBf16:
      return multiply<MatrixInput::kBf16>;
    case MatrixInput::kTf32:
      return multiply<MatrixInput::kTf32>;
    case MatrixInput::kF64:
      return multiply<MatrixInput::kF64>;
    case MatrixInput::kS8:
      return multiply<MatrixInput::kS8>;
    case MatrixInput::kU8:
      return multiply<MatrixInput::kU8>;
    case MatrixInput::kS4:
      return multiply<MatrixInput::kS4>;
    case MatrixInput::kU4:
      return multiply<MatrixInput::kU4>;
    case MatrixInput::kB1And:
      return multiply_bits<false>;
    case MatrixInput::kB1Xor:
      return multiply_bits<true>;
    default:
      return nullptr;
  }
}

}  // namespace farcall::softgpu::FARCALL_ISA
