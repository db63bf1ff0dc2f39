// Which PTX registers can share a place. A compiler's PTX has a new register for almost every
// instruction; kept apart they would fill a processor's first-level cache many times over.
// Registers whose lives do not meet share a slot.
#pragma once

#include <cstdint>
#include <vector>

#include "softgpu/ptx/ast.h"

namespace farcall::softgpu {

struct RegisterPlan {
  // By PTX register: number of its place among those of its width; -1 for predicates and registers
  // never named.
  std::vector<int32_t> place;
  // How many places there are of 4, 8 and 16 bytes a lane.
  uint32_t count[3] = {};

  static int width_class(const ptx::Type& type) {
    return type.bytes() > 8 ? 2 : type.bytes() > 4 ? 1 : 0;
  }
};

// The function's body is parsed. Registers marked in `apart` (empty: none) get no place here. The
// two sides of a mov share one if the source is not needed any more.
RegisterPlan plan_registers(const ptx::Function& function, const std::vector<bool>& apart = {});

}  // namespace farcall::softgpu
