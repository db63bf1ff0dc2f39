// What cuImportExternalMemory makes: memory behind a descriptor, to be mapped as buffers.
#pragma once

#include <cstddef>

#include "softgpu/driver/driver.h"
#include "softgpu/driver/shared_file.h"

namespace farcall::softgpu {

struct ExternalMemory {
  SharedFile file;
  size_t bytes = 0;  // that the program says there are
};

// Region::flags of a buffer that cuMemFree unmaps.
constexpr unsigned kRegionOfExternalMemory = 1;

}  // namespace farcall::softgpu
