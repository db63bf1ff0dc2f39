// What the decoder tells the handlers of the rarer matrix instructions; lies at the start of
// Op::list, the registers behind it.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

// Which elements of A are there, of each chunk of a row.
enum class Sparsity : u32 { kNone, kTwoOfFour, kOneOfTwo, kFourOfEight };
enum class ScaleFormat : u32 { kUe8m0, kUe4m3 };
struct ScaleOperand {
  Slot data, byte, thread;
};

// Then: registers of D, A, B, C.
struct MmaPlan {
  u32 rows, depth;  // of A as a full matrix
  u32 bits;         // of an element in its register
  MatrixInput a, b;
  MatrixSum d, c;
  u32 saturate;
  u32 a_columns, b_columns;  // layouts of the Volta shape
  Sparsity sparsity;
  u32 selector;
  Slot metadata;
  u32 scales;  // per row of A and column of B; 0: none
  ScaleFormat scale_format;
  ScaleOperand scale_a, scale_b;
};
static_assert(sizeof(MmaPlan) % sizeof(u32) == 0);

// Of wmma: a whole matrix in row-major order over the registers' lanes (column-major where
// `columns` says so), given twice where PTX has more registers than it needs.
struct FragmentPlan {
  u32 rows, columns;     // of the matrix
  u32 bits;              // of an element
  u32 registers;         // that PTX has
  u32 register_bits;     // 32 or 64
  u32 memory_columns;    // the matrix lies column by column in memory
  u32 register_columns;  // and in registers
  Slot stride;           // elements from one row (or column) to the next; kNoSlot: none between
};
static_assert(sizeof(FragmentPlan) % sizeof(u32) == 0);

struct WmmaPlan {
  u32 rows, columns, depth;
  MatrixInput a, b;
  MatrixSum d, c;
  u32 saturate;
  u32 d_registers, a_registers, b_registers;
};
static_assert(sizeof(WmmaPlan) % sizeof(u32) == 0);

}  // namespace farcall::softgpu
