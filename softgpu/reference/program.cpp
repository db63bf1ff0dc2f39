#include "softgpu/reference/program.h"

#include <cctype>
#include <cstdlib>
#include <stdexcept>

namespace farcall::softgpu::reference {

Type parse_type(std::string_view name) {
  if (name == "pred") return {'p', 1, 1};
  Type type;
  if (name.size() > 2 && name.substr(name.size() - 2) == "x2") {
    type.lanes = 2;
    name.remove_suffix(2);
  }
  if (name.substr(0, 2) == "bf") {
    type.kind = 'h';
    name.remove_prefix(2);
  } else if (!name.empty() && std::string_view("usbf").find(name[0]) != std::string_view::npos) {
    type.kind = name[0];
    name.remove_prefix(1);
  }
  for (const int bits : {8, 16, 32, 64, 128}) {
    if (type.kind != 0 && name == std::to_string(bits)) {
      type.bits = bits;
      return type;
    }
  }
  return {};
}

namespace {

struct Token {
  std::string text;
  int line;
};

std::vector<Token> split(std::string_view text) {
  std::vector<Token> tokens;
  int line = 1;
  auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%';
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++i;
    } else if (text.substr(i, 2) == "//") {
      while (i < text.size() && text[i] != '\n') ++i;
    } else {
      size_t end = i + 1;
      // ".b32" is one token and so is "shared::cta"; "%tid.x" too, but for the dots of opcodes.
      if (c == '.' || is_word(c)) {
        while (end < text.size() &&
               (is_word(text[end]) || text.substr(end, 2) == "::" ||
                (text[end] == ':' && text[end - 1] == ':') || (c == '%' && text[end] == '.')))
          ++end;
      }
      tokens.push_back({std::string(text.substr(i, end - i)), line});
      i = end;
    }
  }
  return tokens;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : tokens_(split(text)) {}

  Program run() {
    while (at_ < tokens_.size()) module_item();
    return std::move(program_);
  }

 private:
  // ---- tokens ----

  [[noreturn]] void fail(const std::string& what) {
    const int line = at_ < tokens_.size() ? tokens_[at_].line : 0;
    throw std::runtime_error("reference: line " + std::to_string(line) + ": " + what);
  }
  const std::string& peek(size_t ahead = 0) {
    static const std::string kEnd;
    return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead].text : kEnd;
  }
  std::string next() {
    if (at_ >= tokens_.size()) fail("the text ends");
    return tokens_[at_++].text;
  }
  bool accept(std::string_view text) {
    if (peek() != text) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail("expected '" + std::string(text) + "', found '" + peek() + "'");
  }
  static bool is_number(const std::string& s) {
    return !s.empty() && std::isdigit(static_cast<unsigned char>(s[0])) != 0;
  }
  uint64_t number() {
    const bool negative = accept("-");
    std::string s = next();
    if (!is_number(s)) fail("expected a number");
    uint64_t value;
    if (s.size() > 2 && (s[1] == 'f' || s[1] == 'F' || s[1] == 'd' || s[1] == 'D')) {
      value = std::strtoull(s.c_str() + 2, nullptr, 16);
    } else {
      if (s.back() == 'U') s.pop_back();
      value = std::strtoull(s.c_str(), nullptr, 0);
    }
    return negative ? -value : value;
  }

  // ---- declarations ----

  // Behind the space: [.align N] .type name [count] ...
  Variable variable(const std::string& space) {
    Variable v;
    v.space = space;
    for (;;) {
      const std::string word = next();
      if (word == ".align") {
        v.alignment = static_cast<int>(number());
      } else if (word == ".ptr" || word == ".global" || word == ".shared") {
        // what a pointer parameter points to
      } else if (word[0] == '.') {
        v.type = parse_type(word.substr(1));
        if (v.type.kind == 0) fail("unknown type " + word);
      } else {
        v.name = word;
        break;
      }
    }
    v.bytes = static_cast<uint64_t>(v.type.total() / 8);
    if (accept("[")) {
      v.bytes *= peek() == "]" ? 0 : number();
      expect("]");
    }
    v.alignment = std::max(v.alignment, v.type.total() / 8);
    if (accept("=")) {
      if (accept("{")) {
        do v.values.push_back(value_text());
        while (accept(","));
        expect("}");
      } else {
        v.values.push_back(value_text());
      }
    }
    return v;
  }
  std::string value_text() {
    return is_number(peek()) || peek() == "-" ? std::to_string(number()) : next();
  }

  void module_item() {
    const std::string word = next();
    if (word == ".version" || word == ".target" || word == ".address_size") {
      next();
      if (peek() == "." || (peek()[0] == '.' && is_number(peek().substr(1)))) next();  // "8" ".5"
      while (accept(",")) next();
    } else if (word == ".visible" || word == ".weak") {
    } else if (word == ".global" || word == ".shared" || word == ".const") {
      program_.variables.push_back(variable(word.substr(1)));
      expect(";");
    } else if (word == ".entry" || word == ".func") {
      function(word == ".entry");
    } else {
      fail("unexpected '" + word + "'");
    }
  }

  std::vector<Variable> params() {
    std::vector<Variable> list;
    expect("(");
    while (!accept(")")) {
      expect(".param");
      list.push_back(variable("param"));
      accept(",");
    }
    return list;
  }

  void function(bool is_entry) {
    function_ = {};
    function_.is_entry = is_entry;
    registers_.clear();
    renamed_.clear();
    if (!is_entry && peek() == "(") function_.returns = params();
    function_.name = next();
    if (peek() == "(") function_.params = params();
    while (accept(".maxntid")) {
      number();
      while (accept(",")) number();
    }
    if (accept(";")) return;  // a declaration
    expect("{");
    block();
    resolve_targets();
    program_.functions.push_back(std::move(function_));
  }

  void resolve_targets() {
    for (Instruction& i : function_.body) {
      if (i.opcode != "bra") continue;
      const auto it = function_.labels.find(i.operands.at(0).name);
      if (it == function_.labels.end()) fail("no label " + i.operands[0].name);
      i.target = it->second;
    }
  }

  // ---- bodies ----

  // Variables of inner blocks are told apart by a number.
  void block() {
    const auto outer_registers = registers_;
    const auto outer_names = renamed_;
    while (!accept("}")) {
      if (accept("{")) {
        block();
      } else {
        statement();
      }
    }
    registers_ = outer_registers;
    renamed_ = outer_names;
  }

  void declare_registers() {
    const Type type = parse_type(next().substr(1));
    do {
      const std::string name = next();
      auto add = [&](const std::string& n) {
        registers_[n] = static_cast<int>(function_.registers.size());
        function_.registers.push_back(type);
      };
      if (accept("<")) {
        const uint64_t count = number();
        expect(">");
        for (uint64_t k = 0; k < count; ++k) add(name + std::to_string(k));
      } else {
        add(name);
      }
    } while (accept(","));
    expect(";");
  }

  void statement() {
    const int line = tokens_[at_].line;
    if (peek(1) == ":") {
      const std::string label = next();
      next();
      if (accept(".branchtargets")) {
        do function_.branch_targets[label].push_back(next());
        while (accept(","));
        expect(";");
      } else if (accept(".callprototype")) {
        while (!accept(";")) next();
      } else {
        function_.labels[label] = static_cast<int>(function_.body.size());
      }
      return;
    }
    if (accept(".reg")) return declare_registers();
    if (peek() == ".local" || peek() == ".shared" || peek() == ".param") {
      Variable v = variable(next().substr(1));
      expect(";");
      const std::string unique = v.name + "#" + std::to_string(function_.locals.size());
      renamed_[v.name] = unique;
      v.name = unique;
      function_.locals.push_back(std::move(v));
      return;
    }
    Instruction i;
    i.line = line;
    if (accept("@")) {
      i.guard_negated = accept("!");
      i.guard = reg(next());
    }
    i.opcode = next();
    while (peek()[0] == '.') {
      i.modifiers.push_back(next().substr(1));
      if (const Type type = parse_type(i.modifiers.back()); type.kind != 0) i.types.push_back(type);
    }
    while (!accept(";")) {
      i.operands.push_back(operand());
      accept(",");
    }
    function_.body.push_back(std::move(i));
  }

  int reg(const std::string& name) {
    const auto it = registers_.find(name);
    if (it == registers_.end()) fail("no register " + name);
    return it->second;
  }

  Operand operand() {
    Operand o;
    if (peek() == "{" || peek() == "(") {
      const bool brace = next() == "{";
      o.kind = Operand::Kind::kVector;
      while (!accept(brace ? "}" : ")")) {
        o.elements.push_back(operand());
        accept(",");
      }
      return o;
    }
    if (accept("[")) {
      o = operand();
      o.kind = Operand::Kind::kAddress;
      expect("]");
      return o;
    }
    o.negated = accept("!");
    if (is_number(peek()) || peek() == "-") {
      o.kind = Operand::Kind::kNumber;
      o.number = number();
      return o;
    }
    const std::string word = next();
    if (word == "_") {
      o.kind = Operand::Kind::kSink;
    } else if (registers_.count(word) != 0) {
      o.kind = Operand::Kind::kRegister;
      o.reg = registers_[word];
    } else {
      o.kind = Operand::Kind::kName;
      o.name = renamed_.count(word) != 0 ? renamed_[word] : word;
    }
    if (accept("|")) o.second = reg(next());
    if (accept("+")) o.number = number();
    return o;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  Program program_;
  Function function_;
  std::map<std::string, int> registers_;
  std::map<std::string, std::string> renamed_;
};

}  // namespace

Program parse_program(std::string_view text) { return Parser(text).run(); }

}  // namespace farcall::softgpu::reference
