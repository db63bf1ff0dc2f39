// PTX as data. One generic instruction form is enough, PTX is that regular; what an opcode means is
// decode/'s business.
//
// All string_views point into Module::source, so a Module is not moved once it is parsed. Bodies of
// functions stay text until parse_body(): images of libraries hold thousands of kernels, of which a
// program launches a few.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace farcall::softgpu::ptx {

struct Type {
  enum class Kind : uint8_t {
    kNone,
    kBits,
    kUnsigned,
    kSigned,
    kFloat,
    kBfloat,
    kTf32,
    kPredicate
  };
  Kind kind = Kind::kNone;
  uint16_t bits = 0;  // of one lane: 16 for f16x2
  uint8_t lanes = 1;  // 2 for f16x2

  explicit operator bool() const { return kind != Kind::kNone; }
  bool is_float() const {
    return kind == Kind::kFloat || kind == Kind::kBfloat || kind == Kind::kTf32;
  }
  bool is_signed() const { return kind == Kind::kSigned; }
  bool is_predicate() const { return kind == Kind::kPredicate; }
  bool is_integer() const { return *this && !is_float() && !is_predicate(); }
  unsigned total_bits() const { return unsigned{bits} * lanes; }
  unsigned bytes() const { return is_predicate() ? 1 : total_bits() / 8; }
  friend bool operator==(const Type&, const Type&) = default;
};

// "u32" -> 32-bit unsigned; kNone when the word is no type.
Type parse_type(std::string_view word);

struct Operand {
  enum class Kind : uint8_t {
    kSink,      // _
    kRegister,  // %r1, %p1|%p2
    kInteger,
    kFloat32,  // value: the bits
    kFloat64,
    kSymbol,   // a variable, function or label
    kAddress,  // [%rd1+4], [symbol], [4]
    kVector,   // {a, b} and the parameter lists of calls
    kSpecial,  // %tid.x
  };
  Kind kind = Kind::kSink;
  bool negated = false;     // !%p1
  bool minus = false;       // -%r1, which vmad has
  int32_t reg = -1;         // kRegister; kAddress: base register or -1
  int32_t second_reg = -1;  // kRegister: the %p2 of %p1|%p2
  int32_t local = -1;       // kSymbol, kAddress: index into Function::locals
  int32_t target = -1;      // kSymbol: a label's instruction, or index into Function::branch_tables
  int64_t value = 0;        // kInteger and floats; kSymbol, kAddress: byte offset
  std::string_view part;    // "b0" of %r1.b0, which video instructions have
  std::string_view symbol;
  std::vector<Operand> elements;  // kVector; kAddress: what follows the base, as in [tex, {x, y}]
};

struct Instruction {
  int line = 0;
  int32_t guard = -1;  // predicate register
  bool guard_negated = false;
  std::vector<std::string_view> name;  // "ld.global.f32" at its dots
  std::vector<Operand> operands;
};

// One element of an initialiser: a number, or the address of a symbol plus a number.
struct Initializer {
  uint64_t index = 0;  // of the element; those that are left out are zero
  int64_t value = 0;
  std::string_view symbol;
  bool generic = false;
  int shift = -1;  // 0xFF00(symbol): the byte of the address that the mask selects
};

struct Variable {
  std::string_view name;
  std::string_view space;  // "global", "const", "shared", "local", "param", "reg"
  Type type;
  std::string_view opaque;  // "texref", "samplerref", "surfref"; the type is then b64
  uint32_t alignment = 1;
  uint64_t count = 1;  // elements; 0: extern []
  uint32_t vector = 1;
  bool is_extern = false;
  bool is_weak = false;
  bool is_visible = false;
  bool is_managed = false;
  int line = 0;
  std::vector<Initializer> initializers;

  uint64_t bytes() const { return uint64_t{type.bytes()} * vector * count; }
};

// What a .loc says: from this line of the PTX on, the code is of that line of a source.
struct SourceLocation {
  int ptx_line = 0;
  uint32_t file = 0, line = 0;  // Module::files
  // Of code that was inlined: the function's name is at this label of .debug_str, and it was called
  // from there.
  std::string_view function;
  uint32_t caller_file = 0, caller_line = 0;  // 0: not inlined
};

struct Function {
  std::string_view name;
  bool is_entry = false;
  bool is_declaration = false;
  bool is_weak = false;
  bool is_visible = false;
  bool is_extern = false;
  int line = 0;
  std::vector<Variable> returns, params;
  std::array<uint32_t, 3> max_threads = {0, 0, 0};  // .maxntid or .reqntid
  std::array<uint32_t, 3> cluster = {0, 0, 0};      // .reqnctapercluster

  std::string_view body_text;
  int body_line = 0;

  // From here on filled by parse_body().
  bool parsed = false;
  std::vector<Type> registers;
  std::vector<Variable>
      locals;  // .local, .shared and .param variables of the body, one per declaration
  std::vector<Instruction> body;
  std::vector<std::vector<int32_t>> branch_tables;  // instructions that a brx may go to
  std::vector<SourceLocation> locations;            // by ptx_line; empty without -lineinfo
};

struct Alias {
  std::string_view name, target;
};

struct Module {
  std::string source;
  int version = 0;  // PTX ISA, 10 * major + minor
  int target = 0;   // sm_NN, 10 * major + minor
  std::vector<Variable> variables;
  std::vector<Function> functions;  // in file order, declarations included
  std::vector<Alias> aliases;
  std::unordered_map<uint32_t, std::string_view> files;  // .file: number to name
  std::string_view debug_strings;                        // the text inside .section .debug_str
};

}  // namespace farcall::softgpu::ptx
