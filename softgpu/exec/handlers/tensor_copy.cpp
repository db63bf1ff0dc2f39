// Copies of boxes of tensors between global and shared memory, and changes to tensor maps
// (exec/tensor_map.h).
//
// A box lies in shared memory without gaps, rows of the first dimension one after the other. A
// swizzle exchanges its 16-byte chunks: bits of the address from 4 on are combined with those from
// 7 on, so the pattern belongs to the memory, not to the box. Elements outside of the tensor are
// filled when loading, left alone when storing; the barrier hears of the whole box.
#include "softgpu/exec/handlers/bulk_inl.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/reduce_memory_inl.h"
#include "softgpu/exec/tensor_map.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

constexpr u32 kRowBytesMax = 256 * 8;
constexpr u32 kChunk = 16;

u64 swizzled(TensorSwizzle swizzle, u64 address) {
  const auto bits = static_cast<u32>(swizzle);  // of the address that change
  return address ^ ((address >> 7 & ((u64{1} << bits) - 1)) << 4);
}

void fill_outside(const TensorMap& map, u8* row, u32 bytes) {
  u64 pattern = 0;
  const u32 size = element_bytes(map.type);
  if (map.fill_nan != 0) pattern = size == 2 ? 0x7fff : size == 4 ? 0x7fff'ffff : ~u64{0} >> 1;
  for (u32 i = 0; i < bytes; i += size) __builtin_memcpy(row + i, &pattern, size);
}

BulkType reduced_type(TensorType type) {
  switch (type) {
    case TensorType::kU32:
      return BulkType::kU32;
    case TensorType::kS32:
      return BulkType::kS32;
    case TensorType::kU64:
      return BulkType::kU64;
    case TensorType::kS64:
      return BulkType::kS64;
    case TensorType::kF16:
      return BulkType::kF16;
    case TensorType::kBf16:
      return BulkType::kBf16;
    case TensorType::kF32:
    case TensorType::kF32Ftz:
      return BulkType::kF32;
    case TensorType::kF64:
      return BulkType::kF64;
    default:
      return BulkType::kNone;
  }
}

// One copy by one lane.
class TensorCopy {
 public:
  TensorCopy(Warp& warp, const Op& op, const TensorPlan& plan, int lane)
      : warp_(warp), op_(op), plan_(plan), lane_(lane) {
    const u64 address = bulk_lane_address(warp, plan.map, lane);
    require_alignment(warp, op, lane, address, 64);
    __builtin_memcpy(&map_, checked_range(warp, op, lane, address, sizeof map_, Access::kRead),
                     sizeof map_);
    if (map_.magic != TensorMap::kMagic || map_.rank < 1 || map_.rank > TensorMap::kRankMax)
      fail("no tensor map at this address", address);
    if (map_.rank != op.count) fail("the tensor map has another number of dimensions", address);
    if ((map_.mode == TensorMode::kIm2col) != (plan.offsets != 0) &&
        plan.direction == TensorDirection::kLoad) {
      fail("the tensor map is of another mode", address);
    }
    for (u32 i = 0; i < plan.coordinates; ++i)
      coordinate_[i] = static_cast<s32>(lanes<u32>(warp, plan.coordinate[i])[lane]);
    if (plan.direction == TensorDirection::kReduce) {
      reduce_ = find_reduce(plan.operation, reduced_type(map_.type));
      if (reduce_ == nullptr) fail("no such reduction of the tensor's type", address);
    }
    row_elements_ = map_.box[0];
    row_bytes_ = row_elements_ * element_bytes(map_.type);
    if (row_bytes_ == 0 || row_bytes_ > kRowBytesMax || row_bytes_ % kChunk != 0)
      fail("rows of the box that are no multiple of 16 bytes", address);
  }

  // To or from the box at `shared`. Returns its bytes.
  u32 run(u64 shared) {
    require_alignment(warp_, op_, lane_, shared, 128);
    shared_ = shared;
    rows_ = 0;
    if (map_.mode == TensorMode::kIm2col)
      run_pixels();
    else if (plan_.rows != 0)
      run_single_rows();
    else
      run_tile();
    return rows_ * row_bytes_;
  }

 private:
  [[noreturn]] void fail(const char* what, u64 address) {
    raise_fault(warp_, op_, lane_, Fault::Kind::kIllegalInstruction, address, what);
  }

  void run_tile() {
    u32 count[TensorMap::kRankMax] = {1, 1, 1, 1, 1}, index[TensorMap::kRankMax] = {};
    for (u32 d = 1; d < map_.rank; ++d) {
      const u32 step = map_.element_stride[d];
      count[d] = (map_.box[d] + step - 1) / step;
    }
    for (;;) {
      s64 at[TensorMap::kRankMax] = {};
      for (u32 d = 0; d < map_.rank; ++d)
        at[d] = s64{coordinate_[d]} + s64{index[d]} * map_.element_stride[d];
      row(at);
      u32 d = 1;
      while (d < map_.rank && ++index[d] == count[d]) index[d++] = 0;
      if (d >= map_.rank) return;
    }
  }

  void run_single_rows() {
    for (u32 i = 0; i < plan_.rows; ++i) {
      const s64 at[TensorMap::kRankMax] = {coordinate_[0], coordinate_[1 + i]};
      row(at);
    }
  }

  // Pixels from the given one on, row by row of the box between the corners, then of the next
  // image; each displaced by the offsets.
  void run_pixels() {
    const u32 spatial = map_.rank - 2u;
    s64 pixel[TensorMap::kRankMax];
    for (u32 d = 0; d < map_.rank; ++d) pixel[d] = coordinate_[d];
    for (u32 k = 0; k < map_.box[1]; ++k) {
      s64 at[TensorMap::kRankMax];
      for (u32 d = 0; d < map_.rank; ++d) at[d] = pixel[d];
      for (u32 i = 0; i < plan_.offsets; ++i)
        at[1 + i] += static_cast<u16>(lanes<u32>(warp_, plan_.offset[i])[lane_]);
      row(at);
      u32 i = 0;
      for (; i < spatial; ++i) {
        pixel[1 + i] += map_.element_stride[1 + i];
        if (pixel[1 + i] <= s64{map_.last[1 + i]} + map_.upper[i]) break;
        pixel[1 + i] = map_.lower[i];
      }
      if (i == spatial) ++pixel[map_.rank - 1];
    }
  }

  // The next row of the box, whose first element is at these coordinates.
  void row(const s64* at) {
    const u32 size = element_bytes(map_.type);
    u64 address = map_.address;
    bool inside = true;
    for (u32 d = 1; d < map_.rank; ++d) {
      inside &= at[d] >= 0 && at[d] <= s64{map_.last[d]};
      address += static_cast<u64>(at[d]) * map_.stride[d - 1];
    }
    // Elements first <= i < end of the row are in the tensor.
    const s64 first = at[0] < 0 ? -at[0] : 0;
    s64 end = s64{map_.last[0]} + 1 - at[0];
    end = end > row_elements_ ? s64{row_elements_} : end;
    inside &= first < end;
    const u32 skipped = static_cast<u32>(first) * size;
    const u32 bytes = inside ? static_cast<u32>(end - first) * size : 0;
    address += static_cast<u64>(at[0] + first) * size;
    alignas(16) u8 values[kRowBytesMax];
    if (plan_.direction == TensorDirection::kLoad) {
      fill_outside(map_, values, row_bytes_);
      if (inside) {
        __builtin_memcpy(values + skipped,
                         checked_range(warp_, op_, lane_, address, bytes, Access::kRead), bytes);
      }
      for_each_chunk(
          [&](u8* chunk, u32 offset) { __builtin_memcpy(chunk, values + offset, kChunk); });
    } else {
      for_each_chunk(
          [&](const u8* chunk, u32 offset) { __builtin_memcpy(values + offset, chunk, kChunk); });
      if (inside) {
        u8* const to = checked_range(warp_, op_, lane_, address, bytes,
                                     reduce_ != nullptr ? Access::kAtomic : Access::kWrite);
        if (reduce_ != nullptr)
          reduce_(to, values + skipped, bytes / size);
        else
          __builtin_memcpy(to, values + skipped, bytes);
      }
    }
    ++rows_;
  }

  // Those of the row in shared memory: f(host address, offset in the row).
  template <class F>
  void for_each_chunk(F f) {
    const u64 start = shared_ + u64{rows_} * row_bytes_;
    for (u32 offset = 0; offset < row_bytes_; offset += kChunk) {
      const u64 address = swizzled(map_.swizzle, start + offset);
      u8* const host =
          checked_range(warp_, op_, lane_, address, kChunk,
                        plan_.direction == TensorDirection::kLoad ? Access::kWrite : Access::kRead);
      if (!is_shared_of_cluster(warp_, address))
        raise_fault(warp_, op_, lane_, Fault::Kind::kIllegalAddress, address,
                    "outside of shared memory");
      f(host, offset);
    }
  }

  Warp& warp_;
  const Op& op_;
  const TensorPlan& plan_;
  const int lane_;
  TensorMap map_;
  s32 coordinate_[TensorMap::kRankMax] = {};
  Reduce reduce_ = nullptr;
  u32 row_elements_ = 0, row_bytes_ = 0;
  u64 shared_ = 0;
  u32 rows_ = 0;  // done
};

}  // namespace

void tensor_copy(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  TensorPlan plan;
  __builtin_memcpy(&plan, op.list, sizeof plan);
  for_each_lane(mask, [&](int lane) {
    TensorCopy copy(warp, op, plan, lane);
    const u64 shared = bulk_lane_address(warp, plan.shared, lane);
    auto run = [&](u64 distance) {
      const u32 bytes = copy.run(shared + distance);
      if (plan.barrier.slot == kNoSlot) return;
      complete_at(warp, op, lane, bulk_lane_address(warp, plan.barrier, lane) + distance, bytes);
    };
    if (plan.blocks == kNoSlot) return run(0);
    for_each_block(warp, op, lane, shared, lanes<u32>(warp, plan.blocks)[lane] & 0xffff, run);
  });
}

// All lanes have the same addresses.
void copy_tensor_map(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const int lane = __builtin_ctz(mask);
  const u64 to = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane),
            from = lanes<u64>(warp, op.b)[lane];
  require_alignment(warp, op, lane, to, 128);
  require_alignment(warp, op, lane, from, 128);
  __builtin_memcpy(checked_range(warp, op, lane, to, 128, Access::kWrite),
                   checked_range(warp, op, lane, from, 128, Access::kRead), 128);
}

void replace_tensor_field(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const bool wide = op.count == kTensorAddress || op.count == kTensorStride;
  for_each_lane(mask, [&](int lane) {
    const u64 address = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
    require_alignment(warp, op, lane, address, 128);
    u8* const host = checked_range(warp, op, lane, address, sizeof(TensorMap), Access::kAtomic);
    TensorMap map;
    __builtin_memcpy(&map, host, sizeof map);
    auto fail = [&](const char* what) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, address, what);
    };
    if (map.magic != TensorMap::kMagic) fail("no tensor map at this address");
    const u64 value = wide ? lanes<u64>(warp, op.b)[lane] : lanes<u32>(warp, op.b)[lane];
    const u32 index = op.list[0];  // the decoder has checked it
    switch (op.count) {
      case kTensorAddress:
        map.address = value;
        break;
      case kTensorRank:  // one less than the number of dimensions
        if (value >= TensorMap::kRankMax) fail("a tensor of more than five dimensions");
        map.rank = static_cast<u8>(value + 1);
        break;
      case kTensorBox:
        if (value == 0 || value > 256) fail("a box of more than 256 elements, or none");
        map.box[index] = static_cast<u16>(value);
        break;
      case kTensorDimension:
        if (value == 0) fail("a dimension of nothing");
        map.last[index] = static_cast<u32>(value - 1);
        break;
      case kTensorStride:
        if (value % 16 != 0) fail("a stride that is no multiple of 16");
        map.stride[index] = value;
        break;
      case kTensorElementStride:
        if (value == 0 || value > 8) fail("an element stride outside of 1 to 8");
        map.element_stride[index] = static_cast<u8>(value);
        break;
      case kTensorType:
        map.type = static_cast<TensorType>(value);
        break;
      case kTensorSwizzle:
        map.swizzle = static_cast<TensorSwizzle>(value);
        break;
      case kTensorFill:
        map.fill_nan = static_cast<u8>(value);
        break;
      default:
        break;  // only the one value that is supported gets here
    }
    __builtin_memcpy(host, &map, sizeof map);
  });
}

}  // namespace farcall::softgpu
