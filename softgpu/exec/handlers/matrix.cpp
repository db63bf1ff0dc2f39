// mma, and matrices of 16-bit elements in shared memory. A fragment's layout is a rule of the PTX
// manual: with P elements to a register, g = lane / 4 and t = lane % 4, register r of A holds row g
// + 8 * (r & 1), columns t * P + 4 * P * (r >> 1) and following; of B rows t * P + 4 * P * r and
// following, column g; accumulators hold row g + 8 * (r >> 1), column 2 * t + (r & 1).
//
// Products of the inputs are exact in double, where the sums are formed too and rounded once at the
// end: no less exact than hardware, which adds in an order and a width of its own.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

constexpr int kRowsMax = 16, kColumns = 8, kDepthMax = 64;

template <class T>
struct Accumulators {
  alignas(64) T value[kRowsMax][kColumns];
};

// One element of a register of several.
template <MatrixInput Input>
[[gnu::always_inline]] inline auto element(u32 bits, int index) {
  if constexpr (Input == MatrixInput::kF16) {
    return static_cast<double>(to_float(Half{static_cast<u16>(bits >> (16 * index))}));
  } else if constexpr (Input == MatrixInput::kBf16) {
    return static_cast<double>(to_float(Bfloat{static_cast<u16>(bits >> (16 * index))}));
  } else if constexpr (Input == MatrixInput::kTf32) {
    // Lower bits of the register are ignored.
    return static_cast<double>(bit_cast<float>(bits & ~u32{0x1fff}));
  } else if constexpr (Input == MatrixInput::kS8) {
    return s64{static_cast<s8>(bits >> (8 * index))};
  } else if constexpr (Input == MatrixInput::kU8) {
    return s64{static_cast<u8>(bits >> (8 * index))};
  } else if constexpr (Input == MatrixInput::kS4) {
    return s64{static_cast<s32>(bits << (28 - 4 * index)) >> 28};
  } else {
    static_assert(Input == MatrixInput::kU4);
    return static_cast<s64>(bits >> (4 * index) & 15);
  }
}
template <MatrixInput Input>
constexpr int kElements = Input == MatrixInput::kF16 || Input == MatrixInput::kBf16 ? 2
                          : Input == MatrixInput::kTf32                             ? 1
                          : Input == MatrixInput::kS8 || Input == MatrixInput::kU8  ? 4
                                                                                    : 8;

// Op::list: registers of D, A, B, C, one after the other.
struct Registers {
  const u32 *d, *a, *b, *c;
};

template <class T>
void multiply_add(Accumulators<T>& sum, const T (&a)[kRowsMax][kDepthMax],
                  const T (&b)[kDepthMax][kColumns], int rows, int depth) {
  for (int i = 0; i < rows; ++i) {
    for (int k = 0; k < depth; ++k) {
      for (int j = 0; j < kColumns; ++j) sum.value[i][j] += a[i][k] * b[k][j];
    }
  }
}

template <MatrixInput A, MatrixInput B, class T>
void load_inputs(Warp& warp, const Registers& registers, int rows, int depth,
                 T (&a)[kRowsMax][kDepthMax], T (&b)[kDepthMax][kColumns]) {
  constexpr int kPer = kElements<A>;
  const int per_row = rows / 8;  // registers before the columns go on
  const int a_count = rows * depth / kPer / kLanes, b_count = kColumns * depth / kPer / kLanes;
  for (int r = 0; r < a_count; ++r) {
    const auto* from = lanes<u32>(warp, registers.a[r]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4 + 8 * (r % per_row),
                column = lane % 4 * kPer + 4 * kPer * (r / per_row);
      for (int e = 0; e < kPer; ++e) a[row][column + e] = element<A>(from[lane], e);
    }
  }
  for (int r = 0; r < b_count; ++r) {
    const auto* from = lanes<u32>(warp, registers.b[r]);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int e = 0; e < kPer; ++e)
        b[lane % 4 * kPer + 4 * kPer * r + e][lane / 4] = element<B>(from[lane], e);
    }
  }
}

// Calls f(register, lane, row, column) for the accumulators of a type of 32 or 64 bits.
template <class F>
void for_each_accumulator(int rows, F f) {
  for (int r = 0; r < rows / 4; ++r) {
    for (int lane = 0; lane < kLanes; ++lane)
      f(r, lane, lane / 4 + 8 * (r >> 1), lane % 4 * 2 + (r & 1));
  }
}

// Op::imm: depth; Op::count: rows; Op::flags bit 0: saturate.
template <MatrixInput Input, bool HalfSums>
void mma_float(Warp& warp, const Op& op, u32) {
  const int rows = op.count, depth = static_cast<int>(op.imm);
  const int sums = HalfSums ? rows / 8 : rows / 4;
  Registers registers{op.list, op.list + sums, nullptr, nullptr};
  registers.b = registers.a + rows * depth / kElements<Input> / kLanes;
  registers.c = registers.b + kColumns * depth / kElements<Input> / kLanes;
  double a[kRowsMax][kDepthMax], b[kDepthMax][kColumns];
  Accumulators<double> sum;
  load_inputs<Input, Input>(warp, registers, rows, depth, a, b);
  for_each_accumulator(rows, [&](int r, int lane, int row, int column) {
    if constexpr (HalfSums) {
      const u32 pair = lanes<u32>(warp, registers.c[r >> 1])[lane];
      sum.value[row][column] = to_float(Half{static_cast<u16>(pair >> (16 * (r & 1)))});
    } else {
      sum.value[row][column] = lanes<float>(warp, registers.c[r])[lane];
    }
  });
  multiply_add(sum, a, b, rows, depth);
  for_each_accumulator(rows, [&](int r, int lane, int row, int column) {
    if constexpr (HalfSums) {
      auto& pair = lanes<u32>(warp, registers.d[r >> 1])[lane];
      const u32 bits = from_double<Half>(sum.value[row][column]).bits;
      pair = (r & 1) == 0 ? (pair & 0xffff'0000) | bits : (pair & 0xffff) | bits << 16;
    } else {
      lanes<float>(warp, registers.d[r])[lane] =
          canonical(static_cast<float>(sum.value[row][column]));
    }
  });
}

void mma_double(Warp& warp, const Op& op, u32) {
  const int rows = op.count, depth = static_cast<int>(op.imm);
  const u32* const d = op.list;
  const u32* const from_a = d + rows / 4;
  const u32* const from_b = from_a + rows * depth / kLanes;
  const u32* const c = from_b + kColumns * depth / kLanes;
  double a[kRowsMax][kDepthMax], b[kDepthMax][kColumns];
  for (int r = 0; r < rows * depth / kLanes; ++r) {
    for (int lane = 0; lane < kLanes; ++lane) {
      a[lane / 4 + 8 * (r % (rows / 8))][lane % 4 + 4 * (r / (rows / 8))] =
          lanes<double>(warp, from_a[r])[lane];
    }
  }
  for (int r = 0; r < kColumns * depth / kLanes; ++r) {
    for (int lane = 0; lane < kLanes; ++lane)
      b[lane % 4 + 4 * r][lane / 4] = lanes<double>(warp, from_b[r])[lane];
  }
  Accumulators<double> sum;
  for_each_accumulator(rows, [&](int r, int lane, int row, int column) {
    sum.value[row][column] = lanes<double>(warp, c[r])[lane];
  });
  for (int i = 0; i < rows; ++i) {
    for (int k = 0; k < depth; ++k) {
      for (int j = 0; j < kColumns; ++j)
        sum.value[i][j] = __builtin_fma(a[i][k], b[k][j], sum.value[i][j]);
    }
  }
  for_each_accumulator(rows, [&](int r, int lane, int row, int column) {
    lanes<double>(warp, d[r])[lane] = sum.value[row][column];
  });
}

template <MatrixInput A, MatrixInput B>
void mma_integer(Warp& warp, const Op& op, u32) {
  const int rows = op.count, depth = static_cast<int>(op.imm);
  Registers registers{op.list, op.list + rows / 4, nullptr, nullptr};
  registers.b = registers.a + rows * depth / kElements<A> / kLanes;
  registers.c = registers.b + kColumns * depth / kElements<B> / kLanes;
  s64 a[kRowsMax][kDepthMax], b[kDepthMax][kColumns];
  Accumulators<s64> sum;
  load_inputs<A, B>(warp, registers, rows, depth, a, b);
  for_each_accumulator(rows, [&](int r, int lane, int row, int column) {
    sum.value[row][column] = lanes<s32>(warp, registers.c[r])[lane];
  });
  multiply_add(sum, a, b, rows, depth);
  for_each_accumulator(rows, [&](int r, int lane, int row, int column) {
    s64 v = sum.value[row][column];
    if ((op.flags & 1) != 0)
      v = v > 0x7fff'ffff ? 0x7fff'ffff : v < -0x8000'0000LL ? -0x8000'0000LL : v;
    lanes<s32>(warp, registers.d[r])[lane] = static_cast<s32>(v);
  });
}

// 8x8 matrices of 16-bit elements: lanes 8k to 8k + 7 name the rows of matrix k, register k gets
// two elements. Op::flags: AddressKind, Op::count: matrices.
u8* row_address(Warp& warp, const Op& op, int lane) {
  return checked_address(warp, op, lane,
                         lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane),
                         16);
}
template <bool Transposed>
void load_matrix(Warp& warp, const Op& op, u32) {
  warp.current = &op;
  warp.current_mask = kAllLanes;
  u16 matrix[4][8][8];
  for (int k = 0; k < op.count; ++k) {
    for (int row = 0; row < 8; ++row)
      __builtin_memcpy(matrix[k][row], row_address(warp, op, 8 * k + row), 16);
  }
  for (int k = 0; k < op.count; ++k) {
    auto* d = lanes<u32>(warp, op.list[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      d[lane] = Transposed ? matrix[k][column][row] | u32{matrix[k][column + 1][row]} << 16
                           : matrix[k][row][column] | u32{matrix[k][row][column + 1]} << 16;
    }
  }
}
template <bool Transposed>
void store_matrix(Warp& warp, const Op& op, u32) {
  warp.current = &op;
  warp.current_mask = kAllLanes;
  for (int k = 0; k < op.count; ++k) {
    u16 matrix[8][8];
    const auto* from = lanes<u32>(warp, op.list[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int e = 0; e < 2; ++e) {
        const int row = lane / 4, column = lane % 4 * 2 + e;
        (Transposed ? matrix[column][row] : matrix[row][column]) =
            static_cast<u16>(from[lane] >> (16 * e));
      }
    }
    for (int row = 0; row < 8; ++row)
      __builtin_memcpy(row_address(warp, op, 8 * k + row), matrix[row], 16);
  }
}

void transpose_matrix(Warp& warp, const Op& op, u32) {
  u32 from[kLanes];
  __builtin_memcpy(from, lanes<u32>(warp, op.a), sizeof from);
  auto* d = lanes<u32>(warp, op.d);
  auto at = [&](int row, int column) {
    return from[row * 4 + column / 2] >> (16 * (column & 1)) & 0xffff;
  };
  for (int lane = 0; lane < kLanes; ++lane) {
    const int row = lane / 4, column = lane % 4 * 2;
    d[lane] = at(column, row) | at(column + 1, row) << 16;
  }
}

}  // namespace

Handler find_mma(MatrixInput a, MatrixInput b, MatrixSum sum) {
  using I = MatrixInput;
  if (sum == MatrixSum::kF64) return a == I::kF64 && b == I::kF64 ? mma_double : nullptr;
  if (sum == MatrixSum::kS32) {
    if (a == I::kS8)
      return b == I::kS8   ? mma_integer<I::kS8, I::kS8>
             : b == I::kU8 ? mma_integer<I::kS8, I::kU8>
                           : nullptr;
    if (a == I::kU8)
      return b == I::kS8   ? mma_integer<I::kU8, I::kS8>
             : b == I::kU8 ? mma_integer<I::kU8, I::kU8>
                           : nullptr;
    if (a == I::kS4)
      return b == I::kS4   ? mma_integer<I::kS4, I::kS4>
             : b == I::kU4 ? mma_integer<I::kS4, I::kU4>
                           : nullptr;
    if (a == I::kU4)
      return b == I::kS4   ? mma_integer<I::kU4, I::kS4>
             : b == I::kU4 ? mma_integer<I::kU4, I::kU4>
                           : nullptr;
    return nullptr;
  }
  if (a != b) return nullptr;
  if (sum == MatrixSum::kF16) return a == I::kF16 ? mma_float<I::kF16, true> : nullptr;
  switch (a) {
    case I::kF16:
      return mma_float<I::kF16, false>;
    case I::kBf16:
      return mma_float<I::kBf16, false>;
    case I::kTf32:
      return mma_float<I::kTf32, false>;
    default:
      return nullptr;
  }
}
Handler find_matrix_move(MatrixMove move) {
  switch (move) {
    case MatrixMove::kLoad:
      return load_matrix<false>;
    case MatrixMove::kLoadTransposed:
      return load_matrix<true>;
    case MatrixMove::kStore:
      return store_matrix<false>;
    case MatrixMove::kStoreTransposed:
      return store_matrix<true>;
    case MatrixMove::kTranspose:
      return transpose_matrix;
  }
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
