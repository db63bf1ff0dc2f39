#include "softgpu/ptx/constant.h"

#include <bit>
#include <limits>
#include <optional>

namespace farcall::softgpu::ptx {
namespace {

using Kind = Operand::Kind;

struct Value {
  Kind kind = Kind::kInteger;  // kInteger, kFloat32 or kFloat64
  uint64_t bits = 0;
  bool is_unsigned = false;

  bool is_integer() const { return kind == Kind::kInteger; }
  double as_double() const {
    if (kind == Kind::kFloat64) return std::bit_cast<double>(bits);
    if (kind == Kind::kFloat32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
    return is_unsigned ? static_cast<double>(bits)
                       : static_cast<double>(static_cast<int64_t>(bits));
  }
};
Value integer(uint64_t bits, bool is_unsigned) { return {Kind::kInteger, bits, is_unsigned}; }
Value floating(double v) { return {Kind::kFloat64, std::bit_cast<uint64_t>(v), false}; }

struct Operator {
  std::string_view text;
  int precedence;
};
// The longer ones first.
constexpr Operator kOperators[] = {{"||", 1}, {"&&", 2}, {"==", 6}, {"!=", 6}, {"<=", 7},
                                   {">=", 7}, {"<<", 8}, {">>", 8}, {"|", 3},  {"^", 4},
                                   {"&", 5},  {"<", 7},  {">", 7},  {"+", 9},  {"-", 9},
                                   {"*", 10}, {"/", 10}, {"%", 10}};

class ConstantParser {
 public:
  explicit ConstantParser(Lexer& lexer) : lexer_(lexer) {}

  Value ternary(int depth) {
    const Value condition = binary(1, depth);
    if (!lexer_.is("?") || lexer_.failed()) return condition;
    lexer_.take();
    const Value yes = ternary(depth + 1);
    lexer_.expect(":");
    const Value no = ternary(depth + 1);
    return is_true(condition) ? yes : no;
  }

 private:
  static bool is_true(const Value& v) { return v.is_integer() ? v.bits != 0 : v.as_double() != 0; }

  // The operator at this place: its characters are tokens of their own, side by side.
  const Operator* current_operator() const {
    if (!lexer_.is(Token::Kind::kPunctuation) && !lexer_.is("%")) return nullptr;
    const char* const at = lexer_.current().text.data();
    Lexer ahead = lexer_;
    ahead.take();
    const bool adjoins = !ahead.at_end() && ahead.current().text.data() == at + 1;
    for (const Operator& each : kOperators) {
      if (each.text[0] != *at) continue;
      if (each.text.size() == 1 || (adjoins && each.text[1] == at[1])) return &each;
    }
    return nullptr;
  }

  Value binary(int least, int depth) {
    Value left = unary(depth);
    while (!lexer_.failed()) {
      const Operator* const found = current_operator();
      if (found == nullptr || found->precedence < least) break;
      for (size_t i = 0; i < found->text.size(); ++i) lexer_.take();
      const Value right = binary(found->precedence + 1, depth + 1);
      left = combine(found->text, left, right);
    }
    return left;
  }

  Value combine(std::string_view op, const Value& a, const Value& b) {
    if (op == "&&") return integer(is_true(a) && is_true(b), false);
    if (op == "||") return integer(is_true(a) || is_true(b), false);
    if (a.is_integer() && b.is_integer()) return of_integers(op, a, b);
    const double x = a.as_double(), y = b.as_double();
    if (op == "+") return floating(x + y);
    if (op == "-") return floating(x - y);
    if (op == "*") return floating(x * y);
    if (op == "/") return floating(x / y);
    if (const auto result = ordered(op, x, y)) return integer(*result, false);
    lexer_.fail("operator '" + std::string(op) + "' of floats");
    return {};
  }

  template <class T>
  static std::optional<bool> ordered(std::string_view op, T x, T y) {
    if (op == "==") return x == y;
    if (op == "!=") return x != y;
    if (op == "<") return x < y;
    if (op == "<=") return x <= y;
    if (op == ">") return x > y;
    if (op == ">=") return x >= y;
    return {};
  }

  Value of_integers(std::string_view op, const Value& a, const Value& b) {
    const bool is_unsigned = a.is_unsigned || b.is_unsigned;
    const auto sa = static_cast<int64_t>(a.bits), sb = static_cast<int64_t>(b.bits);
    if (op == "+") return integer(a.bits + b.bits, is_unsigned);
    if (op == "-") return integer(a.bits - b.bits, is_unsigned);
    if (op == "*") return integer(a.bits * b.bits, is_unsigned);
    if (op == "&") return integer(a.bits & b.bits, true);
    if (op == "|") return integer(a.bits | b.bits, true);
    if (op == "^") return integer(a.bits ^ b.bits, true);
    if (op == "<<") return integer(b.bits >= 64 ? 0 : a.bits << b.bits, a.is_unsigned);
    if (op == ">>") {
      if (a.is_unsigned) return integer(b.bits >= 64 ? 0 : a.bits >> b.bits, true);
      return integer(static_cast<uint64_t>(sa >> (b.bits >= 64 ? 63 : b.bits)), false);
    }
    if (op == "/" || op == "%") {
      if (b.bits == 0) {
        lexer_.fail("division by zero");
        return {};
      }
      const bool divides = op == "/";
      if (is_unsigned) return integer(divides ? a.bits / b.bits : a.bits % b.bits, true);
      if (sb == -1) return integer(divides ? 0 - a.bits : 0, false);  // the least has no opposite
      return integer(static_cast<uint64_t>(divides ? sa / sb : sa % sb), false);
    }
    const auto result = is_unsigned ? ordered(op, a.bits, b.bits) : ordered(op, sa, sb);
    return integer(result.value_or(false), false);
  }

  Value unary(int depth) {
    if (depth > kNestingMax) {
      lexer_.fail("expression nests too deeply");
      return {};
    }
    if (lexer_.accept("+")) return unary(depth + 1);
    if (lexer_.accept("-")) {
      Value v = unary(depth + 1);
      if (v.kind == Kind::kFloat32)
        v.bits ^= 0x8000'0000u;
      else if (v.kind == Kind::kFloat64)
        v.bits ^= uint64_t{1} << 63;
      else
        v.bits = 0 - v.bits;
      return v;
    }
    if (lexer_.accept("~")) {
      const Value v = unary(depth + 1);
      if (!v.is_integer()) lexer_.fail("operator '~' of a float");
      return integer(~v.bits, true);
    }
    if (lexer_.accept("!")) return integer(!is_true(unary(depth + 1)), false);
    if (!lexer_.accept("(")) {
      const Number number = parse_literal(lexer_);
      const auto bits = static_cast<uint64_t>(number.value);
      const bool large = number.kind == Kind::kInteger && number.value < 0;
      return {number.kind, bits, number.is_unsigned || large};
    }
    const bool to_signed = lexer_.accept(".s64");
    if (to_signed || lexer_.accept(".u64")) {
      lexer_.expect(")");
      const Value v = unary(depth + 1);
      if (!v.is_integer()) lexer_.fail("cast of a float");
      return integer(v.bits, !to_signed);
    }
    const Value inner = ternary(depth + 1);
    lexer_.expect(")");
    return inner;
  }

  Lexer& lexer_;
};

}  // namespace

Number parse_constant(Lexer& lexer) {
  // Nearly always one literal and nothing else.
  if (lexer.is(Token::Kind::kNumber)) {
    Lexer ahead = lexer;
    ahead.take();
    static constexpr std::string_view kOperatorStarts = "+-*/%<>=!&|^?";
    const std::string_view next = ahead.current().text;
    if (next.size() != 1 || kOperatorStarts.find(next[0]) == kOperatorStarts.npos)
      return parse_literal(lexer);
  }
  const Value value = ConstantParser(lexer).ternary(0);
  return {value.kind, static_cast<int64_t>(value.bits), value.is_unsigned};
}

}  // namespace farcall::softgpu::ptx
