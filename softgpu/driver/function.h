// Attributes of functions that launches and occupancy depend on.
#pragma once

#include "softgpu/driver/module.h"

namespace farcall::softgpu {

int max_threads(const Function& function);            // per block
size_t dynamic_shared_max(const Function& function);  // per block, as far as the program opted in

}  // namespace farcall::softgpu
