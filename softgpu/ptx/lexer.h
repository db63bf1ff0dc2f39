// Cuts PTX text into tokens. An error is sticky: after the first one every token is the end of the
// text, so parsers run out by themselves and one place asks for error().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace farcall::softgpu::ptx {

struct ParseError {
  int line = 0;
  std::string message;  // without the line
};

struct Token {
  enum class Kind : uint8_t { kEnd, kWord, kDot, kNumber, kPunctuation, kString };
  Kind kind = Kind::kEnd;
  std::string_view text;  // kDot: with the dot
  int line = 0;
};

class Lexer {
 public:
  Lexer(std::string_view text, int line);

  const Token& current() const { return current_; }
  bool at_end() const { return current_.kind == Token::Kind::kEnd; }
  bool is(Token::Kind kind) const { return current_.kind == kind; }
  bool is(std::string_view text) const {
    return current_.text == text && current_.kind != Token::Kind::kString && !at_end();
  }
  Token take();
  bool accept(std::string_view text);
  bool expect(std::string_view text);
  // Takes tokens up to and including `text`; fails at the end of the text.
  void skip_past(std::string_view text);
  void skip_line();
  // At '{': returns the text between it and its partner and moves past both.
  std::string_view take_braces(int* first_line);

  // Names the construct; the current token is added.
  void fail(std::string_view message);
  void fail_at(int line, std::string message);
  bool failed() const { return error_.has_value(); }
  const std::optional<ParseError>& error() const { return error_; }

 private:
  void advance();
  void skip_blanks();

  const char* position_;
  const char* end_;
  int line_;
  Token current_;
  std::optional<ParseError> error_;
};

}  // namespace farcall::softgpu::ptx
