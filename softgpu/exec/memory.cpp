#include "softgpu/exec/memory.h"

#include "softgpu/exec/check.h"
#include "softgpu/exec/fault.h"

namespace farcall::softgpu {
namespace {

bool contains(u64 base, u64 size, u64 address, u64 bytes) {
  return address - base < size && bytes <= size - (address - base);
}

// Shared memory of the other blocks of the cluster.
bool in_cluster(const Warp& warp, u64 address, u64 bytes) {
  const Cluster& cluster = *warp.block->cluster;
  for (u32 rank = 0; rank < cluster.count; ++rank) {
    const u64 base = reinterpret_cast<u64>(cluster.blocks[rank]->shared.data());
    if (contains(base, warp.shared_bytes, address, bytes)) return true;
  }
  return false;
}

}  // namespace

bool is_shared_of_cluster(const Warp& warp, u64 address) {
  return contains(warp.shared_base, warp.shared_bytes, address, 1) || in_cluster(warp, address, 1);
}

u8* checked_range(Warp& warp, const Op& op, int lane, u64 address, u64 bytes, Access access) {
  const GridRun& run = *warp.block->run;
  const bool ok =
      contains(warp.window_base, run.memory->window_bytes(), address, bytes) ||
      contains(warp.shared_base, warp.shared_bytes, address, bytes) ||
      contains(warp.local_base, warp.local_bytes, address, bytes) ||
      contains(warp.block->params, run.param_bytes, address, bytes) ||
      contains(reinterpret_cast<u64>(&run.workspace), sizeof run.workspace, address, bytes) ||
      in_cluster(warp, address, bytes) || run.memory->host_visible(address, bytes);
  if (!ok) raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address, nullptr);
  if (run.checker != nullptr) [[unlikely]] {
    run.checker->access(warp, op, lane, address, bytes,
                        access == Access::kOfInstruction ? op.access.kind : access);
  }
  return reinterpret_cast<u8*>(address);
}

u8* checked_address(Warp& warp, const Op& op, int lane, u64 address, u32 bytes, Access access) {
  if ((address & (bytes - 1)) != 0)
    raise_fault(warp, op, lane, Fault::Kind::kMisaligned, address, nullptr);
  return checked_range(warp, op, lane, address, bytes, access);
}

u8* checked_shared_address(Warp& warp, const Op& op, int lane, u64 address, u32 bytes,
                           Access access) {
  const bool aligned = (address & (bytes - 1)) == 0;
  if (aligned && !contains(warp.shared_base, warp.shared_bytes, address, bytes))
    raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address, nullptr);
  return checked_address(warp, op, lane, address, bytes, access);
}

u64 lane_address(const Warp& warp, AddressKind kind, Slot slot, s64 offset, int lane) {
  const u8* const registers = warp.base[slot >> 30] + (slot & kSlotOffsetMask);
  const u64 wide = reinterpret_cast<const u64*>(registers)[lane];
  const u32 narrow = reinterpret_cast<const u32*>(registers)[lane];
  switch (kind) {
    case AddressKind::kGeneric:
    case AddressKind::kLocal:
      return wide + static_cast<u64>(offset);
    case AddressKind::kShared32:
      return warp.shared_base + static_cast<u32>(narrow + static_cast<u32>(offset));
    case AddressKind::kShared64:
      return warp.shared_base + wide + static_cast<u64>(offset);
    case AddressKind::kParam:
      return warp.block->params + static_cast<u64>(offset);
  }
  return 0;
}

size_t read_string(Warp& warp, const Op& op, int lane, u64 address, char* out, size_t limit) {
  size_t length = 0;
  while (length + 1 < limit) {
    const char c = *reinterpret_cast<const volatile char*>(
        checked_range(warp, op, lane, address + length, 1, Access::kRead));
    if (c == '\0') break;
    out[length++] = c;
  }
  out[length] = '\0';
  return length;
}

}  // namespace farcall::softgpu
