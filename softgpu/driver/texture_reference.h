// Texture and surface references: .texref and .surfref variables of modules, to which the host
// binds what kernels read. Deprecated since CUDA 11 and gone from its language, but the driver API
// has them, and PTX of other compilers uses them. A kernel names one by the address of the
// variable.
#pragma once

#include <memory>

#include "softgpu/driver/texture.h"

namespace farcall::softgpu {

// What is bound to the variable at that address now; nullptr: nothing, or it is gone.
std::shared_ptr<const Texture> find_bound_texture(const Device& device, uint64_t variable);
std::shared_ptr<const Surface> find_bound_surface(const Device& device, uint64_t variable);

}  // namespace farcall::softgpu
