// Statements of a function. Registers, variables and labels have nested scopes ("{ }" comes from
// calls and inline assembly, which reuse names), so names are resolved here, once: an Operand
// carries indices.
#include <optional>
#include <unordered_map>

#include "softgpu/ptx/constant.h"
#include "softgpu/ptx/parser.h"
#include "softgpu/ptx/syntax.h"

namespace farcall::softgpu::ptx {
namespace {

struct RegisterRange {  // %r<100> or a single register
  int32_t first;
  int32_t count;      // -1: single
  int32_t width = 1;  // of vectors: how many registers lie side by side
};
struct FoundRegister {
  int32_t first, width;
};

// .x, .y, .z, .w or .r, .g, .b, .a; -1: none of them.
int component_index(std::string_view name) {
  if (name.size() != 1) return -1;
  for (std::string_view names : {"xyzw", "rgba"}) {
    if (const size_t at = names.find(name[0]); at != names.npos) return static_cast<int>(at);
  }
  return -1;
}

// "%r12" -> "%r", 12. False when there are no digits at the end or they have a leading zero.
bool split_number(std::string_view name, std::string_view* prefix, uint32_t* number) {
  size_t digits = 0;
  while (digits < name.size() && digits < 8 && name[name.size() - 1 - digits] >= '0' &&
         name[name.size() - 1 - digits] <= '9') {
    ++digits;
  }
  if (digits == 0) return false;
  const std::string_view tail = name.substr(name.size() - digits);
  if (tail[0] == '0' && digits > 1) return false;
  *number = 0;
  for (char c : tail) *number = *number * 10 + static_cast<uint32_t>(c - '0');
  *prefix = name.substr(0, name.size() - digits);
  return true;
}

class BodyParser {
 public:
  explicit BodyParser(Function& function)
      : function_(function), lexer_(function.body_text, function.body_line), scopes_(1) {
    open_.push_back(0);
    // Formals in registers are the function's first ones, in their order.
    for (const auto* formals : {&function.returns, &function.params}) {
      for (const Variable& formal : *formals) {
        if (formal.space != "reg") continue;
        scope().registers[formal.name] = {static_cast<int32_t>(function.registers.size()), -1};
        function.registers.push_back(formal.type);
      }
    }
  }

  std::optional<ParseError> run() {
    while (!lexer_.at_end()) statement();
    if (!lexer_.failed() && open_.size() > 1) lexer_.fail("'{' without its '}'");
    if (!lexer_.failed()) resolve_labels();
    return lexer_.error();
  }

 private:
  struct Scope {
    size_t parent = 0;
    std::unordered_map<std::string_view, RegisterRange> registers, ranges;
    std::unordered_map<std::string_view, int32_t> locals;
    std::unordered_map<std::string_view, int32_t> labels;  // to an instruction
    std::unordered_map<std::string_view, int32_t> tables;  // .branchtargets
  };
  struct Table {
    size_t scope;
    std::vector<std::string_view> labels;
    int line;
  };
  struct Reference {  // a symbol that may be a label
    size_t scope, instruction, operand;
  };

  Scope& scope() { return scopes_[open_.back()]; }

  template <class Find>
  auto lookup(size_t from, Find find) -> decltype(find(std::declval<Scope&>())) {
    for (size_t i = from;; i = scopes_[i].parent) {
      if (auto found = find(scopes_[i])) return found;
      if (i == 0) return {};
    }
  }

  std::optional<FoundRegister> find_registers(std::string_view name) {
    std::string_view prefix;
    uint32_t number = 0;
    const bool numbered = split_number(name, &prefix, &number);
    return lookup(open_.back(), [&](Scope& s) -> std::optional<FoundRegister> {
      if (auto it = s.registers.find(name); it != s.registers.end())
        return FoundRegister{it->second.first, it->second.width};
      if (!numbered) return {};
      auto it = s.ranges.find(prefix);
      if (it == s.ranges.end() || number >= static_cast<uint32_t>(it->second.count)) return {};
      const RegisterRange& range = it->second;
      return FoundRegister{range.first + static_cast<int32_t>(number) * range.width, range.width};
    });
  }
  // -1: there is none; a vector is none either.
  int32_t find_register(std::string_view name) {
    const auto found = find_registers(name);
    return found && found->width == 1 ? found->first : -1;
  }

  int32_t find_local(std::string_view name) {
    return lookup(open_.back(),
                  [&](Scope& s) -> std::optional<int32_t> {
                    if (auto it = s.locals.find(name); it != s.locals.end()) return it->second;
                    return {};
                  })
        .value_or(-1);
  }

  void statement() {
    if (lexer_.accept(";")) return;
    if (lexer_.accept("{")) {
      if (open_.size() > kNestingMax) return lexer_.fail("scopes nest too deeply");
      scopes_.push_back({open_.back(), {}, {}, {}, {}, {}});
      open_.push_back(scopes_.size() - 1);
      return;
    }
    if (lexer_.is("}")) {
      if (open_.size() == 1) return lexer_.fail("'}' without its '{'");
      lexer_.take();
      open_.pop_back();
      return;
    }
    if (lexer_.is(Token::Kind::kDot)) return directive();
    instruction();
  }

  void instruction() {
    Instruction instruction;
    instruction.line = lexer_.current().line;
    if (lexer_.accept("@")) {
      instruction.guard_negated = lexer_.accept("!");
      const Token name = lexer_.current();
      instruction.guard = find_register(parse_name(lexer_));
      if (lexer_.failed()) return;
      if (instruction.guard < 0 ||
          !function_.registers[static_cast<size_t>(instruction.guard)].is_predicate()) {
        return lexer_.fail_at(name.line, "unknown predicate '" + std::string(name.text) + "'");
      }
    }
    if (!lexer_.is(Token::Kind::kWord)) return lexer_.fail("expected an instruction");
    const Token word = lexer_.take();
    if (instruction.guard < 0 && lexer_.accept(":")) return label(word);

    instruction.name.push_back(word.text);
    in_call_ = word.text == "call";
    while (lexer_.is(Token::Kind::kDot)) instruction.name.push_back(lexer_.take().text.substr(1));
    if (!lexer_.is(";")) {
      do instruction.operands.push_back(operand(0));
      while (lexer_.accept(","));
    }
    lexer_.expect(";");
    if (lexer_.failed()) return;
    for (size_t i = 0; i < instruction.operands.size(); ++i) {
      const Operand& candidate = instruction.operands[i];
      if (candidate.kind == Operand::Kind::kSymbol && candidate.local < 0) {
        references_.push_back({open_.back(), function_.body.size(), i});
      }
    }
    function_.body.push_back(std::move(instruction));
  }

  void label(const Token& name) {
    if (lexer_.accept(".branchtargets")) {
      Table table{open_.back(), {}, name.line};
      do table.labels.push_back(parse_name(lexer_));
      while (lexer_.accept(","));
      lexer_.expect(";");
      scope().tables[name.text] = static_cast<int32_t>(tables_.size());
      tables_.push_back(std::move(table));
      return;
    }
    // Both restrict an indirect call; a call checks what it jumps to anyway.
    if (lexer_.is(".callprototype") || lexer_.is(".calltargets")) return lexer_.skip_past(";");
    if (!scope().labels.emplace(name.text, static_cast<int32_t>(function_.body.size())).second) {
      lexer_.fail_at(name.line, "label '" + std::string(name.text) + "' defined twice");
    }
  }

  void directive() {
    const Token token = lexer_.take();
    const std::string_view word = token.text.substr(1);
    if (word == "reg") {
      registers();
    } else if (word == "local" || word == "shared" || word == "param" || word == "global" ||
               word == "const") {
      if (word == "global" || word == "const") {
        return lexer_.fail_at(
            token.line, "variable of space '" + std::string(token.text) + "' inside a function");
      }
      Variable variable = parse_variable(lexer_, word);
      if (!variable.initializers.empty())
        lexer_.fail_at(token.line, "initialiser of a function's variable");
      variable.is_extern = extern_;
      extern_ = false;
      auto declare = [&](Variable each) {
        scope().locals[each.name] = static_cast<int32_t>(function_.locals.size());
        function_.locals.push_back(std::move(each));
      };
      declare(variable);
      while (lexer_.accept(",")) declare(parse_sibling(lexer_, variable));
      lexer_.expect(";");
    } else if (word == "loc") {
      location(token.line);
    } else if (word == "pragma") {
      lexer_.skip_past(";");
    } else if (word == "extern") {
      extern_ = true;
    } else {
      lexer_.fail_at(token.line, "unknown directive '" + std::string(token.text) + "'");
    }
  }

  // 1 12 5, function_name $L__info_string0 + 4, inlined_at 1 30 2. What is malformed is left out:
  // nothing depends on it.
  void location(int line) {
    SourceLocation at;
    at.ptx_line = line;
    uint32_t column = 0;
    bool ok = parse_line_number(lexer_, line, &at.file) &&
              parse_line_number(lexer_, line, &at.line) && parse_line_number(lexer_, line, &column);
    auto here = [&] { return !lexer_.at_end() && lexer_.current().line == line; };
    while (ok && here()) {
      const Token token = lexer_.take();
      if (token.text == "function_name" && here()) {
        at.function = lexer_.take().text;
      } else if (token.text == "inlined_at") {
        ok = parse_line_number(lexer_, line, &at.caller_file) &&
             parse_line_number(lexer_, line, &at.caller_line) &&
             parse_line_number(lexer_, line, &column);
      }
    }
    while (here()) lexer_.take();
    if (ok) function_.locations.push_back(at);
  }

  void registers() {
    int32_t width = 1;
    if (lexer_.is(".v2") || lexer_.is(".v4")) width = lexer_.take().text[2] - '0';
    const Token token = lexer_.take();
    const Type type = token.kind == Token::Kind::kDot ? parse_type(token.text.substr(1)) : Type{};
    if (!type) {
      return lexer_.fail_at(token.line,
                            "unsupported register type '" + std::string(token.text) + "'");
    }
    do {
      const std::string_view name = parse_name(lexer_);
      const auto first = static_cast<int32_t>(function_.registers.size());
      int64_t count = 1;
      if (lexer_.accept("<")) {
        const Number number = parse_literal(lexer_);
        count = number.value;
        lexer_.expect(">");
        if (number.kind != Operand::Kind::kInteger || count < 0 || count > kRegistersMax)
          return lexer_.fail("register count out of range");
        scope().ranges[name] = {first, static_cast<int32_t>(count), width};
      } else {
        scope().registers[name] = {first, -1, width};
      }
      count *= width;
      if (function_.registers.size() + static_cast<size_t>(count) > kRegistersMax) {
        return lexer_.fail("too many registers");
      }
      function_.registers.insert(function_.registers.end(), static_cast<size_t>(count), type);
    } while (lexer_.accept(","));
    lexer_.expect(";");
  }

  Operand vector(std::string_view close, int depth) {
    Operand out;
    out.kind = Operand::Kind::kVector;
    if (!lexer_.is(close)) {
      do out.elements.push_back(operand(depth + 1));
      while (lexer_.accept(","));
    }
    lexer_.expect(close);
    return out;
  }

  void set_symbol(Operand& out, std::string_view name) {
    out.symbol = name;
    out.local = find_local(name);
  }

  Operand address(int depth) {  // behind '['
    Operand out;
    out.kind = Operand::Kind::kAddress;
    if (lexer_.is(Token::Kind::kNumber)) {
      out.value = parse_integer(lexer_);
    } else {
      const std::string_view name = parse_name(lexer_);
      const auto found = find_registers(name);
      if (found && found->width > 1) {  // [vector.x]
        out.reg = vector_register(*found).reg;
        if (out.reg < 0) lexer_.fail("a vector where an address is expected");
      } else if (found) {
        out.reg = found->first;
      } else {
        if (name.starts_with('%')) lexer_.fail("unknown register '" + std::string(name) + "'");
        set_symbol(out, name);
      }
    }
    if (lexer_.accept("+") || lexer_.is("-")) out.value = parse_integer(lexer_);
    while (lexer_.accept(",")) out.elements.push_back(operand(depth + 1));
    lexer_.expect("]");
    return out;
  }

  Operand operand(int depth) {
    Operand out;
    if (depth > kNestingMax) {
      lexer_.fail("operand nests too deeply");
      return out;
    }
    if (lexer_.accept("!")) {
      out = operand(depth + 1);
      out.negated = !out.negated;
      return out;
    }
    if (lexer_.accept("{")) {
      out = vector("}", depth);
      if (lexer_.accept("|")) out.second_reg = second_register();  // {a, b, c, d}|%p1
      return out;
    }
    if (in_call_ && lexer_.accept("(")) return vector(")", depth);
    if (lexer_.accept("[")) return address(depth);
    if (lexer_.is("-")) {
      Lexer ahead = lexer_;
      ahead.take();
      if (ahead.is(Token::Kind::kWord)) {
        lexer_.take();
        out = operand(depth + 1);
        out.minus = !out.minus;
        return out;
      }
    }
    if (lexer_.is(Token::Kind::kNumber) || lexer_.is("-") || lexer_.is("+") || lexer_.is("~") ||
        lexer_.is("(")) {
      const Number number = parse_constant(lexer_);
      out.kind = number.kind;
      out.value = number.value;
      return out;
    }
    if (!lexer_.is(Token::Kind::kWord)) {
      lexer_.fail("expected an operand");
      return out;
    }
    const Token word = lexer_.take();
    if (word.text == "_") {
      if (lexer_.accept("|")) {  // _|%p1
        out.second_reg = second_register();
      }
      return out;
    }
    const auto found = find_registers(word.text);
    if (found && found->width > 1) return vector_register(*found);
    if (found) {
      out.reg = found->first;
      out.kind = Operand::Kind::kRegister;
      if (lexer_.accept("|")) out.second_reg = second_register();
      if (lexer_.is(Token::Kind::kDot)) out.part = lexer_.take().text.substr(1);
      return out;
    }
    if (word.text.starts_with('%')) {
      out.kind = Operand::Kind::kSpecial;
      const char* const begin = word.text.data();
      size_t length = word.text.size();
      if (lexer_.is(Token::Kind::kDot)) {
        const std::string_view component = lexer_.take().text;
        length = static_cast<size_t>(component.data() + component.size() - begin);
      }
      out.symbol = {begin, length};
      return out;
    }
    if (word.text == "WARP_SZ") {
      out.kind = Operand::Kind::kInteger;
      out.value = 32;
      return out;
    }
    out.kind = Operand::Kind::kSymbol;
    set_symbol(out, word.text);
    if (lexer_.accept("+") || lexer_.is("-")) out.value = parse_integer(lexer_);
    return out;
  }

  // The whole of a vector, or its component behind the dot.
  Operand vector_register(const FoundRegister& found) {
    auto element = [&](int32_t i) {
      Operand out;
      out.kind = Operand::Kind::kRegister;
      out.reg = found.first + i;
      return out;
    };
    if (lexer_.is(Token::Kind::kDot)) {
      const int index = component_index(lexer_.current().text.substr(1));
      if (index < 0 || index >= found.width) {
        lexer_.fail("the vector has no such component");
        return {};
      }
      lexer_.take();
      return element(index);
    }
    Operand out;
    out.kind = Operand::Kind::kVector;
    for (int32_t i = 0; i < found.width; ++i) out.elements.push_back(element(i));
    return out;
  }

  int32_t second_register() {
    const Token name = lexer_.current();
    if (lexer_.accept("_")) return -1;
    const int32_t reg = find_register(parse_name(lexer_));
    if (reg < 0) lexer_.fail_at(name.line, "unknown register '" + std::string(name.text) + "'");
    return reg;
  }

  std::optional<int32_t> find_label(size_t from, std::string_view name) {
    return lookup(from, [&](Scope& s) -> std::optional<int32_t> {
      if (auto it = s.labels.find(name); it != s.labels.end()) return it->second;
      return {};
    });
  }

  void resolve_labels() {
    for (const Table& table : tables_) {
      std::vector<int32_t> targets;
      for (std::string_view name : table.labels) {
        const auto target = find_label(table.scope, name);
        if (!target)
          return lexer_.fail_at(table.line, "undefined label '" + std::string(name) + "'");
        targets.push_back(*target);
      }
      function_.branch_tables.push_back(std::move(targets));
    }
    for (const Reference& reference : references_) {
      Instruction& instruction = function_.body[reference.instruction];
      Operand& operand = instruction.operands[reference.operand];
      const std::string_view opcode = instruction.name.front();
      if (opcode == "brx") {
        const auto table = lookup(reference.scope, [&](Scope& s) -> std::optional<int32_t> {
          if (auto it = s.tables.find(operand.symbol); it != s.tables.end()) return it->second;
          return {};
        });
        if (!table) {
          return lexer_.fail_at(instruction.line,
                                "undefined branch targets '" + std::string(operand.symbol) + "'");
        }
        operand.target = *table;
      } else if (opcode == "bra") {
        const auto target = find_label(reference.scope, operand.symbol);
        if (!target) {
          return lexer_.fail_at(instruction.line,
                                "undefined label '" + std::string(operand.symbol) + "'");
        }
        operand.target = *target;
      }
    }
  }

  Function& function_;
  Lexer lexer_;
  std::vector<Scope> scopes_;  // all of the body; open_ says which are open
  std::vector<size_t> open_;
  std::vector<Table> tables_;
  std::vector<Reference> references_;
  bool extern_ = false;
  bool in_call_ = false;  // where parentheses hold parameters, not a constant expression
};

}  // namespace

std::optional<ParseError> parse_body(Function& function) {
  if (function.parsed || function.is_declaration) return {};
  auto error = BodyParser(function).run();
  if (error) {  // so that a second attempt gives the same answer
    function.registers.clear();
    function.locals.clear();
    function.body.clear();
    function.branch_tables.clear();
  }
  function.parsed = !error;
  return error;
}

}  // namespace farcall::softgpu::ptx
