#include "softgpu/exec/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "softgpu/decode/link.h"
#include "softgpu/exec/describe.h"
#include "softgpu/exec/device_heap.h"
#include "softgpu/exec/fault.h"
#include "softgpu/exec/memory.h"
#include "softgpu/exec/unwritten.h"

namespace farcall::softgpu {
namespace {

bool inside(const NamedRange& range, u64 offset, u64 bytes) {
  return offset >= range.offset && offset - range.offset <= range.bytes &&
         bytes <= range.bytes - (offset - range.offset);
}

bool inside_one(const std::vector<NamedRange>& ranges, u64 offset, u64 bytes) {
  for (const NamedRange& range : ranges) {
    if (inside(range, offset, bytes)) return true;
  }
  return false;
}

bool writes(Access access) {
  return access == Access::kWrite || access == Access::kAtomic || access == Access::kStrongWrite;
}

bool reads(Access access) {
  return access == Access::kRead || access == Access::kAtomic || access == Access::kStrongRead;
}

// nullptr: the access is fine. Otherwise what is wrong with it; empty: its address says it all.
const char* shared_error(const Warp& warp, u64 offset, u64 bytes) {
  const Kernel& kernel = *warp.block->kernel;
  const u64 dynamic = warp.block->run->launch->dynamic_shared_bytes;
  if (offset >= kernel.shared_bytes) {
    return offset - kernel.shared_bytes + bytes <= dynamic ? nullptr : "";
  }
  return inside_one(kernel.shared_variables, offset, bytes) ? nullptr : "";
}

// The frames of callers are below that of the running function; above it is nobody's.
const char* local_error(const Warp& warp, const Op& op, int lane, u64 address, u64 bytes) {
  const Kernel& kernel = *warp.block->kernel;
  const u64 stack = warp.local_bytes / kLanes;
  const u64 first = warp.local_base + stack * static_cast<u64>(lane);
  if (address - first >= stack || bytes > stack - (address - first)) return "";
  // Beyond the frames is what alloca took.
  if (!kernel.recursive && address - first >= kernel.info.local_bytes) return nullptr;
  const auto index = static_cast<size_t>(&op - kernel.code.data());
  const DecodedFunction* function = &kernel.functions[0];
  for (const DecodedFunction& one : kernel.functions) {
    if (one.entry <= index && one.entry >= function->entry) function = &one;
  }
  const u8* const frames = warp.base[0] + (function->frame_slot & kSlotOffsetMask);
  const u64 frame = reinterpret_cast<const u64*>(frames)[lane];
  if (address < frame) return nullptr;
  return inside_one(function->local_variables, address - frame, bytes) ? nullptr : "";
}

const char* global_error(const Warp& warp, const AddressSpace& memory, u64 address, u64 bytes,
                         Access access) {
  const LinkedProgram* const program = warp.block->kernel->program;
  const DeviceHeap* const heap = warp.block->run->heap;
  if (!memory.allocated(address, bytes)) return "";
  if (program != nullptr && program->among_variables(address)) {
    const LinkedVariable* const variable = program->variable_at(address, bytes);
    if (variable == nullptr) return "";
    const bool constant = variable->variable->space == "const";
    return constant && writes(access) ? "constant memory is read only" : nullptr;
  }
  if (heap != nullptr && heap->among_blocks(address) && !heap->holds(address, bytes)) return "";
  return nullptr;
}

// A store that changes nothing is no race worth telling of: all threads setting one flag. The value
// is in the registers; the place holds what the earlier thread has stored, unless both are lanes of
// the warp whose turn it is right now.
bool stores_same_value(const Warp& warp, const Op& op, int lane, u64 address, u64 bytes,
                       const RaceState::Conflict& conflict) {
  const unsigned count = op.count > 1 ? op.count : 1;
  if (op.access.register_bits == 0 || bytes != op.access.bytes || bytes % count != 0) return false;
  const size_t element = bytes / count, stride = op.access.register_bits / 8u;
  if (element > stride) return false;
  const bool same_warp = conflict.thread / kLanes == warp.index;
  bool as_memory = true, as_lane = same_warp;
  for (unsigned k = 0; k < count; ++k) {
    const Slot slot = op.count > 1 ? op.list[k] : op.b;
    const u8* const values = warp.base[slot >> 30] + (slot & kSlotOffsetMask);
    const u8* const mine = values + stride * static_cast<size_t>(lane);
    const u8* const theirs = values + stride * (conflict.thread % kLanes);
    as_memory &= std::memcmp(mine, reinterpret_cast<u8*>(address) + k * element, element) == 0;
    as_lane &= std::memcmp(mine, theirs, element) == 0;
  }
  const auto index = static_cast<u32>(&op - warp.block->kernel->code.data());
  return as_memory || (as_lane && conflict.op == index);
}

}  // namespace

void Checker::start_block(Block& block, u64 shared_bytes) const {
  if (tools_.initialized) block.shared_written.assign(shared_bytes, false);
  if (!tools_.races) return;
  if (!block.races) block.races = std::make_shared<RaceState>();
  block.races->start_block(block.threads, shared_bytes);
}

void Checker::shared_access(Warp& warp, const Op& op, int lane, u64 address, u64 bytes,
                            Access access) {
  Block& block = *warp.block;
  const u64 offset = address - warp.shared_base;
  if (tools_.initialized) {
    const u64 end = std::min<u64>(offset + bytes, block.shared_written.size());
    if (reads(access)) {
      bool written = true;
      for (u64 i = offset; i < end; ++i) written = written && block.shared_written[i];
      if (!written) report_unwritten(warp, op, lane, address, bytes, access);
    }
    // What was told of once is not told of again for every use.
    for (u64 i = offset; i < end; ++i) block.shared_written[i] = true;
  }
  if (tools_.races && access != Access::kUnknown) {
    const auto index = static_cast<u32>(&op - block.kernel->code.data());
    const u32 thread = warp.index * kLanes + static_cast<u32>(lane);
    const RaceState::Conflict conflict = block.races->access(thread, index, offset, bytes, access);
    if (conflict.hazard == Hazard::kNone) return;
    if (conflict.hazard == Hazard::kWriteAfterWrite &&
        stores_same_value(warp, op, lane, address, bytes, conflict)) {
      return;
    }
    report_race(warp, op, lane, bytes, access, conflict);
  }
}

void Checker::access(Warp& warp, const Op& op, int lane, u64 address, u64 bytes, Access access) {
  if (bytes == 0) return;
  const Block& block = *warp.block;
  const GridRun& run = *block.run;
  const char* error = nullptr;
  if (address - warp.shared_base < warp.shared_bytes) {
    if (tools_.memory) error = shared_error(warp, address - warp.shared_base, bytes);
    if (error == nullptr) return shared_access(warp, op, lane, address, bytes, access);
  } else if (address - warp.local_base < warp.local_bytes) {
    if (tools_.memory) error = local_error(warp, op, lane, address, bytes);
  } else if (address - block.params < run.param_bytes) {
    if (tools_.memory && writes(access)) error = "parameters are read only";
  } else if (address - reinterpret_cast<u64>(&run.workspace) < sizeof run.workspace ||
             is_shared_of_cluster(warp, address)) {
    return;
  } else {
    if (tools_.memory) error = global_error(warp, memory_, address, bytes, access);
    if (error == nullptr && tools_.initialized) {
      UnwrittenBytes* const unwritten = memory_.unwritten();
      if (unwritten == nullptr) return;
      if (reads(access) && unwritten->any_unwritten(address, bytes))
        report_unwritten(warp, op, lane, address, bytes, access);
      if (writes(access)) unwritten->set_written(address, bytes);
    }
  }
  if (error == nullptr) return;
  raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
              *error == '\0' ? nullptr : error, bytes, access);
}

bool Checker::is_new(CheckTool tool, const Block& block, const Op& op, u32 other) {
  const auto index = static_cast<u32>(&op - block.kernel->code.data());
  const std::lock_guard lock(mutex_);
  return reported_.insert({tool, block.kernel->id, index, other}).second;
}

void Checker::report_unwritten(const Warp& warp, const Op& op, int lane, u64 address, u64 bytes,
                               Access access) {
  const Block& block = *warp.block;
  if (!is_new(CheckTool::kInitialized, block, op, 0))
    return report_({CheckTool::kInitialized, true, {}, {}});
  const u32 thread = warp.index * kLanes + static_cast<u32>(lane);
  Finding finding{
      CheckTool::kInitialized, false, "uninitialised " + describe_access(op, access, bytes), {}};
  finding.details = {
      describe_code(*block.kernel, op),
      fmt::format("by thread {} in block {} of kernel {}", describe_thread(block, thread),
                  describe_block(block), demangle(block.kernel->info.name)),
      fmt::format("address {:#x} is {}", address, describe_address(warp, op, lane, address))};
  report_(finding);
}

void Checker::report_race(const Warp& warp, const Op& op, int lane, u64 bytes, Access access,
                          const RaceState::Conflict& conflict) {
  const Block& block = *warp.block;
  if (!is_new(CheckTool::kRaces, block, op, conflict.op))
    return report_({CheckTool::kRaces, true, {}, {}});
  const Op& earlier = block.kernel->code[conflict.op];
  const u32 thread = warp.index * kLanes + static_cast<u32>(lane);
  const char* const title = conflict.hazard == Hazard::kReadAfterWrite   ? "read after write"
                            : conflict.hazard == Hazard::kWriteAfterRead ? "write after read"
                                                                         : "write after write";
  Finding finding{CheckTool::kRaces, false, fmt::format("race in shared memory, {}", title), {}};
  finding.details = {
      fmt::format("{} by thread {} {}", describe_access(op, access, bytes),
                  describe_thread(block, thread), describe_code(*block.kernel, op)),
      fmt::format("{} before by thread {} {}", describe_access(earlier, Access::kOfInstruction, 0),
                  describe_thread(block, conflict.thread), describe_code(*block.kernel, earlier)),
      fmt::format("nothing orders the two; in block {} of kernel {}", describe_block(block),
                  demangle(block.kernel->info.name)),
      fmt::format("at {}", describe_address(warp, op, lane, warp.shared_base + conflict.offset))};
  report_(finding);
}

void Checker::report_fault(const Fault& fault) const {
  if (report_) report_({CheckTool::kMemory, false, fault.title, fault.details});
}

}  // namespace farcall::softgpu
