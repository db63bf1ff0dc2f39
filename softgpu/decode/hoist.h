// Which instructions need not run once per warp and block: their operands are parameters,
// constants, %ctaid, %tid and what was computed from these. Compilers leave them wherever the
// source had them, mostly at a kernel's start, where they cost as much as the work of a short
// kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "softgpu/ptx/ast.h"

namespace farcall::softgpu {

// For how long the result of an instruction stays the same.
enum class Lasting : uint8_t {
  kNot,    // computed where it stands
  kWarp,   // differs between lanes, but not between blocks: %tid
  kBlock,  // one value for a block: %ctaid
  kGrid,   // one value for a grid: parameters, %ntid
};

struct HoistPlan {
  std::vector<Lasting> instructions;  // by index into the body
  std::vector<bool> registers;        // written by one of them
};

// The function's body is parsed; it is a kernel.
HoistPlan plan_hoisting(const ptx::Function& kernel);

}  // namespace farcall::softgpu
