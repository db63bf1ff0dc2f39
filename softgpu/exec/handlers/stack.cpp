#include "softgpu/exec/handlers/stack.h"

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

u64 end_of_stack(const Warp& warp, int lane) {
  return warp.local_base + u64{warp.block->run->stack_bytes} * static_cast<u64>(lane + 1);
}

}  // namespace

void stack_begin(Warp& warp, const Op& op, u32 mask) {
  auto* const top = lanes<u64>(warp, op.c);
  for_each_lane(mask, [&](int lane) { top[lane] = end_of_stack(warp, lane); });
}

void stack_take(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const auto* const bytes = lanes<u64>(warp, op.a);
  auto* const top = lanes<u64>(warp, op.c);
  auto* const d = lanes<u64>(warp, op.d);
  for_each_lane(mask, [&](int lane) {
    const u64 lowest = end_of_stack(warp, lane) - kAllocaBytes;
    const u64 wanted = bytes[lane], room = top[lane] - lowest;
    const u64 at = (top[lane] - wanted) & ~static_cast<u64>(op.imm - 1);
    if (wanted > room || at < lowest)
      raise_fault(warp, op, lane, Fault::Kind::kStackOverflow, at, nullptr);
    d[lane] = top[lane] = at;
  });
}

void stack_restore(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  warp.current_mask = mask;
  const auto* const a = lanes<u64>(warp, op.a);
  auto* const top = lanes<u64>(warp, op.c);
  for_each_lane(mask, [&](int lane) {
    if (end_of_stack(warp, lane) - a[lane] > kAllocaBytes)
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, a[lane],
                  "stackrestore of what is no place in the stack");
    top[lane] = a[lane];
  });
}

}  // namespace farcall::softgpu
