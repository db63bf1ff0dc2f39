#include "softgpu/decode/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "softgpu/decode/assembler.h"
#include "softgpu/decode/registers.h"
#include "softgpu/decode/skips.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/stack.h"
#include "softgpu/ptx/parser.h"

namespace farcall::softgpu {
namespace {

// Frames begin on this boundary, so variables can be aligned to it.
constexpr u32 kFrameAlignment = 128;
constexpr u64 kStackBytesMax = 16u << 20;
constexpr u64 kScratchBytes = 16;          // of an argument that is a register or a constant
constexpr u64 kSharedBytesMax = 1u << 20;  // more than any device has
// What a device keeps of a block's shared memory for itself. Cooperative groups has the half from
// %reserved_smem_offset_1 on.
constexpr u32 kReservedSharedBytes = 1024;

u64 round_up(u64 value, u64 unit) { return (value + unit - 1) / unit * unit; }

bool is_float_type(ptx::Type type) { return type.is_float(); }

// `add` and its like belong to the family of their type, which is the last one in the name.
bool decode_arithmetic(Assembler& a) {
  const auto& name = a.instruction().name;
  for (size_t i = name.size(); i-- > 1;) {
    if (const ptx::Type type = ptx::parse_type(name[i]))
      return is_float_type(type) ? decode_float(a) : decode_integer(a);
  }
  return decode_integer(a);
}

using Family = bool (*)(Assembler&);
const std::unordered_map<std::string_view, Family>& families() {
  static const std::unordered_map<std::string_view, Family> table = [] {
    std::unordered_map<std::string_view, Family> t;
    auto add = [&t](Family family, std::initializer_list<std::string_view> opcodes) {
      for (std::string_view opcode : opcodes) t.emplace(opcode, family);
    };
    add(decode_arithmetic, {"add", "sub", "mul", "mad", "fma", "div", "neg", "abs", "min", "max"});
    add(decode_integer,
        {"rem",  "mul24", "mad24", "sad",  "and",   "or",   "xor",  "not", "cnot", "shl",
         "shr",  "shf",   "bfe",   "bfi",  "bfind", "bmsk", "brev", "clz", "popc", "prmt",
         "lop3", "szext", "addc",  "subc", "madc",  "dp4a", "dp2a", "fns"});
    add(decode_video,
        {"vadd",  "vsub",  "vabsdiff", "vmin",      "vmax",      "vshl",  "vshr",  "vmad",
         "vset",  "vadd2", "vsub2",    "vavrg2",    "vabsdiff2", "vmin2", "vmax2", "vset2",
         "vadd4", "vsub4", "vavrg4",   "vabsdiff4", "vmin4",     "vmax4", "vset4"});
    add(decode_float,
        {"rcp", "sqrt", "rsqrt", "sin", "cos", "ex2", "lg2", "tanh", "copysign", "testp"});
    add(decode_compare, {"setp", "set", "selp", "slct"});
    add(decode_convert, {"cvt"});
    add(decode_move, {"mov", "cvta", "isspacep"});
    add(decode_memory, {"ld", "ldu", "st", "prefetch", "prefetchu", "discard", "applypriority",
                        "createpolicy", "multimem"});
    add(decode_async_copy, {"cp"});
    add(decode_cluster, {"mapa", "getctarank"});
    add(decode_tensor_map, {"tensormap"});
    add(decode_mbarrier, {"mbarrier"});
    add(decode_atomic, {"atom", "red", "membar", "fence"});
    add(decode_control,
        {"bra", "brx", "call", "ret", "exit", "trap", "brkpt", "bar", "barrier", "nanosleep",
         "pmevent", "griddepcontrol", "setmaxnreg", "alloca", "stacksave", "stackrestore"});
    add(decode_mma, {"mma"});
    add(decode_wmma, {"wmma"});
    add(decode_matrix, {"ldmatrix", "stmatrix", "movmatrix"});
    add(decode_warp, {"shfl", "vote", "match", "redux", "activemask", "elect"});
    add(decode_texture, {"tex", "tld4", "txq", "suq", "istypep"});
    add(decode_surface, {"suld", "sust", "sured"});
    return t;
  }();
  return table;
}

template <class F>
void for_each_symbol(const ptx::Operand& operand, F f) {
  if (!operand.symbol.empty() && operand.kind != ptx::Operand::Kind::kSpecial) f(operand);
  for (const ptx::Operand& element : operand.elements) for_each_symbol(element, f);
}

// The operand of a call that names the function.
const ptx::Operand* called_function(const ptx::Instruction& instruction) {
  for (const ptx::Operand& operand : instruction.operands) {
    if (operand.kind != ptx::Operand::Kind::kVector) return &operand;
  }
  return nullptr;
}

// The most that a call of the function has of arguments that are registers or constants.
size_t register_arguments(const ptx::Function& function) {
  size_t most = 0;
  for (const ptx::Instruction& instruction : function.body) {
    if (instruction.name[0] != "call") continue;
    size_t count = 0;
    for (const ptx::Operand& list : instruction.operands) {
      for (const ptx::Operand& each : list.elements)
        count += each.kind == ptx::Operand::Kind::kSymbol ? 0 : 1;
    }
    most = std::max(most, count);
  }
  return most;
}

bool has_alloca(const ptx::Function& function) {
  return std::any_of(function.body.begin(), function.body.end(),
                     [](const ptx::Instruction& each) { return each.name[0] == "alloca"; });
}

void fill_signature(const ptx::Function& function, const ptx::Module& module, KernelInfo& info) {
  info.name = std::string(function.name);
  u64 offset = 0;
  for (const ptx::Variable& param : function.params) {
    offset = round_up(offset, param.alignment);
    info.params.push_back({static_cast<u32>(offset), static_cast<u32>(param.bytes())});
    offset += param.bytes();
  }
  info.param_bytes = static_cast<u32>(offset);
  const auto& threads = function.max_threads;
  if (threads[0] != 0) info.max_threads = std::min(1024u, threads[0] * threads[1] * threads[2]);
  info.cluster = {function.cluster[0], function.cluster[1], function.cluster[2]};
  info.ptx_version = module.version;
  info.target_sm = module.target;
}

// PTX registers are virtual; this is what a block of 1024 threads could always have.
u32 estimate_registers(const ptx::Function& function) {
  u64 words = 0;
  for (const ptx::Type& type : function.registers)
    words += type.is_predicate() ? 0 : type.bits > 32 ? 2 : 1;
  return static_cast<u32>(std::clamp<u64>(8 + words / 4, 16, 64));
}

}  // namespace

void Decoder::fail(LoadError error) {
  if (failed_) return;
  failed_ = true;
  error_ = std::move(error);
}

Slot Decoder::allocate(unsigned bytes_per_lane) {
  const Slot slot = register_bytes_;
  register_bytes_ += bytes_per_lane * kLanes;
  if (register_bytes_ > kSlotOffsetMask / 2) {
    fail({LoadError::Kind::kUnsupported, 0, "kernel needs too many registers"});
    register_bytes_ = 0;
  }
  return slot;
}

Slot Decoder::allocate_block_value(unsigned bytes_per_lane) {
  const Slot slot = kBlockSlot | kernel_.block_value_bytes;
  kernel_.block_value_bytes += bytes_per_lane * kLanes;
  return slot;
}

Slot Decoder::constant(unsigned bits, u64 value) {
  if (bits == 32) value = static_cast<u32>(value);
  const auto [it, added] = constants_.try_emplace({bits, value}, kNoSlot);
  if (added) {
    std::vector<u64>& memory = kernel_.constants;
    it->second = kConstantSlot | static_cast<u32>(memory.size() * sizeof(u64));
    if (bits == 64)
      memory.insert(memory.end(), kLanes, value);
    else
      memory.insert(memory.end(), kLanes / 2, value << 32 | value);
  }
  return it->second;
}

Slot Decoder::special(Special special) {
  const auto [it, added] = specials_.try_emplace(special, kNoSlot);
  if (added) {
    const u32 bytes = is_wide(special) ? 8 : 4;
    if (special < Special::kFirstOfBlock) {
      it->second = allocate(bytes);
    } else {
      it->second = allocate_block_value(bytes);
    }
    kernel_.specials.push_back({special, it->second});
  }
  return it->second;
}

u16 Decoder::allocate_predicate() {
  if (predicate_count_ >= std::numeric_limits<u16>::max()) {
    fail({LoadError::Kind::kUnsupported, 0, "kernel needs too many predicates"});
    return 1;
  }
  return static_cast<u16>(predicate_count_++);
}

u32 Decoder::function_index(u32 linked) const {
  const auto it = index_of_.find(linked);
  return it == index_of_.end() ? kNoSlot : it->second;
}

// ---- which functions, what memory ----

void Decoder::add_function(u32 linked) {
  if (index_of_.try_emplace(linked, static_cast<u32>(reached_.size())).second)
    reached_.push_back(linked);
}

void Decoder::lay_out_shared(const ptx::Variable& variable, u32* offset) {
  const u64 at = round_up(kernel_.shared_bytes, variable.alignment);
  const u64 end = at + variable.bytes();
  if (end > kSharedBytesMax) {
    return fail({LoadError::Kind::kUnsupported, variable.line,
                 fmt::format("line {}: shared variables need {} bytes", variable.line, end)});
  }
  *offset = static_cast<u32>(at);
  kernel_.shared_variables.push_back(
      {std::string(variable.name), *offset, static_cast<u32>(variable.bytes())});
  red_zones_bytes_ += program_.red_zone_bytes();
  kernel_.shared_bytes = static_cast<u32>(end) + program_.red_zone_bytes();
}

std::optional<u32> Decoder::reserved_shared_offset(std::string_view name) const {
  name.remove_prefix(std::string_view("%reserved_smem_offset_").size());
  const u32 begin = reserved_shared_.value_or(0);
  if (name == "begin" || name == "0") return begin;
  if (name == "1") return begin + kReservedSharedBytes / 2;
  if (name == "end") return begin + kReservedSharedBytes;
  if (name == "cap") return kReservedSharedBytes;
  return {};
}

bool Decoder::scan(u32 place) {
  const LinkedFunction& linked = program_.functions()[reached_[place]];
  ptx::Function& function = *linked.function;
  if (auto problem = ptx::parse_body(function)) {
    fail({LoadError::Kind::kInvalidPtx, problem->line,
          fmt::format("line {}: {}", problem->line, problem->message)});
    return false;
  }
  for (const ptx::Variable& variable : function.locals) {
    if (variable.space != "shared") continue;
    if (variable.is_extern || variable.count == 0)
      shared_alignment_ = std::max(shared_alignment_, variable.alignment);
    else
      lay_out_shared(variable, &local_shared_[&variable]);
  }
  for (const ptx::Instruction& instruction : function.body) {
    const std::string_view opcode = instruction.name[0];
    uses_alloca_ |= opcode == "alloca" || opcode == "stacksave" || opcode == "stackrestore";
    const bool is_call = instruction.name[0] == "call";
    const ptx::Operand* const target = is_call ? called_function(instruction) : nullptr;
    if (target != nullptr && target->kind == ptx::Operand::Kind::kRegister)
      makes_indirect_calls_[place] = has_indirect_calls_ = true;
    for (const ptx::Operand& operand : instruction.operands) {
      if (operand.kind == ptx::Operand::Kind::kSpecial && !reserved_shared_ &&
          operand.symbol.starts_with("%reserved_smem_offset_")) {
        kernel_.shared_bytes = static_cast<u32>(round_up(kernel_.shared_bytes, 128));
        reserved_shared_ = kernel_.shared_bytes;
        kernel_.shared_variables.push_back(
            {"reserved memory", kernel_.shared_bytes, kReservedSharedBytes});
        kernel_.shared_bytes += kReservedSharedBytes;
      }
      for_each_symbol(operand, [&](const ptx::Operand& symbol) {
        if (symbol.local >= 0 || symbol.target >= 0) return;
        if (const auto variable = program_.find_variable(linked.module, symbol.symbol)) {
          const ptx::Variable& shared = *program_.variables()[*variable].variable;
          if (shared.space == "shared" && !shared_.contains(*variable))
            lay_out_shared(shared, &shared_[*variable]);
        } else if (const auto* shared = program_.find_extern_shared(linked.module, symbol.symbol)) {
          shared_alignment_ = std::max(shared_alignment_, shared->alignment);
        } else if (const auto callee = program_.find_function(linked.module, symbol.symbol)) {
          unsigned formals = 0;
          if (program_.functions()[*callee].function->is_entry ||
              (&symbol == target && find_launch_function(symbol.symbol, &formals) != nullptr)) {
            return;
          }
          add_function(*callee);
          if (&symbol == target) callees_[place].push_back(*callee);
        }
      });
    }
  }
  return !failed_;
}

bool Decoder::gather() {
  add_function(entry_);
  u32 scanned = 0;
  auto scan_reached = [&](bool optional) {
    for (; scanned < reached_.size(); ++scanned) {
      callees_.resize(reached_.size());
      makes_indirect_calls_.resize(reached_.size());
      unusable_.resize(reached_.size());
      if (scan(scanned)) continue;
      if (!optional) return false;
      unusable_[scanned] = error_.message;
      failed_ = false;
    }
    return true;
  };
  if (!scan_reached(false)) return false;
  required_ = static_cast<u32>(reached_.size());
  if (has_indirect_calls_) {
    // A pointer may have been stored by another kernel: every function of the program can be meant.
    // One that can't be decoded faults when it is called.
    for (u32 i = 0; i < program_.functions().size(); ++i) {
      if (!program_.functions()[i].function->is_entry) add_function(i);
    }
    scan_reached(true);
  }
  callees_.resize(reached_.size());
  kernel_.shared_bytes = static_cast<u32>(round_up(kernel_.shared_bytes, shared_alignment_));
  return find_recursion();
}

bool Decoder::find_recursion() {
  const auto count = static_cast<u32>(reached_.size());
  kernel_.functions.resize(count);
  auto successors = [&](u32 place, auto f) {
    for (u32 callee : callees_[place]) f(index_of_.at(callee));
    if (!makes_indirect_calls_[place]) return;
    for (u32 other = 1; other < count; ++other) f(other);
  };
  for (u32 start = 1; start < count; ++start) {
    std::vector<bool> seen(count);
    std::vector<u32> todo{start};
    bool found = false;
    while (!todo.empty() && !found) {
      const u32 place = todo.back();
      todo.pop_back();
      successors(place, [&](u32 next) {
        if (next == start) found = true;
        if (seen[next]) return;
        seen[next] = true;
        todo.push_back(next);
      });
    }
    kernel_.functions[start].recursive = found;
    recursive_ |= found;
  }
  // Frames, callees first: without recursion the depth is known.
  for (u32 place = 0; place < count; ++place) {
    const ptx::Function& function = *program_.functions()[reached_[place]].function;
    u64 bytes = 0;
    for (const ptx::Variable& variable : function.locals) {
      if (variable.space != "local" && variable.space != "param") continue;
      if (variable.alignment > kFrameAlignment) {
        fail({LoadError::Kind::kUnsupported, variable.line,
              fmt::format("line {}: alignment {} of a local variable", variable.line,
                          variable.alignment)});
        return false;
      }
      bytes = round_up(bytes, std::max(variable.alignment, 8u)) + variable.bytes() +
              program_.red_zone_bytes();
      if (bytes > kStackBytesMax) {
        fail({LoadError::Kind::kUnsupported, variable.line,
              fmt::format("line {}: local variables need {} bytes", variable.line, bytes)});
        return false;
      }
    }
    bytes = round_up(bytes, kScratchBytes) + kScratchBytes * register_arguments(function);
    kernel_.functions[place].frame_bytes = static_cast<u32>(round_up(bytes, kFrameAlignment));
  }
  std::vector<u64> depth(count);
  std::vector<u8> state(count);
  auto measure = [&](auto&& self, u32 place) -> u64 {
    if (state[place] == 2) return depth[place];
    if (state[place] == 1) return 0;  // recursion, sized by its limit
    state[place] = 1;
    u64 deepest = 0;
    successors(place, [&](u32 next) { deepest = std::max(deepest, self(self, next)); });
    state[place] = 2;
    return depth[place] = std::min(kStackBytesMax, kernel_.functions[place].frame_bytes + deepest);
  };
  if (recursive_ && uses_alloca_) {
    // Frames would grow into what alloca took.
    fail({LoadError::Kind::kUnsupported, 0, "alloca in a kernel that recurses"});
    return false;
  }
  const u64 stack = measure(measure, 0) + (uses_alloca_ ? kAllocaBytes : 0);
  kernel_.stack_bytes = static_cast<u32>(stack);
  kernel_.recursive = recursive_;
  return true;
}

bool Decoder::lay_out_function(FunctionContext& context) {
  DecodedFunction& decoded = kernel_.functions[context.index];
  const ptx::Function& function = *context.source;
  decoded.source = &function;
  decoded.module = &program_.module(context.module);
  const bool is_kernel = context.index == 0;
  decoded.name = std::string(function.name);
  decoded.first_predicate = static_cast<u16>(predicate_count_);
  u32 saved_bytes = 0;
  auto save = [&](Slot slot, u32 bytes) {
    decoded.saved.push_back({slot, bytes});
    saved_bytes += bytes;
  };
  if (is_kernel) context.hoisted = plan_hoisting(function);
  const RegisterPlan plan = plan_registers(function, context.hoisted.registers);
  std::vector<Slot> places[3];
  for (int c = 0; c < 3; ++c) {
    const u32 bytes = 4u << c;
    for (u32 i = 0; i < plan.count[c]; ++i) {
      const Slot slot = allocate(bytes);
      places[c].push_back(slot);
      save(slot, std::min(bytes, 8u));
      if (bytes == 16) save(slot + 8 * kLanes, 8);
    }
  }
  for (size_t r = 0; r < function.registers.size(); ++r) {
    const ptx::Type& type = function.registers[r];
    const bool named = plan.place[r] >= 0;
    context.registers.push_back(
        named ? places[RegisterPlan::width_class(type)][static_cast<size_t>(plan.place[r])]
              : kNoSlot);
    context.predicates.push_back(type.is_predicate() ? allocate_predicate() : 0);
  }
  decoded.predicate_end = static_cast<u16>(predicate_count_);
  saved_bytes += decoded.predicate_end - decoded.first_predicate;

  decoded.frame_slot = allocate(8);
  save(decoded.frame_slot, 8);
  if (!is_kernel) {
    decoded.return_slot = allocate(4);
    save(decoded.return_slot, 4);
    for (const auto* list : {&function.returns, &function.params}) {
      for (const ptx::Variable& variable : *list) {
        if (variable.space == "reg" &&
            (variable.count != 1 || variable.vector != 1 || variable.type.total_bits() == 128)) {
          fail({LoadError::Kind::kUnsupported, variable.line,
                fmt::format("line {}: unsupported parameter in a register, '{}'", variable.line,
                            variable.name)});
          return false;
        }
        context.formals.emplace(variable.name, static_cast<u32>(decoded.formals.size()));
        decoded.formals.push_back(allocate(8));
        save(decoded.formals.back(), 8);
      }
    }
  }
  decoded.save_bytes =
      decoded.recursive ? static_cast<u32>(round_up(saved_bytes, kFrameAlignment)) : 0;

  u64 offset = 0;
  for (const ptx::Variable& variable : function.locals) {
    if (variable.space != "local" && variable.space != "param") {
      context.local_offsets.push_back(0);
      continue;
    }
    offset = round_up(offset, std::max(variable.alignment, 8u));
    context.local_offsets.push_back(static_cast<u32>(offset));
    decoded.local_variables.push_back(
        {std::string(variable.name), static_cast<u32>(offset), static_cast<u32>(variable.bytes())});
    offset += variable.bytes() + program_.red_zone_bytes();
  }
  context.call_scratch = static_cast<u32>(round_up(offset, kScratchBytes));
  if (const size_t count = register_arguments(function); count != 0) {
    decoded.local_variables.push_back(
        {"arguments", context.call_scratch, static_cast<u32>(kScratchBytes * count)});
  }
  if (!is_kernel && has_alloca(function)) context.alloca_start = allocate(8);
  return !failed_;
}

// ---- translation ----

void Decoder::emit_prologue(FunctionContext& context) {
  const ptx::Function& function = *context.source;
  if (context.index == 0) {
    if (!uses_alloca_) return;
    Op begin;
    begin.handler = stack_begin;
    begin.c = alloca_top_ = allocate(8);
    return emit(begin);
  }
  if (context.alloca_start != kNoSlot) {
    Op keep;
    keep.handler = handlers().copy(64);
    keep.d = context.alloca_start;
    keep.a = alloca_top_;
    emit(keep);
  }
  size_t reg = 0, formal = 0;
  for (const auto* list : {&function.returns, &function.params}) {
    for (const ptx::Variable& variable : *list) {
      const size_t index = formal++;
      if (variable.space != "reg") continue;
      const size_t from = reg++;
      if (list == &function.returns) continue;
      Op load;
      load.handler = handlers().load(variable.type, AddressKind::kLocal,
                                     variable.type.total_bits() == 64 ? 64 : 32);
      load.flags = static_cast<u8>(AddressKind::kLocal);
      load.access = {Access::kRead, 0, static_cast<u16>(variable.bytes())};
      load.count = 1;
      load.d = context.registers[from];
      load.a = kernel_.functions[context.index].formals[index];
      load.line = static_cast<u32>(variable.line);
      emit(load);
    }
  }
}

void Decoder::emit_epilogue(const FunctionContext& context, const Op& at) {
  const ptx::Function& function = *context.source;
  auto emit_like = [&](Op op) {
    op.guard = at.guard;
    op.guard_negated = at.guard_negated;
    op.line = at.line;
    emit(op);
  };
  if (context.alloca_start != kNoSlot) {
    Op restore;
    restore.handler = handlers().copy(64);
    restore.d = alloca_top_;
    restore.a = context.alloca_start;
    emit_like(restore);
  }
  if (context.index == 0) return;
  size_t reg = 0;
  for (size_t i = 0; i < function.returns.size(); ++i) {
    const ptx::Variable& variable = function.returns[i];
    if (variable.space != "reg") continue;
    Op store;
    store.handler = handlers().store(variable.type, AddressKind::kLocal,
                                     variable.type.total_bits() == 64 ? 64 : 32);
    store.flags = static_cast<u8>(AddressKind::kLocal);
    store.access = {Access::kWrite, static_cast<u8>(variable.type.total_bits() == 64 ? 64 : 32),
                    static_cast<u16>(variable.bytes())};
    store.count = 1;
    store.b = context.registers[reg++];
    store.a = kernel_.functions[context.index].formals[i];
    emit_like(store);
  }
}

void Decoder::translate_instruction(FunctionContext& context, size_t index) {
  Assembler assembler(*this, context, context.source->body[index]);
  const auto family = families().find(assembler.opcode());
  if (family == families().end() || !family->second(assembler))
    assembler.unsupported("");
  else
    assembler.finish();
  note_error();
}

// Before all others, which then find the registers at their places.
void Decoder::translate_hoisted(FunctionContext& context) {
  const ptx::Function& function = *context.source;
  for (size_t i = 0; i < context.hoisted.instructions.size() && !failed_; ++i) {
    const Lasting lasting = context.hoisted.instructions[i];
    if (lasting == Lasting::kNot) continue;
    auto place = [&](const ptx::Operand& operand) {
      if (operand.reg < 0) return;
      const auto r = static_cast<size_t>(operand.reg);
      const u32 bytes = function.registers[r].bytes() > 4 ? 8 : 4;
      context.registers[r] =
          lasting == Lasting::kWarp ? allocate(bytes) : allocate_block_value(bytes);
    };
    place(function.body[i].operands[0]);
    for (const ptx::Operand& element : function.body[i].operands[0].elements) place(element);
    output_ = lasting == Lasting::kWarp    ? &kernel_.warp_prologue
              : lasting == Lasting::kBlock ? &kernel_.block_prologue
                                           : &kernel_.grid_prologue;
    translate_instruction(context, i);
  }
  output_ = &kernel_.code;
}

bool Decoder::translate(FunctionContext& context) {
  const ptx::Function& function = *context.source;
  translate_hoisted(context);
  const auto entry = static_cast<u32>(kernel_.code.size());
  kernel_.functions[context.index].entry = entry;
  emit_prologue(context);
  std::vector<u32> op_of(function.body.size() + 1);
  for (size_t i = 0; i < function.body.size() && !failed_; ++i) {
    op_of[i] = static_cast<u32>(kernel_.code.size());
    const bool hoisted =
        !context.hoisted.instructions.empty() && context.hoisted.instructions[i] != Lasting::kNot;
    if (!hoisted) translate_instruction(context, i);
  }
  if (failed_) return false;
  op_of[function.body.size()] = static_cast<u32>(kernel_.code.size());
  Op end;  // a body that runs off its end returns
  emit_epilogue(context, end);
  end.control = context.index == 0 ? Control::kExit : Control::kReturn;
  end.target = context.index;
  emit(end);
  for (const TargetFixup& fixup : target_fixups_)
    kernel_.code[fixup.op].target = op_of[fixup.instruction];
  for (std::vector<u32>* list : list_fixups_) {
    for (u32& target : *list) target = op_of[target];
  }
  target_fixups_.clear();
  list_fixups_.clear();
  return true;
}

bool Decoder::run() {
  const LinkedFunction& entry = program_.functions()[entry_];
  fill_signature(*entry.function, program_.module(entry.module), kernel_.info);
  kernel_.program = &program_;
  if (!gather()) return false;

  std::vector<FunctionContext> contexts(reached_.size());
  for (u32 place = 0; place < reached_.size(); ++place) {
    const LinkedFunction& linked = program_.functions()[reached_[place]];
    contexts[place].source = linked.function;
    contexts[place].module = linked.module;
    contexts[place].index = place;
  }
  for (u32 place = 0; place < reached_.size(); ++place) {
    FunctionContext& context = contexts[place];
    const size_t start = kernel_.code.size();
    if (unusable_[place].empty() && lay_out_function(context) && translate(context)) continue;
    if (place < required_) return false;
    // Only a function pointer could lead here.
    kernel_.messages.push_back(unusable_[place].empty() ? error_.message : unusable_[place]);
    failed_ = false;
    target_fixups_.clear();
    list_fixups_.clear();
    kernel_.code.resize(start);
    DecodedFunction& decoded = kernel_.functions[place];
    decoded.name = std::string(context.source->name);
    decoded.entry = static_cast<u32>(start);
    decoded.frame_slot = decoded.return_slot = allocate(8);
    decoded.undecoded = true;
    Op op;
    op.handler = undecoded;
    op.imm = static_cast<s64>(reinterpret_cast<uintptr_t>(kernel_.messages.back().c_str()));
    emit(op);
  }

  kernel_.function_of_address.assign(kFunctionAddressBase + program_.functions().size(), kNoSlot);
  for (u32 place = 1; place < reached_.size(); ++place) {
    kernel_.function_of_address[LinkedProgram::function_address(reached_[place])] = place;
  }
  mark_skips(kernel_.code);
  kernel_.convoy_code.reserve(kernel_.code.size());
  for (const Op& op : kernel_.code)
    kernel_.convoy_code.push_back(handlers().for_convoy(op.handler));
  const size_t constant_bytes = kernel_.constants.size() * sizeof(u64);
  if (!kernel_.constant_memory.reserve(std::max<size_t>(constant_bytes, 1))) {
    fail({LoadError::Kind::kOutOfMemory, 0, "no host memory for constants"});
    return false;
  }
  if (constant_bytes != 0)
    std::memcpy(kernel_.constant_memory.data(), kernel_.constants.data(), constant_bytes);
  kernel_.constants = {};
  kernel_.register_bytes = register_bytes_;
  kernel_.predicates = predicate_count_;
  fill_info(kernel_.info);
  return !failed_;
}

void Decoder::fill_info(KernelInfo& info) const {
  const ptx::Function& function = *program_.functions()[entry_].function;
  info.static_shared_bytes =
      kernel_.shared_bytes - red_zones_bytes_ - (reserved_shared_ ? kReservedSharedBytes : 0);
  info.local_bytes = recursive_ ? kernel_.functions[0].frame_bytes
                                : kernel_.stack_bytes - (uses_alloca_ ? kAllocaBytes : 0);
  info.constant_bytes = static_cast<u32>(program_.constant_bytes());
  info.registers = estimate_registers(function);
}

KernelInfo Decoder::describe() {
  const LinkedFunction& entry = program_.functions()[entry_];
  fill_signature(*entry.function, program_.module(entry.module), kernel_.info);
  if (gather())
    fill_info(kernel_.info);
  else
    kernel_.info.registers = 16;  // decoding will say what is wrong
  return kernel_.info;
}

void Decoder::note_error() {
  if (!failed_ || !surveying_) return;
  errors_.push_back(std::move(error_));
  failed_ = false;
}

std::vector<LoadError> Decoder::survey() {
  surveying_ = true;
  run();
  note_error();  // what is not about one instruction ended the run
  return std::move(errors_);
}

std::unique_ptr<Kernel> decode_kernel(const LinkedProgram& program, u32 entry, LoadError* error) {
  auto kernel = std::make_unique<Kernel>();
  Decoder decoder(program, *kernel, entry);
  if (decoder.run()) return kernel;
  *error = decoder.error();
  error->message =
      fmt::format("kernel {}: {}", program.functions()[entry].function->name, error->message);
  return nullptr;
}

std::vector<LoadError> survey_kernel(const LinkedProgram& program, u32 entry) {
  Kernel scratch;
  return Decoder(program, scratch, entry).survey();
}

KernelInfo describe_kernel(const LinkedProgram& program, u32 entry) {
  Kernel scratch;
  return Decoder(program, scratch, entry).describe();
}

}  // namespace farcall::softgpu
