#include "softgpu/ptx/syntax.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <span>
#include <vector>

#include "softgpu/ptx/constant.h"

namespace farcall::softgpu::ptx {
namespace {

// The whole of `digits` in `base`; false when it is something else or does not fit.
bool parse_digits(std::string_view digits, int base, uint64_t* value) {
  const auto [end, status] =
      std::from_chars(digits.data(), digits.data() + digits.size(), *value, base);
  return status == std::errc() && end == digits.data() + digits.size();
}

bool has_prefix(std::string_view text, char letter) {
  return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter;
}

uint32_t parse_alignment(Lexer& lexer) {
  const int64_t n = parse_integer(lexer);
  if (lexer.failed()) return 1;
  if (n < 1 || n > kAlignmentMax || !std::has_single_bit(static_cast<uint64_t>(n))) {
    lexer.fail("alignment is not a power of two of a sensible size");
    return 1;
  }
  return static_cast<uint32_t>(n);
}

// Behind the initialiser's start: a symbol, generic(symbol), either with an offset.
void parse_address(Lexer& lexer, Initializer& element) {
  if (lexer.is("generic")) {
    lexer.take();
    element.generic = true;
    lexer.expect("(");
    element.symbol = parse_name(lexer);
    if (lexer.accept("+") || lexer.is("-")) element.value = parse_integer(lexer);
    lexer.expect(")");
  } else {
    element.symbol = parse_name(lexer);
  }
  if (lexer.accept("+") || lexer.is("-")) element.value += parse_integer(lexer);
}

Initializer parse_initializer_element(Lexer& lexer, const Type& type) {
  Initializer element;
  if (lexer.is(Token::Kind::kWord)) {
    parse_address(lexer, element);
    return element;
  }
  const Number number = parse_constant(lexer);
  if (lexer.accept("(")) {  // 0xFF00(symbol)
    if (number.value == 0) lexer.fail("mask of an address is zero");
    element.shift = number.value == 0 ? 0 : std::countr_zero(static_cast<uint64_t>(number.value));
    parse_address(lexer, element);
    lexer.expect(")");
    return element;
  }
  element.value = number.value;
  const bool is_float = number.kind != Operand::Kind::kInteger;
  if (type.is_float() && is_float && type.bits < 32) lexer.fail("a float constant in 16 bits");
  if (type.kind != Type::Kind::kFloat || type.bits < 32) return element;
  double value = static_cast<double>(number.value);
  if (number.kind == Operand::Kind::kFloat64) value = std::bit_cast<double>(number.value);
  if (number.kind == Operand::Kind::kFloat32)
    value = std::bit_cast<float>(static_cast<uint32_t>(number.value));
  // Bits of the right width stay as they are: a NaN keeps its payload.
  const bool fits =
      number.kind == (type.bits == 32 ? Operand::Kind::kFloat32 : Operand::Kind::kFloat64);
  if (!fits) {
    element.value = type.bits == 32
                        ? static_cast<int64_t>(std::bit_cast<uint32_t>(static_cast<float>(value)))
                        : std::bit_cast<int64_t>(value);
  }
  return element;
}

// The initialiser of elements from `index` on. A nested list is a row: `row` elements, of which the
// list may leave out the last.
void parse_initializer(Lexer& lexer, Variable& variable, std::span<const uint64_t> rows,
                       uint64_t* index, int depth) {
  if (depth > kNestingMax) return lexer.fail("initialiser nests too deeply");
  if (!lexer.accept("{")) {
    variable.initializers.push_back(parse_initializer_element(lexer, variable.type));
    variable.initializers.back().index = (*index)++;
    return;
  }
  while (!lexer.at_end() && !lexer.is("}")) {
    const uint64_t first = *index;
    const bool is_row = lexer.is("{") && !rows.empty();
    parse_initializer(lexer, variable, rows.empty() ? rows : rows.subspan(1), index, depth + 1);
    if (is_row) {
      if (*index - first > rows[0]) return lexer.fail("too many initialisers in a row");
      *index = first + rows[0];
    }
    if (!lexer.accept(",")) break;
  }
  lexer.expect("}");
}

// name[n] = {...}; an alignment of 0 is the natural one.
void parse_declarator(Lexer& lexer, Variable& variable, uint32_t alignment) {
  variable.name = parse_name(lexer);
  std::vector<uint64_t> dimensions;
  const uint64_t element_bytes =
      std::max<uint64_t>(1, uint64_t{variable.type.bytes()} * variable.vector);
  while (lexer.accept("[")) {
    const int64_t n = lexer.is("]") ? 0 : parse_integer(lexer);
    if (n < 0 || static_cast<uint64_t>(n) > kVariableBytesMax) {
      lexer.fail("array size out of range");
      return;
    }
    // Both factors are below 2^40 / element_bytes and 2^40: no overflow when each step is checked.
    if (n != 0 && variable.count > kVariableBytesMax / element_bytes / static_cast<uint64_t>(n)) {
      lexer.fail("array too large");
      return;
    }
    variable.count *= static_cast<uint64_t>(n);
    dimensions.push_back(static_cast<uint64_t>(n));
    lexer.expect("]");
  }
  variable.alignment =
      alignment != 0 ? alignment : std::bit_ceil(static_cast<uint32_t>(element_bytes));
  if (lexer.accept("=")) {
    // Elements of a row: of `[2][3][4]` 12, then 4, then those of a vector.
    std::vector<uint64_t> rows;
    uint64_t row = variable.vector;
    if (variable.vector > 1) rows.push_back(row);
    for (size_t i = dimensions.size(); i-- > 1;) {
      if (dimensions[i] != 0 && row > kVariableBytesMax / dimensions[i]) {
        lexer.fail("array too large");
        return;
      }
      rows.insert(rows.begin(), row *= dimensions[i]);
    }
    if (dimensions.empty() && variable.vector > 1) rows.clear();  // the list itself is the vector
    uint64_t end = 0;
    parse_initializer(lexer, variable, rows, &end, 0);
    // `.b8 name[] = {1, 2}`: as many elements as the initialiser has.
    if (variable.count == 0 && row != 0) {
      const uint64_t count = (end + row - 1) / row;
      const uint64_t row_bytes_max = kVariableBytesMax / std::max(1u, variable.type.bytes());
      if (count != 0 && row > row_bytes_max / count) return lexer.fail("array too large");
      variable.count = count * (row / variable.vector);
    }
    if (end > variable.count * variable.vector) {
      lexer.fail_at(variable.line,
                    "too many initialisers for '" + std::string(variable.name) + "'");
    }
  }
}

}  // namespace

Type parse_type(std::string_view word) {
  using Kind = Type::Kind;
  if (word == "pred") return {Kind::kPredicate, 1, 1};
  if (word == "tf32") return {Kind::kTf32, 32, 1};
  uint8_t lanes = 1;
  if (word.ends_with("x2")) {
    lanes = 2;
    word.remove_suffix(2);
  }
  if (word == "bf16") return {Kind::kBfloat, 16, lanes};
  if (word.size() < 2) return {};
  uint64_t bits = 0;
  if (!parse_digits(word.substr(1), 10, &bits)) return {};
  const bool integer_width = bits == 8 || bits == 16 || bits == 32 || bits == 64;
  const auto type = [&](Kind kind) { return Type{kind, static_cast<uint16_t>(bits), lanes}; };
  switch (word[0]) {
    case 'b':
      return integer_width || bits == 128 ? type(Kind::kBits) : Type{};
    case 'u':
      return integer_width ? type(Kind::kUnsigned) : Type{};
    case 's':
      return integer_width ? type(Kind::kSigned) : Type{};
    case 'f':
      return bits == 16 || bits == 32 || bits == 64 ? type(Kind::kFloat) : Type{};
    default:
      return {};
  }
}

Number parse_literal(Lexer& lexer) {
  if (!lexer.is(Token::Kind::kNumber)) {
    lexer.fail("expected a number");
    return {};
  }
  const std::string_view text = lexer.current().text;
  uint64_t bits = 0;
  auto result = [&](Operand::Kind kind, uint64_t value, bool is_unsigned = false) -> Number {
    lexer.take();
    return {kind, static_cast<int64_t>(value), is_unsigned};
  };
  if (has_prefix(text, 'f') && text.size() == 10 && parse_digits(text.substr(2), 16, &bits))
    return result(Operand::Kind::kFloat32, bits);
  if (has_prefix(text, 'd') && text.size() == 18 && parse_digits(text.substr(2), 16, &bits))
    return result(Operand::Kind::kFloat64, bits);
  const bool other_base = has_prefix(text, 'x') || has_prefix(text, 'b');
  if (!other_base && text.find_first_of(".eE") != text.npos) {
    double value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc() || end != text.data() + text.size()) lexer.fail("malformed number");
    return result(Operand::Kind::kFloat64, std::bit_cast<uint64_t>(value));
  }
  std::string_view digits = text;
  const bool is_unsigned = digits.ends_with('U') || digits.ends_with('u');
  if (is_unsigned) digits.remove_suffix(1);
  int base = 10;
  if (has_prefix(digits, 'x')) {
    base = 16;
    digits.remove_prefix(2);
  } else if (has_prefix(digits, 'b')) {
    base = 2;
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
  }
  if (!parse_digits(digits, base, &bits)) lexer.fail("malformed number");
  return result(Operand::Kind::kInteger, bits, is_unsigned);
}

int64_t parse_integer(Lexer& lexer) {
  const Number number = parse_constant(lexer);
  if (number.kind != Operand::Kind::kInteger) lexer.fail("expected an integer");
  return number.value;
}

bool parse_line_number(Lexer& lexer, int line, uint32_t* number) {
  if (!lexer.is(Token::Kind::kNumber) || lexer.current().line != line) return false;
  const std::string_view text = lexer.take().text;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

std::string_view parse_name(Lexer& lexer) {
  if (!lexer.is(Token::Kind::kWord)) {
    lexer.fail("expected a name");
    return {};
  }
  return lexer.take().text;
}

Variable parse_variable(Lexer& lexer, std::string_view space) {
  Variable variable;
  variable.space = space;
  variable.line = lexer.current().line;
  uint32_t alignment = 0;
  bool pointee = false;  // after .ptr: what follows describes what a pointer parameter points to
  while (lexer.is(Token::Kind::kDot)) {
    const std::string_view word = lexer.current().text.substr(1);
    if (Type type = parse_type(word)) {
      lexer.take();
      variable.type = type;
    } else if (word == "align") {
      lexer.take();
      const uint32_t value = parse_alignment(lexer);
      if (!pointee) alignment = value;
    } else if (word == "v2" || word == "v4" || word == "v8") {
      lexer.take();
      variable.vector = static_cast<uint32_t>(word[1] - '0');
    } else if (word == "texref" || word == "samplerref" || word == "surfref") {
      lexer.take();
      variable.type = {Type::Kind::kBits, 64, 1};
      variable.opaque = word;
    } else if (word == "attribute") {
      lexer.take();
      lexer.expect("(");
      while (!lexer.at_end() && !lexer.accept(")")) {
        if (lexer.is(".managed")) variable.is_managed = true;
        if (lexer.is(".unified")) lexer.fail("unsupported attribute");
        lexer.take();
      }
    } else if (word == "ptr" || word == "noalias" || word == "global" || word == "const" ||
               word == "shared" || word == "local" || word == "generic") {
      pointee |= word == "ptr";
      lexer.take();  // what a pointer parameter points to: a hint
    } else {
      lexer.fail("unknown attribute of a variable");
      return variable;
    }
  }
  if (!variable.type || variable.type.is_predicate()) lexer.fail("variable without a type");
  parse_declarator(lexer, variable, alignment);
  return variable;
}

Variable parse_sibling(Lexer& lexer, const Variable& first) {
  Variable variable = first;
  variable.line = lexer.current().line;
  variable.count = 1;
  variable.initializers.clear();
  parse_declarator(lexer, variable, first.alignment);
  return variable;
}

}  // namespace farcall::softgpu::ptx
