#include "tests/fuzz/ptx_mutator.h"

#include <cctype>
#include <random>
#include <vector>

namespace farcall::fuzz {
namespace {

using Random = std::mt19937;

// Words and single signs; white space stays with what is before it.
std::vector<std::string> split(std::string_view text) {
  auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%';
  };
  std::vector<std::string> tokens;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (is_word(text[i])) {
      while (end < text.size() && is_word(text[end])) ++end;
    }
    while (end < text.size() && std::isspace(static_cast<unsigned char>(text[end])) != 0) ++end;
    tokens.emplace_back(text.substr(i, end - i));
    i = end;
  }
  return tokens;
}

// What comes between dots, and opcodes: whatever the decoder asks for by name.
constexpr const char* kModifiers[] = {
    "s8",      "u8",       "b8",     "s16",          "u16",       "b16",       "s32",     "u32",
    "b32",     "s64",      "u64",    "b64",          "b128",      "f16",       "bf16",    "f16x2",
    "bf16x2",  "f32",      "f64",    "tf32",         "pred",      "u16x2",     "s16x2",   "e4m3x2",
    "e5m2x2",  "rn",       "rz",     "rm",           "rp",        "rni",       "rzi",     "rmi",
    "rpi",     "rna",      "ftz",    "sat",          "satfinite", "relu",      "approx",  "full",
    "lo",      "hi",       "wide",   "cc",           "NaN",       "xorsign",   "abs",     "global",
    "shared",  "local",    "param",  "const",        "volatile",  "relaxed",   "acquire", "release",
    "gpu",     "cta",      "sys",    "v2",           "v4",        "v8",        "nc",      "sync",
    "aligned", "idx",      "up",     "down",         "bfly",      "all",       "any",     "uni",
    "ballot",  "add",      "min",    "max",          "and",       "or",        "xor",     "inc",
    "dec",     "exch",     "cas",    "clamp",        "wrap",      "shiftamt",  "eq",      "ne",
    "lt",      "gtu",      "nan",    "popc",         "red",       "arrive",    "b4e",     "rc16",
    "to",      "m16n8k16", "m8n8k4", "row",          "col",       "trans",     "x1",      "x4",
    "async",   "ca",       "cg",     "commit_group", "finite",    "subnormal", "cluster"};
constexpr const char* kOpcodes[] = {
    "add",      "sub",        "mul",   "mad",      "fma",      "div",       "rem",
    "min",      "max",        "abs",   "neg",      "mul24",    "mad24",     "sad",
    "and",      "or",         "xor",   "not",      "cnot",     "shl",       "shr",
    "shf",      "bfe",        "bfi",   "bfind",    "brev",     "clz",       "popc",
    "prmt",     "lop3",       "bmsk",  "szext",    "dp4a",     "dp2a",      "addc",
    "subc",     "madc",       "setp",  "set",      "selp",     "slct",      "mov",
    "cvt",      "cvta",       "ld",    "st",       "atom",     "red",       "shfl",
    "vote",     "match",      "redux", "bar",      "barrier",  "rcp",       "sqrt",
    "rsqrt",    "sin",        "cos",   "ex2",      "lg2",      "tanh",      "testp",
    "copysign", "isspacep",   "mma",   "ldmatrix", "stmatrix", "movmatrix", "cp",
    "bra",      "brx",        "call",  "ret",      "exit",     "trap",      "fence",
    "membar",   "activemask", "elect", "prefetch", "nanosleep"};
constexpr const char* kNumbers[] = {"0",
                                    "1",
                                    "-1",
                                    "2",
                                    "4",
                                    "7",
                                    "8",
                                    "16",
                                    "31",
                                    "32",
                                    "33",
                                    "64",
                                    "255",
                                    "256",
                                    "4095",
                                    "4096",
                                    "65535",
                                    "0x7fff",
                                    "0x80000000",
                                    "4294967295",
                                    "0x8000000000000000",
                                    "18446744073709551615",
                                    "0f7F800000",
                                    "0fFFC00000",
                                    "0d7FF0000000000000"};

template <class Container>
auto& pick(Random& random, Container& from) {
  return from[random() % std::size(from)];
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string_view core(const std::string& token) {
  size_t end = token.size();
  while (end > 0 && is_space(token[end - 1])) --end;
  return std::string_view(token).substr(0, end);
}

void replace(std::string& token, std::string_view with) {
  token = std::string(with) + token.substr(core(token).size());
}

// Mostly inside the functions: what is wrong around them is found soon, and hides all the rest.
size_t anywhere(Random& random, const std::vector<std::string>& tokens) {
  const size_t at = random() % tokens.size();
  if (random() % 8 == 0) return at;
  size_t body = 0;
  while (body < tokens.size() && tokens[body][0] != '{') ++body;
  return body + 1 < tokens.size() ? body + 1 + at % (tokens.size() - body - 1) : at;
}

// A place of the wanted kind, looked for from a random one on; size(): none.
template <class Wanted>
size_t find(Random& random, const std::vector<std::string>& tokens, Wanted wanted) {
  const size_t start = anywhere(random, tokens);
  for (size_t k = 0; k < tokens.size(); ++k) {
    const size_t i = (start + k) % tokens.size();
    if (wanted(i)) return i;
  }
  return tokens.size();
}

// From behind one semicolon or brace to behind the next semicolon.
std::pair<size_t, size_t> statement(Random& random, const std::vector<std::string>& tokens) {
  const size_t at = anywhere(random, tokens);
  size_t begin = at, end = at;
  while (begin > 0 && tokens[begin - 1][0] != ';' && tokens[begin - 1][0] != '{' &&
         tokens[begin - 1][0] != ':')
    --begin;
  while (end < tokens.size() && tokens[end][0] != ';') ++end;
  return {begin, end < tokens.size() ? end + 1 : end};
}

void change_once(Random& random, std::vector<std::string>& tokens) {
  const size_t none = tokens.size();
  auto first = [&](size_t i) { return tokens[i][0]; };
  auto behind_dot = [&](size_t i) { return i > 0 && first(i - 1) == '.' && first(i) != '%'; };
  auto is_register = [&](size_t i) { return first(i) == '%'; };
  auto is_number = [&](size_t i) {
    return std::isdigit(static_cast<unsigned char>(first(i))) != 0;
  };
  auto is_opcode = [&](size_t i) {
    return i > 0 && i + 1 < none && std::isalpha(static_cast<unsigned char>(first(i))) != 0 &&
           (first(i - 1) == ';' || first(i - 1) == '{' || first(i - 1) == ':' ||
            (i > 1 && first(i - 2) == '@'));
  };
  switch (random() % 10) {
    case 0: {  // a modifier for another one
      const size_t i = find(random, tokens, behind_dot);
      if (i != none) replace(tokens[i], pick(random, kModifiers));
      break;
    }
    case 1: {  // one more modifier
      const size_t i = find(random, tokens, behind_dot);
      if (i != none)
        replace(tokens[i], std::string(core(tokens[i])) + "." + pick(random, kModifiers));
      break;
    }
    case 2: {  // one fewer
      const size_t i = find(random, tokens, behind_dot);
      if (i != none) {
        replace(tokens[i], "");
        replace(tokens[i - 1], "");
      }
      break;
    }
    case 3: {
      const size_t i = find(random, tokens, is_opcode);
      if (i != none) replace(tokens[i], pick(random, kOpcodes));
      break;
    }
    case 4: {  // two registers change places
      const size_t i = find(random, tokens, is_register);
      if (i == none) break;
      // Of the same kind, as far as names tell.
      const bool any = random() % 8 == 0;
      const size_t k = find(random, tokens, [&](size_t other) {
        return is_register(other) && (any || tokens[other][1] == tokens[i][1]);
      });
      const std::string was(core(tokens[i])), other(core(tokens[k]));
      replace(tokens[i], other);
      replace(tokens[k], was);
      break;
    }
    case 5: {
      const size_t i = find(random, tokens, is_number);
      if (i != none) replace(tokens[i], pick(random, kNumbers));
      break;
    }
    case 6: {  // a number for a register
      const size_t i = find(random, tokens, is_register);
      if (i != none) replace(tokens[i], pick(random, kNumbers));
      break;
    }
    case 7: {  // a statement twice, or somewhere else
      const auto [begin, end] = statement(random, tokens);
      const std::vector<std::string> copy(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                                          tokens.begin() + static_cast<std::ptrdiff_t>(end));
      const auto to = statement(random, tokens).first;
      tokens.insert(tokens.begin() + static_cast<std::ptrdiff_t>(to), copy.begin(), copy.end());
      break;
    }
    case 8: {
      const auto [begin, end] = statement(random, tokens);
      tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                   tokens.begin() + static_cast<std::ptrdiff_t>(end));
      break;
    }
    default: {  // any word for any other
      const size_t i = anywhere(random, tokens), k = anywhere(random, tokens);
      replace(tokens[i], std::string(core(tokens[k])));
    }
  }
}

}  // namespace

std::string mutate_ptx(std::string_view text, uint32_t seed, size_t bytes_max) {
  Random random(seed);
  std::vector<std::string> tokens = split(text);
  const unsigned changes = random() % 4 == 0 ? 1 + random() % 4 : 1;
  for (unsigned k = 0; k < changes && !tokens.empty(); ++k) change_once(random, tokens);
  std::string out;
  for (const std::string& token : tokens) out += token;
  if (out.size() > bytes_max) out.resize(bytes_max);
  return out;
}

}  // namespace farcall::fuzz
