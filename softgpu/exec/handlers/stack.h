// alloca: memory that a thread takes from the far end of its stack, and gives back when the
// function returns. Op::c of all: the 64-bit register that holds the lowest address taken so far.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

// Per thread, beyond the frames.
constexpr u32 kAllocaBytes = 64 << 10;

void stack_begin(Warp& warp, const Op& op, u32 mask);    // c = the end of the stack
void stack_take(Warp& warp, const Op& op, u32 mask);     // d = c = a bytes lower; imm: alignment
void stack_restore(Warp& warp, const Op& op, u32 mask);  // c = a

}  // namespace farcall::softgpu
