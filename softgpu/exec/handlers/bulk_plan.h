// What the decoder tells the handlers of bulk copies; lies in Op::list. All addresses are generic
// ones: those of shared memory have been turned into such.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

struct BulkAddress {
  Slot slot;
  s32 offset;
};

enum class BulkType : u32 { kU32, kS32, kU64, kS64, kF16, kBf16, kF32, kF64, kNone };

struct BulkPlan {
  BulkAddress to, from;
  Slot size;
  BulkAddress barrier;  // slot kNoSlot: none
  Slot blocks;          // of the cluster that get a copy; kNoSlot: where `to` is
  Slot bytes;           // which of each 16 are copied; kNoSlot: all
  u32 reduces;
  AtomicOp operation;
  BulkType type;
};
static_assert(sizeof(BulkPlan) % sizeof(u32) == 0);

enum class TensorDirection : u32 { kLoad, kStore, kReduce };

// A box of a tensor.
struct TensorPlan {
  TensorDirection direction;
  BulkAddress map, shared, barrier;
  Slot blocks;
  u32 coordinates;
  Slot coordinate[5];
  u32 rows;     // tile::gather4, tile::scatter4: of a tensor of two dimensions, each by its index
  u32 offsets;  // im2col: within the box of pixels
  Slot offset[3];
  AtomicOp operation;
};
static_assert(sizeof(TensorPlan) % sizeof(u32) == 0);

}  // namespace farcall::softgpu
