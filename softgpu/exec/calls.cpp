#include "softgpu/exec/calls.h"

#include <cstring>

#include "softgpu/exec/fault.h"
#include "softgpu/exec/groups.h"

namespace farcall::softgpu {
namespace {

// Splits `part` off the group at `index`, which keeps the rest; they go on at pc, `depth` calls
// deep.
void send(Warp& warp, u32 index, u32 part, u32 pc, u32 depth) {
  Group& group = warp.groups[index];
  if (part == group.mask) {
    group.pc = pc;
    group.depth = depth;
  } else {
    group.mask &= ~part;
    move_lanes(warp, pc, part, depth, group.spins);
  }
}

// Copies the function's registers of one lane to or from its save area.
void save_registers(Warp& warp, const DecodedFunction& function, int lane, u8* area) {
  for (const SavedSlot& saved : function.saved) {
    std::memcpy(area, warp.base[0] + saved.slot + saved.bytes * static_cast<u32>(lane),
                saved.bytes);
    area += saved.bytes;
  }
  for (u32 p = function.first_predicate; p < function.predicate_end; ++p) {
    *area++ = static_cast<u8>(warp.predicates[p] >> lane & 1);
  }
}
void restore_registers(Warp& warp, const DecodedFunction& function, int lane, const u8* area) {
  for (const SavedSlot& saved : function.saved) {
    std::memcpy(warp.base[0] + saved.slot + saved.bytes * static_cast<u32>(lane), area,
                saved.bytes);
    area += saved.bytes;
  }
  for (u32 p = function.first_predicate; p < function.predicate_end; ++p) {
    warp.predicates[p] = (warp.predicates[p] & ~(u32{1} << lane)) | u32{*area++} << lane;
  }
}

void enter_function(Warp& warp, const Op& op, const DecodedFunction& caller,
                    const DecodedFunction& callee, u32 part, u32 return_pc) {
  const u64 stack_bytes = warp.block->run->stack_bytes;
  if (op.count != callee.formals.size() && !callee.undecoded) {
    raise_fault(warp, op, __builtin_ctz(part), Fault::Kind::kIllegalInstruction, 0,
                "call with other parameters than the function has");
  }
  for_each_lane(part, [&](int lane) {
    const u64 caller_frame = lanes64(warp, caller.frame_slot)[lane];
    const u64 save_area = caller_frame + caller.frame_bytes;
    const u64 frame = save_area + callee.save_bytes;
    const u64 stack_end = warp.local_base + stack_bytes * static_cast<u64>(lane + 1);
    if (frame + callee.frame_bytes > stack_end) {
      raise_fault(warp, op, lane, Fault::Kind::kStackOverflow, frame, nullptr);
    }
    if (callee.recursive) save_registers(warp, callee, lane, reinterpret_cast<u8*>(save_area));
    lanes64(warp, callee.frame_slot)[lane] = frame;
    lanes32(warp, callee.return_slot)[lane] = return_pc;
    for (size_t k = 0; k < callee.formals.size(); ++k) {
      lanes64(warp, callee.formals[k])[lane] = caller_frame + op.list[k];
    }
  });
}

}  // namespace

void call(Warp& warp, u32 index, const Op& op, u32 active) {
  const Kernel& kernel = *warp.block->kernel;
  Group& group = warp.groups[index];
  const u32 pc = group.pc;
  u32 part = active, function = op.target;
  if (op.control == Control::kCallIndirect) {
    const u64* const addresses = lanes64(warp, op.a);
    const int first = __builtin_ctz(active);
    const u64 address = addresses[first];
    function =
        address < kernel.function_of_address.size() ? kernel.function_of_address[address] : kNoSlot;
    if (function == kNoSlot) {
      raise_fault(warp, op, first, Fault::Kind::kIllegalAddress, address,
                  "call of what is no function");
    }
    part = 0;
    for_each_lane(active,
                  [&](int lane) { part |= addresses[lane] == address ? u32{1} << lane : 0; });
  }
  const DecodedFunction& callee = kernel.functions[function];
  enter_function(warp, op, kernel.functions[op.imm], callee, part, pc + 1);
  const u32 depth = group.depth, skipped = group.mask & ~active;
  if (skipped != 0) send(warp, index, skipped, pc + 1, depth);
  send(warp, index, part, callee.entry, depth + 1);
}

void return_from_function(Warp& warp, u32 index, const Op& op, u32 active) {
  const DecodedFunction& function = warp.block->kernel->functions[op.target];
  u32 to[kLanes];
  std::memcpy(to, lanes32(warp, function.return_slot), sizeof to);
  if (function.recursive) {
    for_each_lane(active, [&](int lane) {
      const u64 frame = lanes64(warp, function.frame_slot)[lane];
      restore_registers(warp, function, lane,
                        reinterpret_cast<const u8*>(frame - function.save_bytes));
    });
  }
  const u32 depth = warp.groups[index].depth;
  if (active != warp.groups[index].mask)
    send(warp, index, warp.groups[index].mask & ~active, warp.groups[index].pc + 1, depth);
  while (active != 0) {
    const u32 pc = to[__builtin_ctz(active)];
    u32 part = 0;
    for_each_lane(active, [&](int lane) { part |= to[lane] == pc ? u32{1} << lane : 0; });
    active &= ~part;
    send(warp, index, part, pc, depth - 1);
  }
}

void branch_indexed(Warp& warp, u32 index, const Op& op, u32 active) {
  u32 choice[kLanes];
  std::memcpy(choice, lanes32(warp, op.a), sizeof choice);
  const u32 depth = warp.groups[index].depth;
  if (active != warp.groups[index].mask)
    send(warp, index, warp.groups[index].mask & ~active, warp.groups[index].pc + 1, depth);
  while (active != 0) {
    const int first = __builtin_ctz(active);
    const u32 value = choice[first];
    if (value >= op.target)
      raise_fault(warp, op, first, Fault::Kind::kIllegalInstruction, 0, "brx.idx past its targets");
    u32 part = 0;
    for_each_lane(active, [&](int lane) { part |= choice[lane] == value ? u32{1} << lane : 0; });
    active &= ~part;
    send(warp, index, part, op.list[value], depth);
  }
}

}  // namespace farcall::softgpu
