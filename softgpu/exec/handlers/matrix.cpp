// ldmatrix, stmatrix, movmatrix: matrices between shared memory and fragments of mma. With t = lane
// % 4 and g = lane / 4, a matrix of 8 x 8 elements of 16 bits has two to a lane: row g, columns 2 t
// and 2 t + 1. Bytes come as 16 x 16, by columns: a lane's two registers have rows 4 t to 4 t + 3
// of columns g and g + 8.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

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
    if (!Transposed) {  // the lanes' pairs follow each other as in memory
      __builtin_memcpy(d, matrix[k], sizeof matrix[k]);
      continue;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      d[lane] = matrix[k][column][row] | u32{matrix[k][column + 1][row]} << 16;
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

// Rows of 16 elements of 8, 6 or 4 bits (Op::ps), packed from the low end of 16 bytes.
void unpack_row(const u8* from, u32 bits, u8* to) {
  u64 words[2];
  __builtin_memcpy(words, from, sizeof words);
  for (u32 i = 0; i < 16; ++i) {
    const u32 at = i * bits;
    u64 v = words[at / 64] >> (at % 64);
    if (at % 64 + bits > 64) v |= words[1] << (64 - at % 64);
    to[i] = static_cast<u8>(v & ((u64{1} << bits) - 1));
  }
}

void load_bytes_transposed(Warp& warp, const Op& op, u32) {
  warp.current = &op;
  warp.current_mask = kAllLanes;
  u8 matrix[2][16][16];
  for (int k = 0; k < op.count; ++k) {
    for (int row = 0; row < 16; ++row)
      unpack_row(row_address(warp, op, 16 * k + row), op.ps, matrix[k][row]);
  }
  for (int r = 0; r < 2 * op.count; ++r) {
    auto* d = lanes<u32>(warp, op.list[r]);
    for (int lane = 0; lane < kLanes; ++lane) {
      u32 v = 0;
      for (int e = 0; e < 4; ++e)
        v |= u32{matrix[r / 2][lane % 4 * 4 + e][lane / 4 + 8 * (r % 2)]} << (8 * e);
      d[lane] = v;
    }
  }
}
// 8 x 16, by rows: a lane has four elements of row g.
void load_unpacked(Warp& warp, const Op& op, u32) {
  warp.current = &op;
  warp.current_mask = kAllLanes;
  u8 matrix[4][8][16];
  for (int k = 0; k < op.count; ++k) {
    for (int row = 0; row < 8; ++row)
      unpack_row(row_address(warp, op, 8 * k + row), op.ps, matrix[k][row]);
  }
  for (int k = 0; k < op.count; ++k) {
    for (int lane = 0; lane < kLanes; ++lane)
      __builtin_memcpy(&lanes<u32>(warp, op.list[k])[lane], &matrix[k][lane / 4][lane % 4 * 4], 4);
  }
}
// A fragment of 16 x 8 bytes as accumulators have it: row g of columns 2 t and 2 t + 1, then row
// g + 8. Memory gets a row for each column.
void store_bytes_transposed(Warp& warp, const Op& op, u32) {
  warp.current = &op;
  warp.current_mask = kAllLanes;
  for (int k = 0; k < op.count; ++k) {
    u8 matrix[8][16];
    const auto* from = lanes<u32>(warp, op.list[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int e = 0; e < 4; ++e)
        matrix[lane % 4 * 2 + e % 2][lane / 4 + 8 * (e / 2)] =
            static_cast<u8>(from[lane] >> (8 * e));
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
    case MatrixMove::kLoadBytesTransposed:
      return load_bytes_transposed;
    case MatrixMove::kLoadUnpacked:
      return load_unpacked;
    case MatrixMove::kStoreBytesTransposed:
      return store_bytes_transposed;
  }
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
