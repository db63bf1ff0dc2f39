// Branches, calls, barriers, the end of threads.
#include <fmt/format.h>

#include <optional>

#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/stack.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Operand::Kind;

void decode_bra(Assembler& a) {
  a.accept("uni");
  a.expect_operands(1, 1);
  if (a.operand(0).target < 0) return a.invalid("no label");
  Op op;
  op.control = Control::kBranch;
  a.decoder().fix_target(a.decoder().kernel().code.size(), static_cast<u32>(a.operand(0).target));
  a.emit(op);
}

void decode_brx(Assembler& a) {
  a.accept("idx");
  a.accept("uni");
  a.expect_operands(2, 2);
  if (a.operand(1).target < 0) return a.invalid("no branch targets");
  Op op;
  op.control = Control::kBranchIndexed;
  op.a = a.source32(a.operand(0));
  std::vector<u32> targets;
  for (int32_t target :
       a.function().source->branch_tables[static_cast<size_t>(a.operand(1).target)]) {
    targets.push_back(static_cast<u32>(target));
  }
  op.target = static_cast<u32>(targets.size());
  op.list = a.list(std::move(targets));
  a.decoder().fix_list(a.decoder().kernel().lists.back());
  a.emit(op);
}

// An argument in the caller's frame. Registers and constants have a place there for the call.
struct Argument {
  const ptx::Operand* operand;
  u32 offset;
  ptx::Type type;  // none: a .param variable, which is there already
  bool is_return;
};

// In the order of the callee's formals; nullptr: the callee is not known.
std::vector<Argument> find_arguments(Assembler& a, const ptx::Operand* returns,
                                     const ptx::Operand* params, const ptx::Function* callee) {
  std::vector<Argument> arguments;
  const FunctionContext& function = a.function();
  u32 scratch = function.call_scratch;
  for (const ptx::Operand* list : {returns, params}) {
    if (list == nullptr) continue;
    const bool is_return = list == returns;
    for (size_t i = 0; i < list->elements.size(); ++i) {
      const ptx::Operand& operand = list->elements[i];
      const auto local = static_cast<size_t>(operand.local);
      if (operand.kind == Kind::kSymbol) {
        if (operand.local < 0 || function.source->locals[local].space != "param") {
          a.unsupported("an argument that is no .param variable");
          return {};
        }
        arguments.push_back({&operand, function.local_offsets[local], {}, is_return});
        continue;
      }
      ptx::Type type;
      if (const ptx::Type* const of_register = a.register_type(operand)) type = *of_register;
      if (callee != nullptr) {
        const auto& formals = is_return ? callee->returns : callee->params;
        if (i < formals.size() && formals[i].count == 1 && formals[i].vector == 1)
          type = formals[i].type;
        else
          type = {};
      }
      if (!type || type.is_predicate() || type.total_bits() == 128) {
        a.unsupported("an argument of this kind");
        return {};
      }
      arguments.push_back({&operand, scratch, type, is_return});
      scratch += 16;
    }
  }
  return arguments;
}

// Between a register and its place in the frame.
void emit_argument(Assembler& a, const Argument& argument) {
  unsigned bits = 0;
  Op op;
  op.a = a.decoder().kernel().functions[a.function().index].frame_slot;
  op.imm = argument.offset;
  op.flags = static_cast<u8>(AddressKind::kLocal);
  op.count = 1;
  if (argument.is_return) {
    op.d = a.loose_destination(*argument.operand, argument.type, &bits);
    op.handler = handlers().load(argument.type, AddressKind::kLocal, bits);
    op.access.kind = Access::kRead;
  } else {
    op.b = a.loose_source(*argument.operand, argument.type, &bits);
    op.handler = handlers().store(argument.type, AddressKind::kLocal, bits);
    op.access.kind = Access::kWrite;
  }
  op.access.bytes = static_cast<u16>(argument.type.bytes());
  op.access.register_bits = static_cast<u8>(bits);
  if (op.handler == nullptr) return a.unsupported("an argument of this type");
  a.emit(op);
}

void decode_call(Assembler& a) {
  a.accept("uni");
  const auto& operands = a.instruction().operands;
  size_t next = 0;
  const ptx::Operand* returns = nullptr;
  if (next < operands.size() && operands[next].kind == Kind::kVector) returns = &operands[next++];
  const ptx::Operand& target = a.operand(next++);
  const ptx::Operand* params = nullptr;
  if (next < operands.size() && operands[next].kind == Kind::kVector) params = &operands[next++];
  // What may follow is the prototype of an indirect call, or a list of its targets.
  if (operands.size() > next + 1) return a.invalid("wrong number of operands");
  const LinkedProgram& program = a.decoder().program();
  std::optional<u32> linked;
  if (target.kind == Kind::kSymbol)
    linked = program.find_function(a.function().module, target.symbol);
  const ptx::Function* const callee = linked ? program.functions()[*linked].function : nullptr;
  unsigned formals = 0;
  Handler library = nullptr;
  if (target.kind == Kind::kSymbol) {
    library = find_launch_function(target.symbol, &formals);
    if (library == nullptr && callee == nullptr)
      library = find_library_function(target.symbol, &formals);
  }
  const std::vector<Argument> arguments = find_arguments(a, returns, params, callee);
  if (a.failed()) return;
  if (arguments.size() > 255) return a.unsupported("more than 255 parameters");

  Op op;
  std::vector<u32> offsets;
  for (const Argument& argument : arguments) offsets.push_back(argument.offset);
  op.count = static_cast<u8>(offsets.size());
  op.list = a.list(std::move(offsets));
  op.imm = a.function().index;
  if (target.kind == Kind::kRegister) {
    op.control = Control::kCallIndirect;
    op.a = a.source(target, {ptx::Type::Kind::kBits, 64, 1});
  } else if (target.kind != Kind::kSymbol) {
    return a.invalid("no function to call");
  } else if (library != nullptr) {
    if (formals != op.count) return a.invalid("wrong number of arguments");
    op.handler = library;
    op.a = a.decoder().kernel().functions[a.function().index].frame_slot;
  } else if (callee != nullptr) {
    if (callee->is_entry) return a.unsupported("call of a kernel");
    if (callee->returns.size() + callee->params.size() != op.count)
      return a.invalid("wrong number of arguments");
    op.control = Control::kCall;
    op.target = a.decoder().function_index(*linked);
  } else {
    return a.unresolved(target.symbol);
  }
  for (const Argument& argument : arguments) {
    if (argument.type && !argument.is_return) emit_argument(a, argument);
  }
  a.emit(op);
  for (const Argument& argument : arguments) {
    if (argument.type && argument.is_return) emit_argument(a, argument);
  }
}

// alloca.u64 d, size, alignment; stacksave.u64 d; stackrestore.u64 a
void decode_stack(Assembler& a) {
  const ptx::Type type = a.type();
  if (type.total_bits() != 64 || !type.is_integer()) return a.unsupported("addresses of 32 bits");
  Op op;
  op.c = a.decoder().alloca_top();
  if (a.opcode() == "alloca") {
    a.expect_operands(2, 3);
    op.handler = stack_take;
    op.imm = a.operand_count() == 3 ? a.immediate(a.operand(2)) : 8;
    if (op.imm < 1 || op.imm > 4096 || (op.imm & (op.imm - 1)) != 0)
      return a.invalid("the alignment is no power of two of a sensible size");
    op.d = a.destination(a.operand(0), type);
    op.a = a.source(a.operand(1), type);
  } else if (a.opcode() == "stacksave") {
    a.expect_operands(1, 1);
    op.handler = handlers().copy(64);
    op.d = a.destination(a.operand(0), type);
    op.a = op.c;
  } else {
    a.expect_operands(1, 1);
    op.handler = stack_restore;
    op.a = a.source(a.operand(0), type);
  }
  a.emit(op);
}

void decode_return(Assembler& a, bool is_exit) {
  a.accept("uni");
  a.expect_operands(0, 0);
  Op op;
  op.control = is_exit || a.function().index == 0 ? Control::kExit : Control::kReturn;
  op.target = a.function().index;
  if (op.control == Control::kReturn) {
    Op at;
    a.guard(at);
    a.decoder().emit_epilogue(a.function(), at);
  }
  a.emit(op);
}

void decode_barrier(Assembler& a) {
  a.skip({"cta", "aligned"});
  if (a.accept("cluster")) return decode_cluster_barrier(a);
  Op op;
  if (a.accept("warp")) {
    if (!a.accept("sync")) return a.unsupported("");
    a.expect_operands(1, 1);
    op.control = Control::kWarpSync;
    op.c = a.source32(a.operand(0));
    return a.emit(op);
  }
  op.control = Control::kBarrier;
  if (a.accept("red")) {
    static constexpr BarrierKind kKinds[] = {kBarrierPopc, kBarrierAnd, kBarrierOr};
    const int kind = a.accept_one_of({"popc", "and", "or"});
    const ptx::Type type = a.type();
    a.expect_operands(3, 4);
    if (kind < 0) return a.invalid("no operation");
    op.flags = kKinds[kind];
    if (op.flags == kBarrierPopc)
      op.d = a.destination(a.operand(0), type);
    else
      op.pd = a.predicate_destination(a.operand(0));
    op.a = a.source32(a.operand(1));
    if (a.operand_count() == 4) op.b = a.source32(a.operand(2));
    bool negated = false;
    op.ps = a.predicate_source(a.operand(a.operand_count() - 1), &negated);
    op.count = negated ? 1 : 0;
    return a.emit(op);
  }
  const bool arrive = a.accept("arrive");
  if (!arrive && !a.accept("sync")) return a.unsupported("");
  a.expect_operands(arrive ? 2 : 1, 2);
  op.flags = arrive ? kBarrierArrive : kBarrierSync;
  op.a = a.source32(a.operand(0));
  if (a.operand_count() == 2) op.b = a.source32(a.operand(1));
  a.emit(op);
}

}  // namespace

bool decode_control(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "bra") return decode_bra(a), true;
  if (opcode == "brx") return decode_brx(a), true;
  if (opcode == "call") return decode_call(a), true;
  if (opcode == "alloca" || opcode == "stacksave" || opcode == "stackrestore")
    return decode_stack(a), true;
  if (opcode == "ret" || opcode == "exit") return decode_return(a, opcode == "exit"), true;
  if (opcode == "bar" || opcode == "barrier") return decode_barrier(a), true;
  if (opcode == "trap") {
    Op op;
    op.handler = trap;
    return a.emit(op), true;
  }
  if (opcode == "nanosleep") {
    a.type();
    Op op;
    op.control = Control::kYield;
    a.decoder().kernel().may_wait = true;
    return a.emit(op), true;
  }
  if (opcode == "pmevent" || opcode == "griddepcontrol" || opcode == "brkpt" ||
      opcode == "setmaxnreg") {
    // Events for profilers, launches that overlap (here they do not), register counts.
    a.skip({"mask", "launch_dependents", "wait", "inc", "dec", "sync", "aligned"});
    a.optional_type();
    Op op;
    op.handler = no_operation;
    return a.emit(op), true;
  }
  return false;
}

}  // namespace farcall::softgpu
