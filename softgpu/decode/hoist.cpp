// An instruction can run beforehand when it has no effect but its result, can't fault for any
// operands, runs unguarded, is the only one that writes its result (compilers' PTX is nearly in
// single-assignment form), and its operands can be computed beforehand too. Where the program
// would not have come to it the result is never read, so it does no harm.
#include "softgpu/decode/hoist.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace farcall::softgpu {
namespace {

using Kind = ptx::Operand::Kind;

// Each hoisted register keeps a slot for itself for the whole kernel.
constexpr size_t kHoistedMax = 512;

template <class F>
void for_each_register(const ptx::Operand& operand, F f) {
  if (operand.reg >= 0) f(static_cast<size_t>(operand.reg));
  if (operand.second_reg >= 0) f(static_cast<size_t>(operand.second_reg));
  for (const ptx::Operand& element : operand.elements) for_each_register(element, f);
}

bool is_pure(std::string_view opcode) {
  static const std::unordered_set<std::string_view> kNames = {
      "mov", "cvta", "add",  "sub",  "mul",  "mad",  "mul24", "mad24", "fma",  "neg",
      "abs", "min",  "max",  "and",  "or",   "xor",  "not",   "cnot",  "shl",  "shr",
      "shf", "bfe",  "bfi",  "prmt", "lop3", "sad",  "clz",   "popc",  "brev", "bfind",
      "cvt", "div",  "bmsk", "rem",  "rcp",  "sqrt", "szext"};
  return kNames.contains(opcode);
}

Lasting of_special(std::string_view name) {
  static const std::unordered_set<std::string_view> kOfWarp = {
      "%tid.x",       "%tid.y",       "%tid.z",       "%laneid",      "%warpid",
      "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge"};
  static const std::unordered_set<std::string_view> kOfGrid = {
      "%ntid.x",   "%ntid.y",  "%ntid.z", "%nctaid.x",          "%nctaid.y",
      "%nctaid.z", "%nwarpid", "%nsmid",  "%dynamic_smem_size", "%total_smem_size",
      "%envreg1",  "%envreg2"};
  if (kOfWarp.contains(name)) return Lasting::kWarp;
  if (kOfGrid.contains(name)) return Lasting::kGrid;
  return name.starts_with("%ctaid.") ? Lasting::kBlock : Lasting::kNot;
}

// Of a value computed from both.
Lasting meet(Lasting a, Lasting b) {
  if (a == Lasting::kGrid) return b;
  if (b == Lasting::kGrid || a == b) return a;
  return Lasting::kNot;  // %tid and %ctaid
}

class Planner {
 public:
  explicit Planner(const ptx::Function& kernel)
      : kernel_(kernel), writers_(kernel.registers.size()), registers_(kernel.registers.size()) {
    for (const ptx::Instruction& instruction : kernel.body) {
      if (instruction.operands.empty() || instruction.operands[0].kind == Kind::kAddress) continue;
      for_each_register(instruction.operands[0], [&](size_t r) { ++writers_[r]; });
    }
  }

  HoistPlan run() {
    HoistPlan plan;
    plan.instructions.reserve(kernel_.body.size());
    plan.registers.resize(kernel_.registers.size());
    for (const ptx::Instruction& instruction : kernel_.body) {
      const Lasting lasting = hoisted_ < kHoistedMax ? of(instruction) : Lasting::kNot;
      plan.instructions.push_back(lasting);
      if (lasting == Lasting::kNot) continue;
      for_each_register(instruction.operands[0], [&](size_t r) {
        registers_[r] = lasting;
        plan.registers[r] = true;
        ++hoisted_;
      });
    }
    return plan;
  }

 private:
  Lasting of(const ptx::Instruction& instruction) const {
    const auto& name = instruction.name;
    const auto& operands = instruction.operands;
    if (instruction.guard >= 0 || operands.size() < 2) return Lasting::kNot;
    if (operands[0].kind != Kind::kRegister && operands[0].kind != Kind::kVector)
      return Lasting::kNot;
    bool alone = true;
    for_each_register(operands[0], [&](size_t r) {
      const ptx::Type& type = kernel_.registers[r];
      alone = alone && writers_[r] == 1 && !type.is_predicate() && type.total_bits() <= 64;
    });
    if (!alone) return Lasting::kNot;
    const auto has = [&](std::string_view modifier) {
      return std::find(name.begin(), name.end(), modifier) != name.end();
    };
    if (name[0] == "ld") return has("param") ? of_parameter(operands[1]) : Lasting::kNot;
    // Carries are a state between instructions.
    if (!is_pure(name[0]) || has("cc")) return Lasting::kNot;
    Lasting lasting = Lasting::kGrid;
    if (name[0] == "cvta") {
      // Which block of a cluster an address belongs to, only the running block can say.
      if (has("shared::cluster") || (has("to") && (has("shared") || has("shared::cta"))))
        return Lasting::kNot;
      // The block's shared memory may lie elsewhere for the next one.
      if (has("shared") || has("shared::cta")) lasting = Lasting::kBlock;
    }
    for (size_t i = 1; i < operands.size(); ++i) lasting = meet(lasting, of(operands[i]));
    return lasting;
  }

  Lasting of(const ptx::Operand& operand) const {
    if (operand.negated || operand.second_reg >= 0) return Lasting::kNot;
    switch (operand.kind) {
      case Kind::kInteger:
      case Kind::kFloat32:
      case Kind::kFloat64:
        return Lasting::kGrid;
      case Kind::kRegister:
        return registers_[static_cast<size_t>(operand.reg)];
      case Kind::kSpecial:
        return of_special(operand.symbol);
      case Kind::kSymbol: {
        if (operand.local < 0) return Lasting::kGrid;
        // Local variables lie in the thread's frame.
        const auto& space = kernel_.locals[static_cast<size_t>(operand.local)].space;
        return space == "shared" ? Lasting::kGrid : Lasting::kWarp;
      }
      case Kind::kVector: {
        Lasting lasting = Lasting::kGrid;
        for (const ptx::Operand& element : operand.elements) lasting = meet(lasting, of(element));
        return lasting;
      }
      default:
        return Lasting::kNot;
    }
  }

  // By name only: such an address can't be wrong.
  Lasting of_parameter(const ptx::Operand& operand) const {
    const bool named = operand.kind == Kind::kAddress && operand.reg < 0 && operand.local < 0 &&
                       operand.elements.empty();
    if (!named) return Lasting::kNot;
    const bool own =
        std::any_of(kernel_.params.begin(), kernel_.params.end(),
                    [&](const ptx::Variable& param) { return param.name == operand.symbol; });
    return own ? Lasting::kGrid : Lasting::kNot;
  }

  const ptx::Function& kernel_;
  std::vector<uint32_t> writers_;
  std::vector<Lasting> registers_;
  size_t hoisted_ = 0;
};

}  // namespace

HoistPlan plan_hoisting(const ptx::Function& kernel) { return Planner(kernel).run(); }

}  // namespace farcall::softgpu
