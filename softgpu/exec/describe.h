// Words for the places that faults and findings are about: where in the code, which thread, and
// what lies at an address. Slow; for messages only.
#pragma once

#include <string>

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// "PTX line 17, scan.cu:12 (inlined from scan.cu:30)". Empty for an Op without a line.
std::string describe_place(const Kernel& kernel, const Op& op);
// "in add(float*, int), PTX line 17, scan.cu:12".
std::string describe_code(const Kernel& kernel, const Op& op);
// The function that the Op belongs to, demangled: "add(float*, int)".
std::string describe_function(const Kernel& kernel, const Op& op);
// "(3,0,0)"; `thread` counts within the block.
std::string describe_thread(const Block& block, u32 thread);
std::string describe_block(const Block& block);
// "write of 4 bytes"; empty if the instruction does not say.
std::string describe_access(const Op& op, Access access, u64 bytes);
// "4 bytes past the end of a 1024-byte allocation at 0x7f...": seen from a lane of the warp.
std::string describe_address(const Warp& warp, const Op& op, int lane, u64 address);

std::string demangle(std::string_view name);

}  // namespace farcall::softgpu
