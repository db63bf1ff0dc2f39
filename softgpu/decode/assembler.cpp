#include "softgpu/decode/assembler.h"

#include <fmt/format.h>

#include <bit>

#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

// ---- errors ----

std::string Assembler::text() const {
  std::string out;
  for (std::string_view part : instruction_.name) {
    if (!out.empty()) out += '.';
    out += part;
  }
  return out;
}

void Assembler::unsupported(std::string_view what) {
  const int line = instruction_.line;
  std::string message = fmt::format("line {}: unsupported instruction '{}'", line, text());
  if (!what.empty()) message += fmt::format(" ({})", what);
  decoder_.fail({LoadError::Kind::kUnsupported, line, std::move(message)});
}
void Assembler::invalid(std::string_view what) {
  const int line = instruction_.line;
  decoder_.fail(
      {LoadError::Kind::kInvalidPtx, line, fmt::format("line {}: {} in '{}'", line, what, text())});
}
void Assembler::unresolved(std::string_view what) {
  const int line = instruction_.line;
  decoder_.fail({LoadError::Kind::kUnresolved, line,
                 fmt::format("line {}: '{}' is not defined", line, what)});
}

// ---- modifiers ----

bool Assembler::accept(std::string_view modifier) {
  for (size_t i = 1; i < instruction_.name.size() && i < 64; ++i) {
    if (instruction_.name[i] != modifier || is_taken(i)) continue;
    taken_ |= u64{1} << i;
    return true;
  }
  return false;
}

int Assembler::accept_one_of(std::initializer_list<std::string_view> modifiers) {
  int index = 0;
  for (std::string_view modifier : modifiers) {
    if (accept(modifier)) return index;
    ++index;
  }
  return -1;
}

std::string_view Assembler::take_next() {
  for (size_t i = 1; i < instruction_.name.size() && i < 64; ++i) {
    if (is_taken(i)) continue;
    taken_ |= u64{1} << i;
    return instruction_.name[i];
  }
  return {};
}

void Assembler::skip(std::initializer_list<std::string_view> modifiers) {
  for (std::string_view modifier : modifiers) accept(modifier);
}

bool Assembler::skip_cache_hints() {
  bool has_policy = false;
  for (size_t i = 1; i < instruction_.name.size() && i < 64; ++i) {
    const std::string_view m = instruction_.name[i];
    const bool hint = m.starts_with("L1::") || m.starts_with("L2::") || m.starts_with("level::") ||
                      m == "ca" || m == "cg" || m == "cs" || m == "lu" || m == "cv" || m == "wb" ||
                      m == "wt" || m == "nc";
    if (hint) taken_ |= u64{1} << i;
    has_policy |= m == "L2::cache_hint";
  }
  return has_policy;
}

ptx::Type Assembler::optional_type() {
  for (size_t i = 1; i < instruction_.name.size() && i < 64; ++i) {
    if (is_taken(i)) continue;
    if (const ptx::Type type = ptx::parse_type(instruction_.name[i])) {
      taken_ |= u64{1} << i;
      return type;
    }
  }
  return {};
}

ptx::Type Assembler::type() {
  const ptx::Type type = optional_type();
  if (!type) unsupported("no known type");
  return type;
}

Rounding Assembler::rounding(bool* found) {
  const int index = accept_one_of({"rn", "rz", "rm", "rp"});
  if (found != nullptr) *found = index >= 0;
  static constexpr Rounding kRoundings[] = {Rounding::kNearest, Rounding::kZero, Rounding::kDown,
                                            Rounding::kUp};
  return index < 0 ? Rounding::kNearest : kRoundings[index];
}

std::string_view Assembler::space() {
  for (size_t i = 1; i < instruction_.name.size() && i < 64; ++i) {
    if (is_taken(i)) continue;
    const std::string_view m = instruction_.name[i];
    for (std::string_view space : {"global", "shared", "local", "const", "param"}) {
      if (m == space || (space == "shared" && m == "shared::cta") ||
          (space == "param" && (m == "param::entry" || m == "param::func"))) {
        taken_ |= u64{1} << i;
        return space;
      }
    }
    if (m == "shared::cluster") {
      taken_ |= u64{1} << i;
      return "shared::cluster";
    }
  }
  return "generic";
}

bool Assembler::finish() {
  if (failed()) return false;
  if (instruction_.name.size() > 64) {
    unsupported("too many modifiers");
    return false;
  }
  for (size_t i = 1; i < instruction_.name.size(); ++i) {
    if (is_taken(i)) continue;
    unsupported(fmt::format("modifier '.{}'", instruction_.name[i]));
    return false;
  }
  return true;
}

// ---- operands ----

void Assembler::expect_operands(size_t least, size_t most) {
  if (operand_count() < least || operand_count() > most) invalid("wrong number of operands");
}

const ptx::Operand& Assembler::operand(size_t index) {
  static const ptx::Operand kMissing{};
  if (index < operand_count()) return instruction_.operands[index];
  invalid("too few operands");
  return kMissing;
}

const ptx::Type* Assembler::register_type(const ptx::Operand& operand) const {
  if (operand.kind != Kind::kRegister) return nullptr;
  return &function_.source->registers[static_cast<size_t>(operand.reg)];
}

unsigned Assembler::register_bits(const ptx::Operand& operand) const {
  const ptx::Type* const type = register_type(operand);
  return type == nullptr || type->is_predicate() ? 0 : type->total_bits();
}

bool Assembler::is_predicate(const ptx::Operand& operand) const {
  const ptx::Type* const type = register_type(operand);
  return type != nullptr && type->is_predicate();
}

Slot Assembler::constant(unsigned bits, u64 value) { return decoder_.constant(bits, value); }
Slot Assembler::temporary(unsigned bits) {
  return decoder_.allocate(bits == 64 ? 8 : bits == 128 ? 16 : 4);
}
Slot Assembler::special(Special special) { return decoder_.special(special); }

const u32* Assembler::list(std::vector<u32> values) {
  decoder_.kernel().lists.push_back(std::move(values));
  return decoder_.kernel().lists.back().data();
}

Slot Assembler::source32(const ptx::Operand& operand) {
  return source(operand, {ptx::Type::Kind::kBits, 32, 1});
}

Slot Assembler::whole128(const ptx::Operand& operand) {
  if (register_bits(operand) == 128) return function_.registers[static_cast<size_t>(operand.reg)];
  invalid("the operand is no 128-bit register");
  return 0;
}

Slot Assembler::source(const ptx::Operand& operand, ptx::Type type) {
  const unsigned bits = type.total_bits();
  const unsigned slot_bits = bits == 64 ? 64 : 32;
  if (operand.negated) invalid("'!' before what is no predicate");
  reject_part(operand);
  if (operand.second_reg >= 0) invalid("'|' in a source");
  if (bits == 128 || type.is_predicate()) {
    unsupported("operand type");
    return 0;
  }
  switch (operand.kind) {
    case Kind::kRegister:
      if (register_bits(operand) != bits) {
        invalid(fmt::format("a register of {} bits where {} are expected", register_bits(operand),
                            bits));
        return 0;
      }
      return function_.registers[static_cast<size_t>(operand.reg)];
    case Kind::kInteger:
      if (type.is_float() && bits >= 32) invalid("an integer constant where a float is expected");
      return constant(slot_bits, static_cast<u64>(operand.value));
    case Kind::kFloat32:
      if (bits < 32) invalid("a float constant where 16 bits are expected");
      if (bits == 64)
        return constant(64, std::bit_cast<u64>(static_cast<double>(
                                std::bit_cast<float>(static_cast<u32>(operand.value)))));
      return constant(32, static_cast<u64>(operand.value));
    case Kind::kFloat64:
      if (bits < 32) invalid("a float constant where 16 bits are expected");
      if (bits == 32)
        return constant(
            32, std::bit_cast<u32>(static_cast<float>(std::bit_cast<double>(operand.value))));
      return constant(64, static_cast<u64>(operand.value));
    case Kind::kSpecial:
      return special_register(operand.symbol, slot_bits);
    case Kind::kSymbol:
      return symbol_address(operand, slot_bits);
    case Kind::kVector:
      return pack(operand, bits);
    default:
      invalid("unexpected operand");
      return 0;
  }
}

void Assembler::reject_part(const ptx::Operand& operand) {
  if (operand.minus) invalid("'-' before a register");
  if (!operand.part.empty()) invalid(fmt::format("part '.{}' of a register", operand.part));
}

Slot Assembler::loose_source(const ptx::Operand& operand, ptx::Type type, unsigned* bits) {
  reject_part(operand);
  const unsigned have = register_bits(operand);
  if (have == 0) {
    if (is_predicate(operand)) invalid("a predicate where a value is expected");
    *bits = type.total_bits() == 64 ? 64 : 32;
    ptx::Type as = type;
    if (as.is_float() && as.bits == 16) as.kind = ptx::Type::Kind::kBits;
    return source(operand, as);
  }
  if (operand.negated || operand.second_reg >= 0) invalid("unexpected operand");
  if (have < type.total_bits() || have > 64) {
    invalid(fmt::format("a register of {} bits where {} are expected", have, type.total_bits()));
    *bits = 32;
    return 0;
  }
  *bits = have == 64 ? 64 : 32;
  return function_.registers[static_cast<size_t>(operand.reg)];
}

Slot Assembler::destination(const ptx::Operand& operand, ptx::Type type) {
  const unsigned bits = type.total_bits();
  reject_part(operand);
  if (operand.kind == Kind::kSink) return temporary(bits);
  if (operand.kind != Kind::kRegister || operand.negated) {
    invalid("the destination is no register");
    return 0;
  }
  if (register_bits(operand) != bits) {
    invalid(fmt::format("a destination of {} bits where {} are expected", register_bits(operand),
                        bits));
    return 0;
  }
  return function_.registers[static_cast<size_t>(operand.reg)];
}

Slot Assembler::loose_destination(const ptx::Operand& operand, ptx::Type type, unsigned* bits) {
  if (operand.kind == Kind::kSink) {
    *bits = type.total_bits() == 64 ? 64 : 32;
    return temporary(*bits);
  }
  reject_part(operand);
  const unsigned have = register_bits(operand);
  if (have < type.total_bits() || have == 0 || have > 64 || operand.second_reg >= 0) {
    invalid(fmt::format("a destination of {} bits where {} are expected", have, type.total_bits()));
    *bits = 32;
    return 0;
  }
  *bits = have == 64 ? 64 : 32;
  return function_.registers[static_cast<size_t>(operand.reg)];
}

u16 Assembler::predicate_destination(const ptx::Operand& operand) {
  reject_part(operand);
  if (operand.kind == Kind::kSink) return 0;
  if (!is_predicate(operand) || operand.negated) {
    invalid("the destination is no predicate");
    return 0;
  }
  return function_.predicates[static_cast<size_t>(operand.reg)];
}

u16 Assembler::second_predicate(const ptx::Operand& operand) {
  if (operand.second_reg < 0) return 0;
  const auto reg = static_cast<size_t>(operand.second_reg);
  if (!function_.source->registers[reg].is_predicate())
    invalid("the destination after '|' is no predicate");
  return function_.predicates[reg];
}

u16 Assembler::predicate_source(const ptx::Operand& operand, bool* negated) {
  reject_part(operand);
  *negated = operand.negated;
  if (operand.kind == Kind::kInteger) {
    *negated = operand.negated != (operand.value == 0);
    return 0;  // always true
  }
  if (!is_predicate(operand) || operand.second_reg >= 0) {
    invalid("the operand is no predicate");
    return 0;
  }
  return function_.predicates[static_cast<size_t>(operand.reg)];
}

s64 Assembler::immediate(const ptx::Operand& operand) {
  if (operand.kind != Kind::kInteger) invalid("expected an integer constant");
  return operand.value;
}

// {a, b}: several registers as one value.
Slot Assembler::pack(const ptx::Operand& operand, unsigned bits) {
  const auto count = static_cast<unsigned>(operand.elements.size());
  Op op;
  op.handler = handlers().pack(bits, count);
  if (op.handler == nullptr) {
    unsupported(fmt::format("{} elements in {} bits", count, bits));
    return 0;
  }
  const ptx::Type element{ptx::Type::Kind::kBits, static_cast<uint16_t>(bits / count), 1};
  std::vector<u32> slots;
  for (const ptx::Operand& e : operand.elements) {
    unsigned slot_bits = 0;
    slots.push_back(element.bits < 16 ? loose_source(e, element, &slot_bits) : source(e, element));
    if (slot_bits == 64) invalid("element wider than its place");
  }
  op.list = list(std::move(slots));
  op.d = temporary(bits);
  emit_unguarded(op);
  return op.d;
}

// ---- addresses ----

namespace {

Handler add64() { return handlers().integer(IntegerOp::kAdd, {ptx::Type::Kind::kUnsigned, 64, 1}); }

}  // namespace

Slot Assembler::symbol_address(const ptx::Operand& operand, unsigned bits) {
  const std::string_view name = operand.symbol;
  const LinkedProgram& program = decoder_.program();
  const u64 offset = static_cast<u64>(operand.value);
  auto narrow_only_shared = [&] {
    if (bits != 64) invalid(fmt::format("the address of '{}' in 32 bits", name));
  };
  auto sum = [&](Slot base, u64 addend) {
    narrow_only_shared();
    Op op;
    op.handler = add64();
    op.d = temporary(64);
    op.a = base;
    op.b = constant(64, addend);
    emit_unguarded(op);
    return op.d;
  };
  if (operand.local >= 0) {
    const auto index = static_cast<size_t>(operand.local);
    const ptx::Variable& variable = function_.source->locals[index];
    if (variable.space == "shared") {
      const bool dynamic = variable.is_extern || variable.count == 0;
      return constant(bits, (dynamic ? decoder_.dynamic_shared_offset()
                                     : decoder_.local_shared_offset(&variable)) +
                                offset);
    }
    return sum(decoder_.kernel().functions[function_.index].frame_slot,
               function_.local_offsets[index] + offset);
  }
  if (const auto formal = function_.formals.find(name); formal != function_.formals.end()) {
    return sum(decoder_.kernel().functions[function_.index].formals[formal->second], offset);
  }
  if (function_.index == 0) {
    const auto& params = function_.source->params;
    for (size_t i = 0; i < params.size(); ++i) {
      if (params[i].name == name)
        return sum(special(Special::kParamBase), decoder_.kernel().info.params[i].offset + offset);
    }
  }
  if (const auto variable = program.find_variable(function_.module, name)) {
    const LinkedVariable& linked = program.variables()[*variable];
    if (linked.variable->space == "shared") {
      return constant(bits, (linked.variable->count == 0 ? decoder_.dynamic_shared_offset()
                                                         : decoder_.shared_offset(*variable)) +
                                offset);
    }
    narrow_only_shared();
    return constant(64, linked.address + offset);
  }
  if (program.find_extern_shared(function_.module, name) != nullptr) {
    return constant(bits, decoder_.dynamic_shared_offset() + offset);
  }
  if (const auto index = program.find_function(function_.module, name)) {
    narrow_only_shared();
    return constant(64, LinkedProgram::function_address(*index) + offset);
  }
  unresolved(name);
  return 0;
}

bool Assembler::address(Op& op, const ptx::Operand& operand, std::string_view space, u64 bytes) {
  if (space == "shared::cluster") {
    // Shared memory of any block of the cluster: as a generic address from here on.
    Op generic;
    address(generic, operand, "shared", bytes);
    generic.handler = cluster_to_generic;
    generic.d = temporary(64);
    emit(generic);
    op.a = generic.d;
    op.imm = 0;
    op.flags = static_cast<u8>(AddressKind::kGeneric);
    return true;
  }
  auto use = [&](AddressKind kind) { op.flags = static_cast<u8>(kind); };
  op.imm = operand.value;
  op.access.bytes = static_cast<u16>(bytes);
  if (operand.kind != Kind::kAddress || !operand.elements.empty()) {
    invalid("expected an address");
    return true;
  }
  if (space == "param" && operand.reg < 0) {
    // By name: of this kernel, of this function, or of a call that is being prepared.
    if (function_.index == 0 && operand.local < 0) {
      const auto& params = function_.source->params;
      for (size_t i = 0; i < params.size(); ++i) {
        if (params[i].name != operand.symbol) continue;
        const ParamInfo& param = decoder_.kernel().info.params[i];
        if (operand.value < 0 || static_cast<u64>(operand.value) + bytes > param.size) {
          invalid(fmt::format("an access past parameter '{}'", operand.symbol));
        }
        op.imm = operand.value + param.offset;
        use(AddressKind::kParam);
        return false;
      }
    }
    use(AddressKind::kLocal);
    const DecodedFunction& decoded = decoder_.kernel().functions[function_.index];
    if (const auto formal = function_.formals.find(operand.symbol);
        operand.local < 0 && formal != function_.formals.end()) {
      op.a = decoded.formals[formal->second];
    } else if (operand.local >= 0) {
      const auto index = static_cast<size_t>(operand.local);
      if (function_.source->locals[index].space != "param")
        invalid(fmt::format("'{}' is no parameter", operand.symbol));
      op.a = decoded.frame_slot;
      op.imm += function_.local_offsets[index];
    } else {
      unresolved(operand.symbol);
    }
    return true;
  }
  if (operand.reg >= 0) {
    const ptx::Type& type = function_.source->registers[static_cast<size_t>(operand.reg)];
    op.a = function_.registers[static_cast<size_t>(operand.reg)];
    if (type.is_predicate() ||
        (type.total_bits() != 64 && !(space == "shared" && type.total_bits() == 32))) {
      invalid("an address register of the wrong size");
      op.a = 0;
      return true;
    }
    use(space == "shared"
            ? (type.total_bits() == 64 ? AddressKind::kShared64 : AddressKind::kShared32)
        : space == "local" ? AddressKind::kLocal
                           : AddressKind::kGeneric);
    return true;
  }
  if (operand.symbol.empty()) {  // [16]
    op.a = constant(64, 0);
    use(space == "shared" ? AddressKind::kShared64 : AddressKind::kGeneric);
    return true;
  }
  ptx::Operand symbol = operand;
  symbol.kind = Kind::kSymbol;
  symbol.value = 0;
  if (space == "shared") {
    op.a = symbol_address(symbol, 32);
    use(AddressKind::kShared32);
  } else {
    op.a = symbol_address(symbol, 64);
    use(space == "local" ? AddressKind::kLocal : AddressKind::kGeneric);
  }
  return true;
}

Slot Assembler::special_register(std::string_view name, unsigned bits) {
  struct Entry {
    std::string_view name;
    Special special;
  };
  static constexpr Entry kEntries[] = {
      {"%tid.x", Special::kTidX},
      {"%tid.y", Special::kTidY},
      {"%tid.z", Special::kTidZ},
      {"%ntid.x", Special::kNtidX},
      {"%ntid.y", Special::kNtidY},
      {"%ntid.z", Special::kNtidZ},
      {"%ctaid.x", Special::kCtaidX},
      {"%ctaid.y", Special::kCtaidY},
      {"%ctaid.z", Special::kCtaidZ},
      {"%nctaid.x", Special::kNctaidX},
      {"%nctaid.y", Special::kNctaidY},
      {"%nctaid.z", Special::kNctaidZ},
      {"%laneid", Special::kLaneId},
      {"%warpid", Special::kWarpId},
      {"%nwarpid", Special::kNwarpId},
      {"%lanemask_eq", Special::kLaneMaskEq},
      {"%lanemask_lt", Special::kLaneMaskLt},
      {"%lanemask_le", Special::kLaneMaskLe},
      {"%lanemask_gt", Special::kLaneMaskGt},
      {"%lanemask_ge", Special::kLaneMaskGe},
      {"%smid", Special::kSmId},
      {"%nsmid", Special::kNsmId},
      {"%gridid", Special::kGridId},
      {"%dynamic_smem_size", Special::kDynamicSmemSize},
      {"%total_smem_size", Special::kTotalSmemSize},
      {"%aggr_smem_size", Special::kTotalSmemSize},
      {"%envreg1", Special::kEnvReg1},
      {"%envreg2", Special::kEnvReg2},
      {"%clusterid.x", Special::kClusterIdX},
      {"%clusterid.y", Special::kClusterIdY},
      {"%clusterid.z", Special::kClusterIdZ},
      {"%nclusterid.x", Special::kNclusterIdX},
      {"%nclusterid.y", Special::kNclusterIdY},
      {"%nclusterid.z", Special::kNclusterIdZ},
      {"%cluster_ctaid.x", Special::kClusterCtaidX},
      {"%cluster_ctaid.y", Special::kClusterCtaidY},
      {"%cluster_ctaid.z", Special::kClusterCtaidZ},
      {"%cluster_nctaid.x", Special::kClusterNctaidX},
      {"%cluster_nctaid.y", Special::kClusterNctaidY},
      {"%cluster_nctaid.z", Special::kClusterNctaidZ},
      {"%cluster_ctarank", Special::kClusterCtarank},
      {"%cluster_nctarank", Special::kClusterNctarank},
  };
  struct Clock {
    std::string_view name;
    ClockKind kind;
    unsigned bits;
  };
  static constexpr Clock kClocks[] = {
      {"%clock", kClock32, 32},          {"%clock_hi", kGlobalTimerHigh, 32},
      {"%clock64", kClock64, 64},        {"%globaltimer", kGlobalTimer, 64},
      {"%globaltimer_lo", kClock32, 32}, {"%globaltimer_hi", kGlobalTimerHigh, 32},
  };
  if (name.starts_with("%reserved_smem_offset_")) {
    if (const auto offset = decoder_.reserved_shared_offset(name)) return constant(bits, *offset);
  }
  // Performance counters, and what only drivers write.
  const bool counter =
      name.size() == 4 && name.starts_with("%pm") && name[3] >= '0' && name[3] < '8';
  const bool wide_counter = name.size() == 7 && name.starts_with("%pm") && name.ends_with("_64") &&
                            name[3] >= '0' && name[3] < '8';
  const bool env = name.starts_with("%envreg") && name != "%envreg1" && name != "%envreg2";
  if (counter || wide_counter || env || name == "%current_graph_exec") return constant(bits, 0);
  for (const Clock& clock : kClocks) {
    if (clock.name != name) continue;
    if (clock.bits != bits) invalid(fmt::format("'{}' has {} bits", name, clock.bits));
    Op op;
    op.handler = find_clock(clock.kind);
    op.d = temporary(bits);
    emit_unguarded(op);
    return op.d;
  }
  for (const Entry& entry : kEntries) {
    if (entry.name != name) continue;
    const Slot slot = special(entry.special);
    if (is_wide(entry.special) == (bits == 64)) return slot;
    if (bits != 64) {
      invalid(fmt::format("'{}' has 64 bits", name));
      return 0;
    }
    Op op;  // zero-extended
    op.handler = handlers().convert({ptx::Type::Kind::kUnsigned, 64, 1},
                                    {ptx::Type::Kind::kUnsigned, 32, 1}, {}, 64);
    op.a = slot;
    op.d = temporary(64);
    emit_unguarded(op);
    return op.d;
  }
  unsupported(fmt::format("special register '{}'", name));
  return 0;
}

// ---- output ----

void Assembler::guard(Op& op) const {
  if (instruction_.guard >= 0) {
    op.guard = function_.predicates[static_cast<size_t>(instruction_.guard)];
    op.guard_negated = instruction_.guard_negated;
  }
  op.line = static_cast<u32>(instruction_.line);
}

void Assembler::emit(Op op) {
  guard(op);
  emit_unguarded(op);
}

void Assembler::emit_unguarded(Op op) {
  op.line = static_cast<u32>(instruction_.line);
  decoder_.emit(op);
}

void Assembler::emit_for_warp(Op op) {
  op.control = Control::kWarpSync;
  op.c = constant(32, kAllLanes);
  emit(op);
}

void Assembler::emit_simple(Handler handler, ptx::Type type) {
  if (handler == nullptr) return unsupported("");
  Op op;
  op.handler = handler;
  op.d = destination(operand(0), type);
  op.a = source(operand(1), type);
  if (operand_count() > 2) op.b = source(operand(2), type);
  if (operand_count() > 3) op.c = source(operand(3), type);
  emit(op);
}

}  // namespace farcall::softgpu
