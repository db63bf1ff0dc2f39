// Kernel launches, checked and turned into work.
#pragma once

#include "softgpu/driver/driver.h"
#include "softgpu/driver/work.h"

namespace farcall::softgpu {

struct LaunchRequest {
  Dim3 grid, block;
  uint32_t dynamic_shared_bytes = 0;
  bool cooperative = false;
  void** params = nullptr;   // one pointer per parameter, or else
  void** extra = nullptr;    // CU_LAUNCH_PARAM_BUFFER_POINTER and _SIZE
  Dim3 cluster = {0, 0, 0};  // zeros: what the kernel says, or none
  // What dimensions give that no device has. Programs of the driver API get INVALID_VALUE, programs
  // of the runtime cudaErrorInvalidConfiguration; and the runtime, which always launches CUkernels,
  // only passes on what it is told.
  CUresult invalid_dimensions = CUDA_ERROR_INVALID_VALUE;
};

// Copies the parameters: the program's arrays are not needed afterwards.
CUresult make_kernel(const FunctionRef& function, const LaunchRequest& request, KernelWork* out);

// The attributes of cuLaunchKernelEx and of graph nodes. NOT_SUPPORTED: one that changes what the
// kernel sees; clusters, where `cluster` is nullptr.
CUresult read_launch_attributes(const CUlaunchAttribute* attributes, unsigned count,
                                bool* cooperative, Dim3* cluster = nullptr);

// The blocks of a cluster of this launch; {1, 1, 1}: no clusters.
CUresult find_cluster(const Function& function, const LaunchRequest& request, Dim3* cluster);

}  // namespace farcall::softgpu
