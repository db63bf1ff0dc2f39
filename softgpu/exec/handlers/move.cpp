// mov between one register and several: {a, b} packs and unpacks, lowest element first.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

// Elements of 8, 16 or 32 bits, each in a 32-bit slot; Op::list holds them.
template <class Whole, int Count, int kBits = 8 * sizeof(Whole) / Count>
void unpack(Warp& warp, const Op& op, u32 mask) {
  constexpr u32 kElement = kBits == 32 ? kAllLanes : (u32{1} << (kBits & 31)) - 1;
  Whole whole[kLanes];
  __builtin_memcpy(whole, lanes<Whole>(warp, op.a), sizeof whole);
  for (int k = 0; k < Count; ++k) {
    if (op.list[k] == kNoSlot) continue;
    u32 values[kLanes];
    for (int i = 0; i < kLanes; ++i)
      values[i] = static_cast<u32>(whole[i] >> (k * kBits)) & kElement;
    write_lanes(lanes<u32>(warp, op.list[k]), mask, values);
  }
}
template <class Whole, int Count, int kBits = 8 * sizeof(Whole) / Count>
void pack(Warp& warp, const Op& op, u32 mask) {
  constexpr u32 kElement = kBits == 32 ? kAllLanes : (u32{1} << (kBits & 31)) - 1;
  Whole values[kLanes] = {};
  for (int k = 0; k < Count; ++k) {
    const auto* element = lanes<u32>(warp, op.list[k]);
    for (int i = 0; i < kLanes; ++i)
      values[i] |= static_cast<Whole>(element[i] & kElement) << (k * kBits);
  }
  write_lanes(lanes<Whole>(warp, op.d), mask, values);
}

}  // namespace

Handler find_unpack(unsigned bits, unsigned count) {
  if (bits == 64) return count == 2 ? unpack<u64, 2> : count == 4 ? unpack<u64, 4> : nullptr;
  if (bits == 32) return count == 2 ? unpack<u32, 2> : count == 4 ? unpack<u32, 4> : nullptr;
  if (bits == 16 && count == 2) return unpack<u32, 2, 8>;
  return nullptr;
}
Handler find_pack(unsigned bits, unsigned count) {
  if (bits == 64) return count == 2 ? pack<u64, 2> : count == 4 ? pack<u64, 4> : nullptr;
  if (bits == 32) return count == 2 ? pack<u32, 2> : count == 4 ? pack<u32, 4> : nullptr;
  if (bits == 16 && count == 2) return pack<u32, 2, 8>;
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
