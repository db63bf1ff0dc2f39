#include "softgpu/ptx/lexer.h"

#include <algorithm>

namespace farcall::softgpu::ptx {
namespace {

// Locale-free, and defined for every byte.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

// Error messages quote tokens; a token may be a megabyte of garbage.
constexpr size_t kQuotedBytesMax = 60;

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kQuotedBytesMax)) out += c >= ' ' && c <= '~' ? c : '?';
  if (text.size() > kQuotedBytesMax) out += "...";
  return out;
}

}  // namespace

Lexer::Lexer(std::string_view text, int line)
    : position_(text.data()), end_(text.data() + text.size()), line_(line) {
  advance();
}

Token Lexer::take() {
  Token token = current_;
  advance();
  return token;
}

bool Lexer::accept(std::string_view text) {
  if (!is(text)) return false;
  advance();
  return true;
}

bool Lexer::expect(std::string_view text) {
  if (accept(text)) return true;
  fail("expected '" + std::string(text) + "'");
  return false;
}

void Lexer::skip_past(std::string_view text) {
  while (!at_end()) {
    if (accept(text)) return;
    advance();
  }
  fail("expected '" + std::string(text) + "'");
}

void Lexer::skip_line() {
  const int line = current_.line;
  while (!at_end() && current_.line == line) advance();
}

std::string_view Lexer::take_braces(int* first_line) {
  // The current token is the '{', so position_ is just behind it.
  *first_line = line_;
  const char* const begin = position_;
  const int open_line = current_.line;
  int depth = 1;
  while (position_ < end_) {
    const char c = *position_;
    const bool comment =
        c == '/' && position_ + 1 < end_ && (position_[1] == '/' || position_[1] == '*');
    if (comment || is_blank(c)) {
      skip_blanks();
      continue;
    }
    ++position_;
    if (c == '"') {
      while (position_ < end_ && *position_ != '"') {
        if (*position_ == '\n') ++line_;
        position_ += *position_ == '\\' && position_ + 1 < end_ ? 2 : 1;
      }
      if (position_ < end_) ++position_;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      const std::string_view inside(begin, static_cast<size_t>(position_ - 1 - begin));
      advance();
      return inside;
    }
  }
  fail_at(open_line, "'{' without its '}'");
  return {};
}

void Lexer::fail(std::string_view message) {
  const std::string near =
      at_end() ? "at the end of the text" : "near '" + printable(current_.text) + "'";
  fail_at(current_.line, std::string(message) + " " + near);
}

void Lexer::fail_at(int line, std::string message) {
  if (!error_) error_ = ParseError{line, std::move(message)};
  position_ = end_;
  current_ = Token{Token::Kind::kEnd, {}, line};
}

void Lexer::skip_blanks() {
  while (position_ < end_) {
    if (is_blank(*position_)) {
      line_ += *position_++ == '\n';
    } else if (*position_ == '/' && position_ + 1 < end_ && position_[1] == '/') {
      while (position_ < end_ && *position_ != '\n') ++position_;
    } else if (*position_ == '/' && position_ + 1 < end_ && position_[1] == '*') {
      position_ += 2;
      while (position_ + 1 < end_ && !(position_[0] == '*' && position_[1] == '/')) {
        line_ += *position_++ == '\n';
      }
      position_ = std::min(position_ + 2, end_);
    } else {
      return;
    }
  }
}

void Lexer::advance() {
  skip_blanks();
  const char* const begin = position_;
  auto emit = [&](Token::Kind kind, int line) {
    current_ = Token{kind, {begin, static_cast<size_t>(position_ - begin)}, line};
  };
  const int line = line_;
  if (position_ >= end_) return emit(Token::Kind::kEnd, line);

  const char c = *position_;
  const char next = position_ + 1 < end_ ? position_[1] : '\0';
  if (c == '"') {
    ++position_;
    while (position_ < end_ && *position_ != '"') {
      if (*position_ == '\n') ++line_;
      position_ += *position_ == '\\' && position_ + 1 < end_ ? 2 : 1;
    }
    if (position_ < end_) ++position_;
    return emit(Token::Kind::kString, line);
  }
  if (is_digit(c)) {
    // A sign belongs to a decimal number's exponent, and to nothing in 0x1e-5.
    const bool decimal = c != '0' || is_digit(next) || next == '.';
    while (position_ < end_) {
      const char here = *position_;
      const bool more = position_ + 1 < end_;
      const bool point = here == '.' && more && is_digit(position_[1]);
      const bool sign = (here == '+' || here == '-') && decimal && more && is_digit(position_[1]) &&
                        (position_[-1] == 'e' || position_[-1] == 'E');
      if (!is_word(here) && !point && !sign) break;
      ++position_;
    }
    return emit(Token::Kind::kNumber, line);
  }
  if (c == '.' && is_word(next)) {  // .global, .L2::128B
    ++position_;
    while (position_ < end_) {
      if (is_word(*position_)) {
        ++position_;
      } else if (*position_ == ':' && position_ + 1 < end_ && position_[1] == ':') {
        position_ += 2;
      } else {
        break;
      }
    }
    return emit(Token::Kind::kDot, line);
  }
  if (is_word(c) || c == '%') {
    ++position_;
    while (position_ < end_ && is_word(*position_)) ++position_;
    return emit(Token::Kind::kWord, line);
  }
  ++position_;
  emit(Token::Kind::kPunctuation, line);
}

}  // namespace farcall::softgpu::ptx
