// Constant expressions: what may stand wherever PTX wants a number.
#pragma once

#include "softgpu/ptx/lexer.h"
#include "softgpu/ptx/syntax.h"

namespace farcall::softgpu::ptx {

// A literal, or an expression of literals with C's operators; computed in 64 bits, or in f64 when
// there is a float in it.
Number parse_constant(Lexer& lexer);

}  // namespace farcall::softgpu::ptx
