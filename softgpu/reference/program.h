// PTX as the reference reads it: a plain list of instructions with words as operands, nothing
// resolved but registers and labels. Of the engine's parser it knows nothing. It reads texts that
// are known to be valid, and throws std::runtime_error at what it does not understand.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "softgpu/reference/soft_float.h"

namespace farcall::softgpu::reference {

struct Type {
  char kind = 0;  // u, s, b, f; h: bfloat; p: predicate; 0: none
  int bits = 0;   // of one element
  int lanes = 1;

  int total() const { return bits * lanes; }
  bool is_float() const { return kind == 'f' || kind == 'h'; }
};
Type parse_type(std::string_view name);  // without the dot; kind 0: no type

struct Operand {
  enum class Kind { kRegister, kNumber, kName, kAddress, kVector, kSink } kind = Kind::kSink;
  int reg = -1;          // kRegister; kAddress: its base
  int second = -1;       // %p|%q
  bool negated = false;  // !%p
  uint64_t number = 0;   // kNumber; kAddress: the offset; kName: sym+offset
  std::string name;      // kName: special register, variable, function, label; kAddress: its base
  std::vector<Operand> elements;
};

struct Instruction {
  std::string opcode;
  std::vector<std::string> modifiers;
  std::vector<Type> types;  // of the modifiers, in order
  int guard = -1;
  bool guard_negated = false;
  std::vector<Operand> operands;
  int line = 0;
  int target = -1;  // of bra

  bool has(std::string_view modifier) const {
    for (const std::string& m : modifiers) {
      if (m == modifier) return true;
    }
    return false;
  }
};

struct Variable {
  std::string name, space;
  int alignment = 1;
  uint64_t bytes = 0;
  Type type;
  std::vector<std::string> values;  // numbers or names, of `type` each
};

struct Function {
  std::string name;
  bool is_entry = false;
  std::vector<Variable> returns, params;
  std::vector<Type> registers;
  std::vector<Variable> locals;  // .local, .shared and .param inside the body; names are unique
  std::vector<Instruction> body;
  std::map<std::string, int> labels;
  std::map<std::string, std::vector<std::string>> branch_targets;
};

struct Program {
  std::vector<Variable> variables;
  std::vector<Function> functions;
};

Program parse_program(std::string_view text);

}  // namespace farcall::softgpu::reference
