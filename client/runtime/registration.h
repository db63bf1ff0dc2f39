// What nvcc's host code registers before main(): fat binaries, and for each kernel and variable the
// host symbol that stands for it. Nothing is loaded until a symbol is first used.
#pragma once

#include <cstdint>
#include <string>

#include "client/module.h"
#include "client/session.h"

namespace farcall::client::runtime {

// The kernel behind a host function, or behind a cudaKernel_t. A cudaError_t.
int kernel_of(Session& session, const void* symbol, Kernel** out);
// Address and size on the server of the variable behind a host symbol. A cudaError_t.
int variable_of(Session& session, const void* symbol, uint64_t* address, uint64_t* bytes);

}  // namespace farcall::client::runtime
