#include "softgpu/reference/machine.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

namespace farcall::softgpu::reference {
namespace {

using Kind = Operand::Kind;
using State = Thread::State;

constexpr uint64_t kStackBytes = 1 << 16, kStepsMax = 400'000;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint64_t low_bits(U128 value, int bits) {
  return bits >= 64 ? static_cast<uint64_t>(value)
                    : static_cast<uint64_t>(value) & ((uint64_t{1} << bits) - 1);
}

bool meets_in_warp(const Instruction& i) {
  static const std::set<std::string> kOpcodes = {"shfl", "vote", "match", "redux", "elect"};
  return kOpcodes.count(i.opcode) != 0 || (i.opcode == "bar" && i.has("warp"));
}

}  // namespace

Machine::Machine(const Program& program) : program_(program) {
  lay_out();
  initialise_variables();
}

void Machine::fail(Thread& thread, const std::string& what) {
  std::string where = "reference: thread " + std::to_string(thread.index);
  if (!thread.frames.empty()) {
    const Frame& frame = thread.frames.back();
    where += " in " + frame.function->name;
    if (frame.pc < static_cast<int>(frame.function->body.size()))
      where += " line " + std::to_string(frame.function->body[frame.pc].line);
  }
  throw std::runtime_error(where + ": " + what);
}

// ---- memory ----

void Machine::lay_out() {
  uint64_t next = kVariableBase;
  auto shared = [&](const Variable& v) {
    static_shared_bytes_ = round_up(static_shared_bytes_, static_cast<uint64_t>(v.alignment));
    shared_offsets_[v.name] = static_shared_bytes_;
    static_shared_bytes_ += v.bytes;
  };
  for (const Variable& v : program_.variables) {
    if (v.space == "shared") {
      shared(v);
      continue;
    }
    next = round_up(next, 256);
    variables_[v.name] = next;
    memory_[next].resize(v.bytes);
    next += v.bytes;
  }
  for (const Function& f : program_.functions) {
    functions_[f.name] = &f;
    Layout& layout = layouts_[&f];
    for (const Variable& v : f.locals) {
      if (v.space == "shared") {
        shared(v);
        continue;
      }
      layout.bytes = round_up(layout.bytes, 16);
      layout.offsets[v.name] = layout.bytes;
      layout.bytes += v.bytes;
    }
    layout.bytes = round_up(layout.bytes, 16);
  }
}

void Machine::initialise_variables() {
  for (const Variable& v : program_.variables) {
    if (v.values.empty()) continue;
    std::vector<uint8_t>& bytes = memory_[variables_.at(v.name)];
    const auto size = static_cast<size_t>(v.type.total() / 8);
    for (size_t k = 0; k < v.values.size(); ++k) {
      uint64_t value = 0;
      for (size_t f = 0; f < program_.functions.size(); ++f) {
        if (program_.functions[f].name == v.values[k]) value = kFunctionBase + f;
      }
      if (variables_.count(v.values[k]) != 0)
        value = variables_[v.values[k]];
      else if (value == 0)
        value = std::stoull(v.values[k]);
      std::memcpy(&bytes.at(k * size), &value, size);
    }
  }
}

void Machine::add_memory(uint64_t address, std::span<const uint8_t> bytes) {
  memory_[address].assign(bytes.begin(), bytes.end());
}

uint8_t* Machine::bytes_at(Thread& thread, const std::string& space, uint64_t address,
                           uint64_t count) {
  if (address % count != 0) fail(thread, "misaligned access");
  auto inside = [&](std::vector<uint8_t>& bytes, uint64_t base) -> uint8_t* {
    const uint64_t offset = address - base;
    if (offset > bytes.size() || count > bytes.size() - offset)
      fail(thread, "access out of bounds");
    return bytes.data() + offset;
  };
  if (space == "shared") return inside(shared_, 0);
  if (address >= kSharedBase && address < kLocalBase) return inside(shared_, kSharedBase);
  if (address >= kLocalBase && address < kParamBase) return inside(thread.stack, kLocalBase);
  if (address >= kParamBase && address < kVariableBase) return inside(params_, kParamBase);
  auto it = memory_.upper_bound(address);
  if (it == memory_.begin()) fail(thread, "access outside of all memory");
  --it;
  return inside(it->second, it->first);
}

uint64_t Machine::symbol(Thread& thread, const std::string& name, const std::string& space) {
  Frame& frame = thread.frame();
  const Layout& layout = layouts_.at(frame.function);
  if (const auto it = frame.formals.find(name); it != frame.formals.end()) return it->second;
  if (const auto it = layout.offsets.find(name); it != layout.offsets.end())
    return kLocalBase + frame.base + it->second;
  if (thread.frames.size() == 1) {
    if (const auto it = param_offsets_.find(name); it != param_offsets_.end())
      return kParamBase + it->second;
  }
  // The offset inside shared memory, whatever the space asked for: cvta adds the rest.
  if (const auto it = shared_offsets_.find(name); it != shared_offsets_.end()) return it->second;
  if (const auto it = variables_.find(name); it != variables_.end()) return it->second;
  for (size_t f = 0; f < program_.functions.size(); ++f) {
    if (program_.functions[f].name == name) return kFunctionBase + f;
  }
  fail(thread, "no symbol '" + name + "' (space '" + space + "')");
}

uint64_t Machine::address(Thread& thread, const Operand& operand, const std::string& space) {
  if (operand.reg < 0) return symbol(thread, operand.name, space) + operand.number;
  const Type type = thread.frame().function->registers[static_cast<size_t>(operand.reg)];
  const uint64_t base =
      low_bits(thread.frame().registers[static_cast<size_t>(operand.reg)], type.total());
  return low_bits(base + operand.number, type.total());
}

// ---- operands ----

U128 Machine::special(const Thread& thread, const std::string& name) const {
  const uint32_t lane = thread.index % 32;
  if (name == "%tid.x") return thread.index;
  if (name == "%ntid.x") return block_;
  if (name == "%ctaid.x") return block_index_;
  if (name == "%nctaid.x") return grid_;
  if (name == "%tid.y" || name == "%tid.z" || name == "%ctaid.y" || name == "%ctaid.z") return 0;
  if (name == "%ntid.y" || name == "%ntid.z" || name == "%nctaid.y" || name == "%nctaid.z")
    return 1;
  if (name == "%laneid") return lane;
  if (name == "%warpid") return thread.index / 32;
  if (name == "%nwarpid") return (block_ + 31) / 32;
  if (name == "WARP_SZ") return 32;
  const uint64_t bit = uint64_t{1} << lane;
  if (name == "%lanemask_eq") return bit;
  if (name == "%lanemask_lt") return bit - 1;
  if (name == "%lanemask_le") return 2 * bit - 1;
  if (name == "%lanemask_gt") return ~(2 * bit - 1) & 0xffff'ffff;
  if (name == "%lanemask_ge") return ~(bit - 1) & 0xffff'ffff;
  if (name == "%dynamic_smem_size") return dynamic_shared_;
  return ~U128{0};
}

uint64_t Machine::read(Thread& thread, const Operand& operand, int bits) {
  switch (operand.kind) {
    case Kind::kNumber:
      return low_bits(operand.number, bits);
    case Kind::kRegister:
      return low_bits(thread.frame().registers[static_cast<size_t>(operand.reg)], bits);
    case Kind::kName: {
      const U128 value = special(thread, operand.name);
      if (value != ~U128{0}) return low_bits(value, bits);
      return low_bits(symbol(thread, operand.name, "") + operand.number, bits);
    }
    case Kind::kVector: {
      const int part = bits / static_cast<int>(operand.elements.size());
      uint64_t value = 0;
      for (size_t k = 0; k < operand.elements.size(); ++k)
        value |= read(thread, operand.elements[k], part) << (part * static_cast<int>(k));
      return value;
    }
    default:
      fail(thread, "this operand has no value");
  }
}

void Machine::write(Thread& thread, const Operand& operand, U128 value) {
  if (operand.kind == Kind::kSink) return;
  if (operand.kind != Kind::kRegister) fail(thread, "the destination is no register");
  const auto reg = static_cast<size_t>(operand.reg);
  const int bits = thread.frame().function->registers[reg].total();
  thread.frame().registers[reg] = bits == 128 ? value : U128{low_bits(value, bits)};
}

bool Machine::read_predicate(Thread& thread, const Operand& operand) {
  const bool value = operand.kind == Kind::kNumber
                         ? operand.number != 0
                         : thread.frame().registers.at(static_cast<size_t>(operand.reg)) != 0;
  return value != operand.negated;
}

void Machine::write_predicate(Thread& thread, int reg, bool value) {
  if (reg >= 0) thread.frame().registers.at(static_cast<size_t>(reg)) = value ? 1 : 0;
}

// ---- running ----

void Machine::run(std::string_view kernel, std::span<const uint8_t> params, uint32_t blocks,
                  uint32_t threads, uint32_t dynamic_shared_bytes) {
  const Function& function = *functions_.at(std::string(kernel));
  params_.assign(params.begin(), params.end());
  param_offsets_.clear();
  uint64_t offset = 0;
  for (const Variable& p : function.params) {
    offset = round_up(offset, static_cast<uint64_t>(p.alignment));
    param_offsets_[p.name] = offset;
    offset += p.bytes;
  }
  grid_ = blocks;
  block_ = threads;
  dynamic_shared_ = dynamic_shared_bytes;
  for (block_index_ = 0; block_index_ < blocks; ++block_index_) {
    shared_.assign(round_up(static_shared_bytes_, 16) + dynamic_shared_bytes, 0);
    threads_.assign(threads, {});
    for (Barrier& barrier : barriers_) barrier = {};
    for (uint32_t t = 0; t < threads; ++t) {
      threads_[t].index = t;
      threads_[t].stack.assign(kStackBytes, 0);
      enter(threads_[t], function, nullptr);
    }
    run_block();
  }
}

void Machine::run_block() {
  for (;;) {
    bool progress = false, all_done = true;
    for (Thread& thread : threads_) {
      if (thread.state == State::kRunning) {
        run_thread(thread);
        progress = true;
      }
      all_done = all_done && thread.state == State::kDone;
    }
    if (all_done) return;
    if (meet_in_warps()) progress = true;
    if (release_barriers()) progress = true;
    if (!progress) {
      for (Thread& thread : threads_) {
        if (thread.state != State::kDone) fail(thread, "everyone waits");
      }
    }
  }
}

void Machine::run_thread(Thread& thread) {
  while (thread.state == State::kRunning) {
    const Frame& frame = thread.frame();
    if (frame.pc >= static_cast<int>(frame.function->body.size())) fail(thread, "past the end");
    if (++steps_ > kStepsMax) throw TooLong("reference: too many steps");
    execute(thread, frame.function->body[static_cast<size_t>(frame.pc)]);
  }
}

void Machine::execute(Thread& thread, const Instruction& i) {
  Frame& frame = thread.frame();
  if (i.guard >= 0) {
    const bool guard = frame.registers[static_cast<size_t>(i.guard)] != 0;
    if (guard == i.guard_negated) {
      ++frame.pc;
      return;
    }
  }
  if (i.opcode == "bra") {
    frame.pc = i.target;
  } else if (i.opcode == "brx") {
    const auto& targets = frame.function->branch_targets.at(i.operands.at(1).name);
    const uint64_t index = read(thread, i.operands[0], 32);
    if (index >= targets.size()) fail(thread, "brx.idx past its targets");
    frame.pc = frame.function->labels.at(targets[index]);
  } else if (i.opcode == "exit" || (i.opcode == "ret" && thread.frames.size() == 1)) {
    thread.state = State::kDone;
  } else if (i.opcode == "ret") {
    thread.stack_used = frame.base;
    thread.frames.pop_back();
    ++thread.frame().pc;
  } else if (i.opcode == "call") {
    call(thread, i);
  } else if (meets_in_warp(i)) {
    thread.state = State::kAtWarpSync;
  } else if (i.opcode == "bar" || i.opcode == "barrier") {
    arrive(thread, i);
  } else {
    if (!execute_scalar(*this, thread, i)) fail(thread, "unknown instruction " + i.opcode);
    ++frame.pc;
  }
}

void Machine::enter(Thread& thread, const Function& function, const Instruction* call) {
  Frame frame;
  frame.function = &function;
  frame.registers.assign(function.registers.size(), 0);
  frame.base = thread.stack_used;
  if (call != nullptr) {
    std::vector<std::string> names;
    for (const Operand& o : call->operands) {
      if (o.kind != Kind::kVector) continue;
      for (const Operand& e : o.elements) names.push_back(e.name);
    }
    size_t k = 0;
    for (const auto* list : {&function.returns, &function.params}) {
      for (const Variable& formal : *list)
        frame.formals[formal.name] = symbol(thread, names.at(k++), "param");
    }
    if (k != names.size()) fail(thread, "wrong number of arguments");
  }
  thread.stack_used += layouts_.at(&function).bytes;
  if (thread.stack_used > kStackBytes) fail(thread, "stack overflow");
  thread.frames.push_back(std::move(frame));
}

void Machine::call(Thread& thread, const Instruction& i) {
  const Operand* target = nullptr;
  for (const Operand& o : i.operands) {
    if (o.kind != Kind::kVector) {
      target = &o;
      break;
    }
  }
  if (target == nullptr) fail(thread, "a call of nothing");
  const uint64_t address = target->kind == Kind::kRegister ? read(thread, *target, 64)
                                                           : symbol(thread, target->name, "");
  const uint64_t index = address - kFunctionBase;
  if (index >= program_.functions.size()) fail(thread, "a call of what is no function");
  enter(thread, program_.functions[index], &i);
}

// ---- barriers ----

void Machine::arrive(Thread& thread, const Instruction& i) {
  const bool reduces = i.has("red");
  const size_t first = reduces ? 1 : 0;
  const size_t operands = i.operands.size() - (reduces ? 1 : 0);  // without the predicate
  const uint64_t id = read(thread, i.operands.at(first), 32);
  if (id >= 16) fail(thread, "no such barrier");
  Barrier& barrier = barriers_[id];
  if (operands > first + 1)
    barrier.expected = static_cast<uint32_t>(read(thread, i.operands[first + 1], 32));
  ++barrier.arrived;
  if (reduces && read_predicate(thread, i.operands.back())) ++barrier.votes;
  if (i.has("arrive")) {
    ++thread.frame().pc;
    return;
  }
  thread.state = State::kAtBarrier;
  barrier.waiting.push_back(&thread);
}

bool Machine::release_barriers() {
  bool any = false;
  uint32_t living = 0;
  for (const Thread& thread : threads_) living += thread.state != State::kDone ? 1 : 0;
  for (Barrier& barrier : barriers_) {
    if (barrier.arrived == 0) continue;
    if (barrier.arrived < (barrier.expected != 0 ? barrier.expected : living)) continue;
    for (Thread* thread : barrier.waiting) {
      Frame& frame = thread->frame();
      const Instruction& i = frame.function->body[static_cast<size_t>(frame.pc)];
      if (i.has("red")) {
        if (i.has("popc"))
          write(*thread, i.operands[0], barrier.votes);
        else
          write_predicate(*thread, i.operands[0].reg,
                          i.has("and") ? barrier.votes == barrier.arrived : barrier.votes != 0);
      }
      ++frame.pc;
      thread->state = State::kRunning;
    }
    barrier = {};
    any = true;
  }
  return any;
}

// ---- instructions that threads of a warp execute together ----

bool Machine::meet_in_warps() {
  bool any = false;
  for (Thread& first : threads_) {
    if (first.state != State::kAtWarpSync) continue;
    const Frame& frame = first.frame();
    const Instruction& i = frame.function->body[static_cast<size_t>(frame.pc)];
    const uint64_t members = read(first, i.operands.back(), 32);
    if ((members >> (first.index % 32) & 1) == 0) fail(first, "executes what it is no member of");
    std::vector<Thread*> group;
    bool complete = true;
    const size_t warp = first.index / 32 * 32;
    for (size_t lane = 0; lane < 32 && warp + lane < threads_.size(); ++lane) {
      if ((members >> lane & 1) == 0) continue;
      Thread& other = threads_[warp + lane];
      if (other.state == State::kDone) continue;
      // One that is here for other members is deeper in a recursion, and will come again.
      complete = complete && other.state == State::kAtWarpSync &&
                 other.frame().function == frame.function && other.frame().pc == frame.pc &&
                 read(other, i.operands.back(), 32) == members;
      group.push_back(&other);
    }
    if (!complete) continue;
    warp_instruction(group, i);
    for (Thread* thread : group) {
      ++thread->frame().pc;
      thread->state = State::kRunning;
    }
    any = true;
  }
  return any;
}

void Machine::warp_instruction(std::vector<Thread*>& group, const Instruction& i) {
  if (i.opcode == "bar") return;
  auto lane_of = [](const Thread* thread) { return static_cast<int>(thread->index % 32); };
  uint64_t here = 0;
  for (const Thread* thread : group) here |= uint64_t{1} << lane_of(thread);
  // All operands are read before any result is written.
  std::vector<U128> results(group.size(), 0);
  std::vector<bool> flags(group.size(), false);

  if (i.opcode == "shfl") {
    for (size_t k = 0; k < group.size(); ++k) {
      Thread& thread = *group[k];
      const int b = static_cast<int>(read(thread, i.operands[2], 32)), lane = lane_of(&thread);
      const auto c = static_cast<int>(read(thread, i.operands[3], 32));
      const int bval = b & 0x1f, cval = c & 0x1f, mask = c >> 8 & 0x1f;
      const int max_lane = (lane & mask) | (cval & ~mask), min_lane = lane & mask;
      int j;
      bool p;
      if (i.has("up")) {
        j = lane - bval;
        p = j >= max_lane;
      } else if (i.has("down")) {
        j = lane + bval;
        p = j <= max_lane;
      } else if (i.has("bfly")) {
        j = lane ^ bval;
        p = j <= max_lane;
      } else {
        j = min_lane | (bval & ~mask);
        p = j <= max_lane;
      }
      if (!p) j = lane;
      flags[k] = p;
      for (Thread* source : group) {
        if (lane_of(source) == j) results[k] = read(*source, i.operands[1], 32);
      }
    }
  } else if (i.opcode == "vote") {
    uint64_t ballot = 0;
    for (Thread* thread : group) {
      if (read_predicate(*thread, i.operands[1])) ballot |= uint64_t{1} << lane_of(thread);
    }
    for (size_t k = 0; k < group.size(); ++k) {
      results[k] = ballot;
      flags[k] = i.has("all")   ? ballot == here
                 : i.has("any") ? ballot != 0
                                : ballot == 0 || ballot == here;
    }
    if (!i.has("ballot")) {
      for (size_t k = 0; k < group.size(); ++k)
        write_predicate(*group[k], i.operands[0].reg, flags[k]);
      return;
    }
  } else if (i.opcode == "match") {
    const int bits = i.types.at(0).bits;
    for (size_t k = 0; k < group.size(); ++k) {
      uint64_t same = 0;
      for (Thread* other : group) {
        if (read(*other, i.operands[1], bits) == read(*group[k], i.operands[1], bits))
          same |= uint64_t{1} << lane_of(other);
      }
      flags[k] = same == here;
      results[k] = i.has("any") || same == here ? same : 0;
    }
  } else if (i.opcode == "redux") {
    const bool is_signed = i.types.at(0).kind == 's';
    auto value = [&](Thread* thread) -> int64_t {
      const uint64_t v = read(*thread, i.operands[1], 32);
      return is_signed ? static_cast<int32_t>(v) : static_cast<int64_t>(v);
    };
    int64_t total = value(group[0]);
    for (size_t k = 1; k < group.size(); ++k) {
      const int64_t v = value(group[k]);
      if (i.has("add")) total += v;
      if (i.has("min")) total = std::min(total, v);
      if (i.has("max")) total = std::max(total, v);
      if (i.has("and")) total &= v;
      if (i.has("or")) total |= v;
      if (i.has("xor")) total ^= v;
    }
    for (U128& result : results) result = static_cast<U128>(total);
  } else {  // elect: the lowest lane
    for (size_t k = 0; k < group.size(); ++k) {
      results[k] = static_cast<U128>(lane_of(group[0]));
      flags[k] = k == 0;
    }
  }
  for (size_t k = 0; k < group.size(); ++k) {
    write(*group[k], i.operands[0], results[k]);
    write_predicate(*group[k], i.operands[0].second, flags[k]);
  }
}

}  // namespace farcall::softgpu::reference
