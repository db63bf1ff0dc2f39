// Asynchronous copies, done at once.
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

template <u32 Size>
void copy(Warp& warp, const Op& op, u32 mask) {
  const auto* const from = lanes<u64>(warp, op.b);
  const u64 offset = static_cast<u64>(s64{static_cast<s32>(op.list[kCopyOffset])});
  const u32 ignored = op.count == 0 ? 0 : predicate(warp, op.ps, op.list[kCopyNegated] != 0);
  const Slot sizes = op.list[kCopyBytes];
  const bool plain = ignored == 0 && sizes == kNoSlot;
  for_each_lane(mask, [&](int lane) {
    const u64 to = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
    u8* const d = checked_shared_address(warp, op, lane, to, Size, Access::kWrite);
    if (plain) {
      const u64 address = from[lane] + offset;
      __builtin_memcpy(d, checked_address(warp, op, lane, address, Size, Access::kRead), Size);
      return;
    }
    u32 bytes = Size;
    if (sizes != kNoSlot) {
      bytes = lanes<u32>(warp, sizes)[lane];
      if (bytes > Size) {
        raise_fault(warp, op, lane, Fault::Kind::kIllegalInstruction, 0,
                    "cp.async of more bytes than its size");
      }
    }
    if ((ignored >> lane & 1) != 0) bytes = 0;
    u8 value[Size] = {};
    // The source is not touched when nothing of it is wanted: it may point anywhere.
    if (bytes != 0) {
      const u64 address = from[lane] + offset;
      if ((address & (Size - 1)) != 0)
        raise_fault(warp, op, lane, Fault::Kind::kMisaligned, address, nullptr);
      __builtin_memcpy(value, checked_range(warp, op, lane, address, bytes, Access::kRead), bytes);
    }
    __builtin_memcpy(d, value, Size);
  });
}

}  // namespace

void copy_async(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  switch (op.list[kCopySize]) {
    case 4:
      return copy<4>(warp, op, mask);
    case 8:
      return copy<8>(warp, op, mask);
    default:
      return copy<16>(warp, op, mask);
  }
}

}  // namespace farcall::softgpu
