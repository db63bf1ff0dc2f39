// CUDA_MODULE_LOADING, which the driver and not the runtime reads: NVIDIA's runtime loads fatbins
// when first used (LAZY, the default) or all at start (EAGER), solely by what
// cuModuleGetLoadingMode answers.
#pragma once

#include <cuda.h>

namespace farcall::driverabi {

CUmoduleLoadingMode parse_loading_mode(const char* value);  // nullptr and unknown values: lazy
CUmoduleLoadingMode loading_mode();                         // from the environment, read once

}  // namespace farcall::driverabi
