// The compute capability that a library of NVIDIA's gets to hear where the device's own would not
// do. Most libraries leave the choice of code to the driver, which takes PTX. libcublasLt has its
// kernels for 12.x as cubins in an archive of its own and picks among them by compute capability;
// for a device newer than itself it takes kernels that it has as PTX. So it is told of one. Who
// asks is known by the address that the call returns to.
#pragma once

#include "softgpu/driver/config.h"

namespace farcall::softgpu {

// 121 for 12.1. `caller`: an address in the code that asks; `sm`: what all others get to hear.
int sm_seen_by(const void* caller, int sm, const std::vector<LibraryView>& views);

}  // namespace farcall::softgpu
