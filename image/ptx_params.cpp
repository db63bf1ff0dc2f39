// Kernels, parameters and variables of a PTX text. Only what stands outside braces is looked at:
// module directives,
// `.entry` headers, `.global` and `.const` declarations. Bodies, which are nearly all of the text,
// are skipped by counting braces outside of comments and strings. A parameter's offset is the next
// multiple of its alignment.
#include <algorithm>
#include <array>
#include <charconv>

#include "image/kernel_params.h"
#include "image/report.h"

namespace farcall::image {
namespace {

constexpr uint64_t kVariableBytesMax = uint64_t{1} << 48;

enum CharClass : uint8_t { kSpace = 1, kWord = 2, kStopsBody = 4 };

constexpr std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> classes{};
  for (unsigned char c : {' ', '\t', '\n', '\r', '\v', '\f'}) classes[c] = kSpace;
  for (unsigned char c = '0'; c <= '9'; ++c) classes[c] = kWord;
  for (unsigned char c = 'a'; c <= 'z'; ++c) classes[c] = kWord;
  for (unsigned char c = 'A'; c <= 'Z'; ++c) classes[c] = kWord;
  for (unsigned char c : {'_', '$', '%', '.'}) classes[c] = kWord;
  for (unsigned char c : {'{', '}', '"', '/'}) classes[c] = kStopsBody;
  return classes;
}
constexpr auto kClasses = make_classes();

// Gives words (identifiers, directives, numbers), strings and single punctuation characters; empty
// at the end.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::string_view next() {
    skip_space();
    const size_t start = at_;
    if (at_ == text_.size()) return {};
    if (text_[at_] == '"') {
      skip_string();
    } else if (is(kWord)) {
      while (at_ < text_.size() && is(kWord)) ++at_;
    } else {
      ++at_;
    }
    return text_.substr(start, at_ - start);
  }

  char peek() {  // the next token's first character, 0 at the end
    skip_space();
    return at_ == text_.size() ? '\0' : text_[at_];
  }

  // The opening brace was read; goes past its closing one. False: the text ends before.
  bool skip_body() {
    for (size_t depth = 1; depth > 0;) {
      while (at_ < text_.size() && !is(kStopsBody)) ++at_;
      if (at_ == text_.size()) return false;
      switch (text_[at_]) {
        case '{':
          ++depth, ++at_;
          break;
        case '}':
          --depth, ++at_;
          break;
        case '"':
          skip_string();
          break;
        default:
          skip_comment_or_slash();
      }
    }
    return true;
  }

  ptrdiff_t line() const { return 1 + std::count(text_.begin(), text_.begin() + at_, '\n'); }

 private:
  bool is(CharClass c) const { return kClasses[static_cast<unsigned char>(text_[at_])] & c; }

  void skip_to(std::string_view end) {
    const size_t found = text_.find(end, at_);
    at_ = found == std::string_view::npos ? text_.size() : found + end.size();
  }
  void skip_string() {
    ++at_;
    skip_to("\"");
  }
  bool skip_comment_or_slash() {  // true: it was a comment
    const std::string_view rest = text_.substr(at_, 2);
    at_ += rest == "//" || rest == "/*" ? 2 : 0;
    if (rest == "//")
      skip_to("\n");
    else if (rest == "/*")
      skip_to("*/");
    else
      ++at_;
    return rest == "//" || rest == "/*";
  }
  void skip_space() {
    for (;;) {
      while (at_ < text_.size() && is(kSpace)) ++at_;
      const std::string_view rest = text_.substr(at_, 2);
      if (rest != "//" && rest != "/*") return;
      skip_comment_or_slash();
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

// PTX integers: decimal, 0x, 0b, leading 0 for octal; perhaps with U behind. 0 if it is none.
uint64_t number(std::string_view word) {
  int base = 10;
  if (word.starts_with("0x") || word.starts_with("0X"))
    base = 16, word.remove_prefix(2);
  else if (word.starts_with("0b") || word.starts_with("0B"))
    base = 2, word.remove_prefix(2);
  else if (word.starts_with("0") && word.size() > 1)
    base = 8, word.remove_prefix(1);
  uint64_t value = 0;
  const auto result = std::from_chars(word.data(), word.data() + word.size(), value, base);
  return result.ec == std::errc{} ? value : 0;
}

// Bytes of a fundamental or opaque type; 0: not the name of a type.
uint32_t type_bytes(std::string_view word) {
  if (word == ".texref" || word == ".samplerref" || word == ".surfref") return 8;
  if (word == ".f16x2" || word == ".bf16x2") return 4;
  if (word == ".bf16") return 2;
  if (word == ".pred") return 1;
  if (word.size() < 3 || word[0] != '.' ||
      std::string_view("busf").find(word[1]) == std::string_view::npos)
    return 0;
  const std::string_view bits = word.substr(2);
  if (bits == "8") return 1;
  if (bits == "16") return 2;
  if (bits == "32") return 4;
  if (bits == "64") return 8;
  if (bits == "128") return 16;
  return 0;
}

// Product with a ceiling instead of overflow.
uint64_t multiply(uint64_t a, uint64_t b) {
  if (a != 0 && b > kVariableBytesMax / a) return kVariableBytesMax;
  return a * b;
}

// What a declaration of a parameter or variable says, collected token by token.
struct Declaration {
  std::string_view name;
  uint32_t element_bytes = 0;
  uint64_t vector = 1;     // .v2, .v4, .v8
  uint64_t alignment = 0;  // 0: natural
  uint64_t dimensions = 1;
  bool unsized = false;  // name[]
  bool pointee = false;  // after .ptr: what follows describes what it points to
  bool managed = false;

  uint64_t size() const { return multiply(multiply(element_bytes, vector), dimensions); }
  uint64_t natural_alignment() const { return multiply(element_bytes, vector); }
};

class Reader {
 public:
  explicit Reader(std::string_view text) : scan_(text) { module_.source = Module::Source::kPtx; }

  Result<Module> read() {
    bool external = false;
    for (std::string_view word = scan_.next(); !word.empty(); word = scan_.next()) {
      bool fine = true;
      if (word == "{")
        fine = scan_.skip_body();
      else if (word == ".target")
        target();
      else if (word == ".entry")
        fine = entry();
      else if (word == ".global" || word == ".const")
        fine = variables(word == ".const", external);
      if (!fine) {
        return corrupt("PTX: line {}: {}", scan_.line(),
                       wrong_ ? wrong_ : "the text ends inside a declaration or body");
      }
      external = word == ".extern";
    }
    if (module_.sm == 0) return corrupt("PTX: no .target directive names an architecture");
    return std::move(module_);
  }

 private:
  bool fail(const char* why) {
    wrong_ = why;
    return false;
  }

  void target() {
    const std::string_view word = scan_.next();
    if (!word.starts_with("sm_")) return;
    int sm = 0;
    std::from_chars(word.data() + 3, word.data() + word.size(), sm);  // sm_90a: the letter ends it
    module_.sm = sm;
  }

  // `word` is inside a declaration. False: the text ends or is absurd.
  bool declare(Declaration& declaration, std::string_view word) {
    if (word == ".align") {
      const uint64_t alignment = number(scan_.next());
      if (declaration.pointee) return true;
      if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kParamBytesMax) {
        return fail("an alignment that is no power of two");
      }
      declaration.alignment = alignment;
    } else if (word == ".ptr") {
      declaration.pointee = true;
    } else if (word == ".attribute") {
      return attribute(declaration);
    } else if (word == "[") {
      return dimension(declaration);
    } else if (word == ".v2" || word == ".v4" || word == ".v8") {
      declaration.vector = static_cast<uint64_t>(word[2] - '0');
    } else if (const uint32_t bytes = type_bytes(word); bytes != 0) {
      if (!declaration.pointee) declaration.element_bytes = bytes;
    } else if (word[0] != '.' && declaration.name.empty()) {
      declaration.name = word;
    }
    return true;
  }

  bool attribute(Declaration& declaration) {
    size_t depth = 0;
    do {
      const std::string_view word = scan_.next();
      if (word.empty()) return false;
      if (word == "(")
        ++depth;
      else if (depth == 0)
        return fail(".attribute without a list");
      else if (word == ")")
        --depth;
      else if (word == ".managed")
        declaration.managed = true;
    } while (depth > 0);
    return true;
  }

  bool dimension(Declaration& declaration) {
    const std::string_view word = scan_.next();
    if (word.empty()) return false;
    if (word == "]") {
      declaration.unsized = true;
      return true;
    }
    // In front of the name it is the bank number of an old .const[2].
    if (!declaration.name.empty())
      declaration.dimensions = multiply(declaration.dimensions, number(word));
    return scan_.next() == "]" || fail("an array dimension that is not a number");
  }

  bool entry() {
    Kernel kernel;
    kernel.name = scan_.next();
    kernel.params_known = true;
    if (scan_.peek() == '(') {
      scan_.next();
      if (!parameters(kernel)) return false;
    }
    if (!directives(kernel)) return false;
    if (module_.kernels.size() == kKernelsMax) return fail("too many kernels");
    module_.kernels.insert_or_assign(kernel.name, std::move(kernel));
    return true;
  }

  bool parameters(Kernel& kernel) {
    Declaration declaration;
    for (;;) {
      const std::string_view word = scan_.next();
      if (word.empty()) return false;
      if (word != "," && word != ")") {
        if (!declare(declaration, word)) return false;
        continue;
      }
      if (declaration.element_bytes != 0 && !add_param(kernel, declaration)) return false;
      if (word == ")") return true;
      declaration = {};
    }
  }

  bool add_param(Kernel& kernel, const Declaration& declaration) {
    const uint64_t alignment =
        declaration.alignment != 0 ? declaration.alignment : declaration.natural_alignment();
    const uint64_t offset = (kernel.param_bytes + alignment - 1) / alignment * alignment;
    const uint64_t size = declaration.size();
    if (!fits(offset, size, kParamBytesMax))
      return fail("more bytes of parameters than a kernel can have");
    if (kernel.params.size() == kParamsMax) return fail("more parameters than a kernel can have");
    kernel.params.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(size)});
    kernel.param_bytes = static_cast<uint32_t>(offset + size);
    return true;
  }

  // Performance directives, between a kernel's header and its body.
  bool directives(Kernel& kernel) {
    for (char c = scan_.peek(); c != '{' && c != ';'; c = scan_.peek()) {
      const std::string_view word = scan_.next();
      if (word.empty()) return false;
      if (word != ".maxntid" && word != ".reqntid") continue;
      uint64_t threads = number(scan_.next());
      while (scan_.peek() == ',') {
        scan_.next();
        threads = multiply(threads, number(scan_.next()));
      }
      kernel.max_threads = static_cast<uint32_t>(std::min<uint64_t>(threads, UINT32_MAX));
    }
    return true;
  }

  // `.global .align 8 .u64 table[3] = {a, b, c}, other;`
  bool variables(bool constant, bool external) {
    Declaration declaration;
    for (;;) {
      const std::string_view word = scan_.next();
      if (word.empty()) return false;
      if (word == "=") {
        uint64_t elements = 0;
        if (!initialiser(elements)) return false;
        if (declaration.unsized)
          declaration.dimensions = multiply(declaration.dimensions, elements);
        if (elements != 0) declaration.unsized = false;
      } else if (word == "," || word == ";") {
        if (!declaration.name.empty()) {
          module_.variables[std::string(declaration.name)] = {
              .name = std::string(declaration.name),
              .size = declaration.unsized ? 0 : declaration.size(),
              .constant = constant,
              .managed = declaration.managed,
              .external = external};
        }
        if (word == ";") return true;
        // The next name shares the type.
        declaration.name = {};
        declaration.dimensions = 1;
        declaration.unsized = false;
      } else if (!declare(declaration, word)) {
        return false;
      }
    }
  }

  // Stops in front of the `,` or `;` that ends it. Counts the elements of the outermost braces.
  bool initialiser(uint64_t& elements) {
    size_t depth = 0;
    for (;;) {
      const char c = scan_.peek();
      if (depth == 0 && (c == ',' || c == ';')) return true;
      const std::string_view word = scan_.next();
      if (word.empty()) return false;
      if (word == "{" || word == "(") {
        if (++depth == 1 && word == "{") elements = 1;
      } else if (word == "}" || word == ")") {
        if (depth-- == 0) return fail("a closing bracket that nothing opened");
      } else if (word == "," && depth == 1 && elements != 0) {
        ++elements;
      }
    }
  }

  Scanner scan_;
  Module module_;
  const char* wrong_ = nullptr;
};

}  // namespace

Result<Module> read_ptx(std::string_view text) { return Reader(text).read(); }

}  // namespace farcall::image
