// The parts of the grammar that modules and bodies share: numbers and variable declarations.
#pragma once

#include <cstdint>
#include <string_view>

#include "softgpu/ptx/ast.h"
#include "softgpu/ptx/lexer.h"

namespace farcall::softgpu::ptx {

// Limits that no compiler's output comes near; they keep a few bytes of text from asking for all
// memory.
constexpr uint32_t kRegistersMax = 1u << 20;  // of one function
constexpr int kNestingMax = 64;               // braces in initialisers, operands and bodies
constexpr uint64_t kVariableBytesMax = uint64_t{1} << 40;
constexpr uint32_t kAlignmentMax = 1u << 16;

struct Number {
  Operand::Kind kind = Operand::Kind::kInteger;  // kInteger, kFloat32 or kFloat64
  int64_t value = 0;                             // floats: their bits
  bool is_unsigned = false;                      // 7U
};
Number parse_literal(Lexer& lexer);
// An expression of literals that is an integer (constant.h has the general case).
int64_t parse_integer(Lexer& lexer);
// A plain number on that line of the text, for what must never be an error. False: something else.
bool parse_line_number(Lexer& lexer, int line, uint32_t* number);

// Behind the state space: [.align n] [.v2] .type name[n] [= initialiser].
Variable parse_variable(Lexer& lexer, std::string_view space);

// Behind the comma of `.global .b32 a, b[2];`: another of the same kind.
Variable parse_sibling(Lexer& lexer, const Variable& first);

// A name of a variable, function, register or label.
std::string_view parse_name(Lexer& lexer);

}  // namespace farcall::softgpu::ptx
