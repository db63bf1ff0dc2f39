// Branches, calls, barriers, the end of threads.
#include <fmt/format.h>

#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

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

// The places in the caller's frame of the return values and parameters, in the order of the
// callee's formals.
std::vector<u32> argument_offsets(Assembler& a, const ptx::Operand* returns,
                                  const ptx::Operand* params) {
  std::vector<u32> offsets;
  for (const ptx::Operand* list : {returns, params}) {
    if (list == nullptr) continue;
    for (const ptx::Operand& argument : list->elements) {
      const bool is_param =
          argument.kind == Kind::kSymbol && argument.local >= 0 &&
          a.function().source->locals[static_cast<size_t>(argument.local)].space == "param";
      if (!is_param) {
        a.unsupported("an argument that is no .param variable");
        return {};
      }
      offsets.push_back(a.function().local_offsets[static_cast<size_t>(argument.local)]);
    }
  }
  return offsets;
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
  std::vector<u32> offsets = argument_offsets(a, returns, params);
  if (a.failed()) return;
  if (offsets.size() > 255) return a.unsupported("more than 255 parameters");

  Op op;
  op.count = static_cast<u8>(offsets.size());
  op.list = a.list(std::move(offsets));
  op.imm = a.function().index;
  if (target.kind == Kind::kRegister) {
    op.control = Control::kCallIndirect;
    op.a = a.source(target, {ptx::Type::Kind::kBits, 64, 1});
    return a.emit(op);
  }
  if (target.kind != Kind::kSymbol) return a.invalid("no function to call");
  const LinkedProgram& program = a.decoder().program();
  if (const auto linked = program.find_function(a.function().module, target.symbol)) {
    const ptx::Function& function = *program.functions()[*linked].function;
    if (function.is_entry) return a.unsupported("call of a kernel");
    if (function.returns.size() + function.params.size() != op.count)
      return a.invalid("wrong number of arguments");
    op.control = Control::kCall;
    op.target = a.decoder().function_index(*linked);
    return a.emit(op);
  }
  unsigned formals = 0;
  op.handler = find_library_function(target.symbol, &formals);
  if (op.handler == nullptr) return a.unresolved(target.symbol);
  if (formals != op.count) return a.invalid("wrong number of arguments");
  op.a = a.decoder().kernel().functions[a.function().index].frame_slot;
  a.emit(op);
}

void decode_return(Assembler& a, bool is_exit) {
  a.accept("uni");
  a.expect_operands(0, 0);
  Op op;
  op.control = is_exit || a.function().index == 0 ? Control::kExit : Control::kReturn;
  op.target = a.function().index;
  a.emit(op);
}

void decode_barrier(Assembler& a) {
  a.skip({"cta", "aligned"});
  if (a.accept("cluster")) return a.unsupported("");
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
