// Liveness by the textbook: which registers carry a value into and out of each basic block, by
// iterating backwards. A register's life is then taken as one interval of the text from its first
// to its last live place, and places are given out in text order. Lanes that diverge need no
// thought: each lane follows the control flow by itself, and an instruction writes the active lanes
// only.
#include "softgpu/decode/registers.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <string_view>
#include <unordered_set>

namespace farcall::softgpu {
namespace {

// Above this (registers times blocks) the analysis costs more memory than it is worth.
constexpr uint64_t kBitsMax = uint64_t{1} << 28;

using Bits = std::vector<uint64_t>;

struct Block {
  uint32_t begin, end;  // instructions
  std::vector<uint32_t> successors;
  Bits use, define, in, out;
};

struct Interval {
  uint32_t reg;
  uint32_t begin, end;  // inclusive
};

// Instructions whose first operand is no result, although it may be a register.
bool has_no_result(std::string_view opcode) {
  static const std::unordered_set<std::string_view> kNames = {
      "bar",       "barrier",        "bra",           "brx", "call",     "nanosleep",
      "pmevent",   "griddepcontrol", "setmaxnreg",    "st",  "red",      "prefetch",
      "prefetchu", "discard",        "applypriority", "cp",  "stmatrix", "membar",
      "fence",     "stackrestore"};
  return kNames.contains(opcode);
}

template <class F>
void for_each_register(const ptx::Operand& operand, F f) {
  if (operand.reg >= 0) f(static_cast<uint32_t>(operand.reg));
  if (operand.second_reg >= 0) f(static_cast<uint32_t>(operand.second_reg));
  for (const ptx::Operand& element : operand.elements) for_each_register(element, f);
}

// Calls use(register) and define(register) in the order in which they happen.
template <class Use, class Define>
void for_each_access(const ptx::Instruction& instruction, Use use, Define define) {
  const std::string_view opcode = instruction.name[0];
  const bool reduces = opcode == "bar" || opcode == "barrier";  // bar.red has a result
  const bool has_result = !has_no_result(opcode) ||
                          (reduces && std::find(instruction.name.begin(), instruction.name.end(),
                                                "red") != instruction.name.end());
  for (size_t i = 0; i < instruction.operands.size(); ++i) {
    const ptx::Operand& operand = instruction.operands[i];
    const bool result = i == 0 && has_result && operand.kind != ptx::Operand::Kind::kAddress;
    // A guarded result leaves the old value in the other lanes.
    if (!result || instruction.guard >= 0) for_each_register(operand, use);
  }
  if (instruction.operands.empty() || !has_result) return;
  const ptx::Operand& operand = instruction.operands[0];
  if (operand.kind != ptx::Operand::Kind::kAddress) for_each_register(operand, define);
}

void set(Bits& bits, uint32_t i) { bits[i / 64] |= uint64_t{1} << (i % 64); }
bool test(const Bits& bits, uint32_t i) { return (bits[i / 64] >> (i % 64) & 1) != 0; }

class Analysis {
 public:
  explicit Analysis(const ptx::Function& function) : function_(function) {}

  std::vector<Interval> run() {
    find_blocks();
    const uint64_t bits = uint64_t{function_.registers.size()} * blocks_.size();
    if (bits > kBitsMax) return {};
    find_local_accesses();
    propagate();
    return intervals();
  }

 private:
  void find_blocks() {
    const auto& body = function_.body;
    const auto count = static_cast<uint32_t>(body.size());
    std::vector<bool> starts(count + 1);
    starts[0] = true;
    auto targets = [&](const ptx::Instruction& instruction, auto f) {
      // Jumps with wrong operands are refused later, when they are decoded.
      if (instruction.name[0] == "bra" && !instruction.operands.empty())
        f(static_cast<uint32_t>(instruction.operands[0].target));
      if (instruction.name[0] == "brx" && instruction.operands.size() == 2 &&
          instruction.operands[1].target >= 0) {
        for (int32_t t :
             function_.branch_tables[static_cast<size_t>(instruction.operands[1].target)])
          f(static_cast<uint32_t>(t));
      }
    };
    auto ends_block = [](const ptx::Instruction& instruction) {
      const std::string_view opcode = instruction.name[0];
      return opcode == "bra" || opcode == "brx" || opcode == "ret" || opcode == "exit";
    };
    for (uint32_t i = 0; i < count; ++i) {
      if (!ends_block(body[i])) continue;
      starts[i + 1] = true;
      targets(body[i], [&](uint32_t t) {
        if (t <= count) starts[t] = true;
      });
    }
    std::vector<uint32_t> block_of(count + 1);
    for (uint32_t i = 0; i < count; ++i) {
      if (starts[i]) blocks_.push_back({i, i, {}, {}, {}, {}, {}});
      block_of[i] = static_cast<uint32_t>(blocks_.size() - 1);
      blocks_.back().end = i + 1;
    }
    for (uint32_t b = 0; b < blocks_.size(); ++b) {
      const ptx::Instruction& last = body[blocks_[b].end - 1];
      auto add = [&](uint32_t instruction) {
        if (instruction < count) blocks_[b].successors.push_back(block_of[instruction]);
      };
      targets(last, add);
      // Only an unguarded jump does not go on.
      if (!ends_block(last) || last.guard >= 0) add(blocks_[b].end);
    }
  }

  void find_local_accesses() {
    const size_t words = (function_.registers.size() + 63) / 64;
    for (Block& block : blocks_) {
      block.use.assign(words, 0);
      block.define.assign(words, 0);
      block.in.assign(words, 0);
      block.out.assign(words, 0);
      for (uint32_t i = block.begin; i < block.end; ++i) {
        for_each_access(
            function_.body[i],
            [&](uint32_t r) {
              if (!test(block.define, r)) set(block.use, r);
            },
            [&](uint32_t r) { set(block.define, r); });
      }
    }
  }

  void propagate() {
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t b = blocks_.size(); b-- > 0;) {
        Block& block = blocks_[b];
        for (size_t w = 0; w < block.in.size(); ++w) {
          uint64_t out = 0;
          for (uint32_t successor : block.successors) out |= blocks_[successor].in[w];
          const uint64_t in = block.use[w] | (out & ~block.define[w]);
          changed |= in != block.in[w];
          block.out[w] = out;
          block.in[w] = in;
        }
      }
    }
  }

  std::vector<Interval> intervals() {
    constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
    std::vector<Interval> lives(function_.registers.size());
    for (uint32_t r = 0; r < lives.size(); ++r) lives[r] = {r, kNone, 0};
    auto cover = [&](uint32_t r, uint32_t at) {
      lives[r].begin = std::min(lives[r].begin, at);
      lives[r].end = std::max(lives[r].end, at);
    };
    for (const Block& block : blocks_) {
      for (uint32_t w = 0; w < block.in.size(); ++w) {
        for (uint64_t bits = block.in[w]; bits != 0; bits &= bits - 1)
          cover(w * 64 + static_cast<uint32_t>(__builtin_ctzll(bits)), block.begin);
        for (uint64_t bits = block.out[w]; bits != 0; bits &= bits - 1)
          cover(w * 64 + static_cast<uint32_t>(__builtin_ctzll(bits)), block.end - 1);
      }
      for (uint32_t i = block.begin; i < block.end; ++i) {
        for_each_access(
            function_.body[i], [&](uint32_t r) { cover(r, i); }, [&](uint32_t r) { cover(r, i); });
      }
    }
    // Formals in registers come first; they are read and written outside the body as well.
    uint32_t formals = 0;
    for (const auto* list : {&function_.returns, &function_.params}) {
      for (const ptx::Variable& formal : *list) formals += formal.space == "reg" ? 1 : 0;
    }
    for (uint32_t r = 0; r < formals && r < lives.size(); ++r)
      lives[r] = {r, 0, static_cast<uint32_t>(function_.body.size())};
    std::erase_if(lives, [](const Interval& life) { return life.begin == kNone; });
    return lives;
  }

  const ptx::Function& function_;
  std::vector<Block> blocks_;
};

// The register whose value instruction `at` hands on unchanged to `reg`; -1: it does not.
int32_t copied_register(const ptx::Function& function, uint32_t at, uint32_t reg) {
  const ptx::Instruction& instruction = function.body[at];
  const auto& name = instruction.name;
  const bool shared = std::any_of(name.begin(), name.end(), [](std::string_view modifier) {
    return modifier.starts_with("shared");
  });
  if (instruction.guard >= 0 || instruction.operands.size() != 2) return -1;
  if (name[0] != "mov" && (name[0] != "cvta" || shared)) return -1;
  const ptx::Operand &to = instruction.operands[0], &from = instruction.operands[1];
  if (to.kind != ptx::Operand::Kind::kRegister || to.reg != static_cast<int32_t>(reg)) return -1;
  if (from.kind != ptx::Operand::Kind::kRegister || from.second_reg >= 0) return -1;
  const auto bits = [&](int32_t r) {
    return function.registers[static_cast<size_t>(r)].total_bits();
  };
  return bits(to.reg) == bits(from.reg) && bits(to.reg) <= 64 ? from.reg : -1;
}

}  // namespace

RegisterPlan plan_registers(const ptx::Function& function, const std::vector<bool>& apart) {
  const auto is_apart = [&](size_t r) { return !apart.empty() && apart[r]; };
  RegisterPlan plan;
  plan.place.assign(function.registers.size(), -1);
  std::vector<Interval> lives;
  if (!function.body.empty()) lives = Analysis(function).run();
  if (lives.empty()) {  // each for itself
    for (size_t r = 0; r < function.registers.size(); ++r) {
      if (function.registers[r].is_predicate() || is_apart(r)) continue;
      plan.place[r] =
          static_cast<int32_t>(plan.count[RegisterPlan::width_class(function.registers[r])]++);
    }
    return plan;
  }
  std::sort(lives.begin(), lives.end(), [](const Interval& a, const Interval& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.reg < b.reg;
  });
  struct Ending {
    uint32_t at, reg;
    int32_t place;
    bool operator>(const Ending& other) const { return at > other.at; }
  };
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> active[3];
  std::vector<int32_t> free[3];
  std::vector<uint32_t> end(function.registers.size());
  std::vector<bool> inherited(function.registers.size());  // a copy has the place
  for (const Interval& life : lives) {
    const ptx::Type& type = function.registers[life.reg];
    if (type.is_predicate() || is_apart(life.reg)) continue;
    const int c = RegisterPlan::width_class(type);
    // A place is free behind the last use: an instruction's result never overwrites its own
    // operands, of which a handler may read a part after it has written.
    while (!active[c].empty() && active[c].top().at < life.begin) {
      if (!inherited[active[c].top().reg]) free[c].push_back(active[c].top().place);
      active[c].pop();
    }
    end[life.reg] = life.end;
    const int32_t original = copied_register(function, life.begin, life.reg);
    int32_t place;
    if (original >= 0 && plan.place[static_cast<size_t>(original)] >= 0 &&
        end[static_cast<size_t>(original)] == life.begin) {
      place = plan.place[static_cast<size_t>(original)];
      inherited[static_cast<size_t>(original)] = true;
    } else if (free[c].empty()) {
      place = static_cast<int32_t>(plan.count[c]++);
    } else {
      place = free[c].back();  // the one used last is still in the cache
      free[c].pop_back();
    }
    plan.place[life.reg] = place;
    active[c].push({life.end, life.reg, place});
  }
  return plan;
}

}  // namespace farcall::softgpu
