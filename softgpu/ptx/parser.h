// PTX text -> AST. Any text is safe to parse: a malformed one gives a ParseError with line and
// construct.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "softgpu/ptx/ast.h"
#include "softgpu/ptx/lexer.h"

namespace farcall::softgpu::ptx {

// nullptr on failure, with *error written.
std::unique_ptr<Module> parse_module(std::string source, ParseError* error);

// Reads the body of a definition; does nothing when that is done already.
std::optional<ParseError> parse_body(Function& function);

}  // namespace farcall::softgpu::ptx
