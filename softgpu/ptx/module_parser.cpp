// The file scope of PTX: directives, variables, function headers. Bodies are only delimited here.
#include <algorithm>

#include "softgpu/ptx/parser.h"
#include "softgpu/ptx/syntax.h"

namespace farcall::softgpu::ptx {
namespace {

class ModuleParser {
 public:
  explicit ModuleParser(Module& module) : module_(module), lexer_(module.source, 1) {}

  std::optional<ParseError> run() {
    while (!lexer_.at_end()) statement();
    if (!lexer_.failed() && module_.version == 0)
      lexer_.fail_at(1, "no .version directive: this is not PTX");
    return lexer_.error();
  }

 private:
  struct Linkage {
    bool is_extern = false, is_weak = false, is_visible = false;
  };

  void statement() {
    if (lexer_.accept(";")) return;
    const Token token = lexer_.current();
    if (token.kind != Token::Kind::kDot) return lexer_.fail("expected a directive");
    const std::string_view word = token.text.substr(1);
    if (word == "global" || word == "const" || word == "shared") return variable(word);
    if (word == "entry" || word == "func") return function(word == "entry");
    lexer_.take();
    if (word == "version") {
      version();
    } else if (word == "target") {
      target();
    } else if (word == "address_size") {
      if (parse_integer(lexer_) != 64)
        lexer_.fail_at(token.line, "only .address_size 64 is supported");
    } else if (word == "visible") {
      linkage_.is_visible = true;
    } else if (word == "weak" || word == "common") {
      linkage_.is_weak = linkage_.is_visible = true;
    } else if (word == "extern") {
      linkage_.is_extern = true;
    } else if (word == "file") {
      file(token.line);
    } else if (word == "loc") {
      lexer_.skip_line();
    } else if (word == "section") {
      const bool strings = lexer_.is(".debug_str");
      while (!lexer_.at_end() && !lexer_.is("{")) lexer_.take();
      int line = 0;
      if (lexer_.is("{")) {
        const std::string_view text = lexer_.take_braces(&line);
        if (strings) module_.debug_strings = text;
      }
    } else if (word == "alias") {
      Alias alias;
      alias.name = parse_name(lexer_);
      lexer_.expect(",");
      alias.target = parse_name(lexer_);
      lexer_.expect(";");
      module_.aliases.push_back(alias);
    } else if (word == "pragma") {
      lexer_.skip_past(";");
    } else {
      lexer_.fail_at(token.line, "unknown directive '" + std::string(token.text) + "'");
    }
  }

  void file(int line) {  // 1 "/src/a.cu", TIMESTAMP, SIZE
    uint32_t number = 0;
    if (parse_line_number(lexer_, line, &number) && lexer_.is(Token::Kind::kString)) {
      const std::string_view quoted = lexer_.current().text;
      if (quoted.size() >= 2) module_.files[number] = quoted.substr(1, quoted.size() - 2);
    }
    while (!lexer_.at_end() && lexer_.current().line == line) lexer_.take();
  }

  void version() {  // 9.0
    const Token token = lexer_.take();
    const size_t dot = token.text.find('.');
    int major = 0, minor = 0;
    for (char c : token.text.substr(0, dot)) major = std::min(major * 10 + (c - '0'), 999);
    if (dot != token.text.npos) {
      for (char c : token.text.substr(dot + 1)) minor = std::min(minor * 10 + (c - '0'), 9);
    }
    if (token.kind != Token::Kind::kNumber || major < 1) {
      return lexer_.fail_at(token.line, "malformed .version");
    }
    module_.version = 10 * major + minor;
  }

  void target() {  // sm_90a, texmode_independent
    const Token token = lexer_.current();
    do {
      const std::string_view word = parse_name(lexer_);
      if (!word.starts_with("sm_") && !word.starts_with("compute_")) continue;
      int sm = 0;
      for (char c : word.substr(word.find('_') + 1)) {
        if (c >= '0' && c <= '9') sm = std::min(sm * 10 + (c - '0'), 9999);
      }
      module_.target = sm;
    } while (lexer_.accept(","));
    if (!lexer_.failed() && module_.target == 0) lexer_.fail_at(token.line, "malformed .target");
  }

  void variable(std::string_view space) {
    lexer_.take();
    Variable variable = parse_variable(lexer_, space);
    variable.is_extern = linkage_.is_extern;
    variable.is_weak = linkage_.is_weak;
    variable.is_visible = linkage_.is_visible;
    linkage_ = {};
    module_.variables.push_back(std::move(variable));
    // .global .b32 a, b;
    while (lexer_.accept(",")) {
      Variable next = parse_sibling(lexer_, module_.variables.back());
      module_.variables.push_back(std::move(next));
    }
    lexer_.expect(";");
  }

  void parameters(std::vector<Variable>& out) {
    lexer_.expect("(");
    if (lexer_.accept(")")) return;
    do {
      const Token space = lexer_.take();
      if (space.text != ".param" && space.text != ".reg") {
        return lexer_.fail_at(space.line,
                              "expected .param, found '" + std::string(space.text) + "'");
      }
      out.push_back(parse_variable(lexer_, space.text.substr(1)));
    } while (lexer_.accept(","));
    lexer_.expect(")");
  }

  void function(bool is_entry) {
    Function function;
    function.is_entry = is_entry;
    function.line = lexer_.take().line;
    function.is_extern = linkage_.is_extern;
    function.is_weak = linkage_.is_weak;
    function.is_visible = linkage_.is_visible;
    linkage_ = {};
    while (lexer_.accept(".attribute")) skip_parentheses();
    if (lexer_.is("(")) parameters(function.returns);
    function.name = parse_name(lexer_);
    if (lexer_.is("(")) parameters(function.params);
    while (lexer_.is(Token::Kind::kDot) && !lexer_.at_end()) header_directive(function);
    if (lexer_.is("{")) {
      function.body_text = lexer_.take_braces(&function.body_line);
    } else {
      function.is_declaration = true;
      lexer_.expect(";");
    }
    if (!lexer_.failed()) module_.functions.push_back(std::move(function));
  }

  void skip_parentheses() {
    lexer_.expect("(");
    for (int depth = 1; depth > 0 && !lexer_.at_end();) {
      const Token token = lexer_.take();
      depth += token.text == "(" ? 1 : token.text == ")" ? -1 : 0;
    }
  }

  void header_directive(Function& function) {
    const Token token = lexer_.take();
    const std::string_view word = token.text.substr(1);
    if (word == "maxntid" || word == "reqntid") {
      function.max_threads = {1, 1, 1};
      for (size_t i = 0; i < 3; ++i) {
        const int64_t n = parse_integer(lexer_);
        if (n < 1 || n > 1024)
          return lexer_.fail_at(token.line,
                                "thread count out of range in " + std::string(token.text));
        function.max_threads[i] = static_cast<uint32_t>(n);
        if (!lexer_.accept(",")) break;
      }
    } else if (word == "reqnctapercluster") {
      function.cluster = {1, 1, 1};
      for (size_t i = 0; i < 3; ++i) {
        const int64_t n = parse_integer(lexer_);
        if (n < 1 || n > 1024) return lexer_.fail_at(token.line, "cluster size out of range");
        function.cluster[i] = static_cast<uint32_t>(n);
        if (!lexer_.accept(",")) break;
      }
    } else if (word == "maxnreg" || word == "minnctapersm" || word == "maxnctapersm" ||
               word == "maxclusterrank" || word == "abi_preserve" ||
               word == "abi_preserve_control") {
      do parse_integer(lexer_);
      while (lexer_.accept(","));
    } else if (word == "pragma") {
      lexer_.skip_past(";");
    } else if (word == "noreturn" || word == "explicitcluster" || word == "blocksareclusters") {
    } else {
      lexer_.fail_at(token.line, "unknown directive '" + std::string(token.text) + "'");
    }
  }

  Module& module_;
  Lexer lexer_;
  Linkage linkage_;
};

}  // namespace

std::unique_ptr<Module> parse_module(std::string source, ParseError* error) {
  auto module = std::make_unique<Module>();
  module->source = std::move(source);
  if (auto failure = ModuleParser(*module).run()) {
    *error = std::move(*failure);
    return nullptr;
  }
  return module;
}

}  // namespace farcall::softgpu::ptx
