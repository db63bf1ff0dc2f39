// Kernel launches of the driver API; see client/launch.h.
#include <cuda.h>

#include "client/driver_bodies.h"
#include "client/host_functions.h"
#include "client/launch.h"
#include "client/stub.h"

namespace farcall::client::driver {
namespace {

int launch_by_handle(Session& session, CUfunction f, const LaunchConfig& config, void** params,
                     void** extra) {
  const Kernel* kernel = find_kernel(id_of(f));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (thread_state().lane.context == 0) return CUDA_ERROR_INVALID_CONTEXT;
  return launch(session, *kernel, config, params, extra);
}

}  // namespace

int cuLaunchKernel(Session& session, CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                   unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                   unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                   void** kernelParams, void** extra, bool per_thread_default) {
  LaunchConfig config;
  config = {{gridDimX, gridDimY, gridDimZ},
            {blockDimX, blockDimY, blockDimZ},
            sharedMemBytes,
            stream_id(session, hStream, per_thread_default)};
  return launch_by_handle(session, f, config, kernelParams, extra);
}

int cuLaunchCooperativeKernel(Session& session, CUfunction f, unsigned int gridDimX,
                              unsigned int gridDimY, unsigned int gridDimZ, unsigned int blockDimX,
                              unsigned int blockDimY, unsigned int blockDimZ,
                              unsigned int sharedMemBytes, CUstream hStream, void** kernelParams,
                              bool per_thread_default) {
  LaunchConfig config;
  config = {{gridDimX, gridDimY, gridDimZ},
            {blockDimX, blockDimY, blockDimZ},
            sharedMemBytes,
            stream_id(session, hStream, per_thread_default),
            /*cooperative=*/true};
  return launch_by_handle(session, f, config, kernelParams, nullptr);
}

int cuLaunchKernelEx(Session& session, const CUlaunchConfig* config, CUfunction f,
                     void** kernelParams, void** extra, bool per_thread_default) {
  if (config == nullptr || (config->numAttrs > 0 && config->attrs == nullptr))
    return CUDA_ERROR_INVALID_VALUE;
  LaunchConfig ours;
  ours = {{config->gridDimX, config->gridDimY, config->gridDimZ},
          {config->blockDimX, config->blockDimY, config->blockDimZ},
          config->sharedMemBytes,
          stream_id(session, config->hStream, per_thread_default),
          false,
          config->attrs,
          config->numAttrs};
  return launch_by_handle(session, f, ours, kernelParams, extra);
}

int cuLaunchHostFunc(Session& session, CUstream hStream, CUhostFn fn, void* userData,
                     bool per_thread_default) {
  return launch_host_function(session, stream_id(session, hStream, per_thread_default),
                              {.function = fn, .data = userData});
}

int cuStreamAddCallback(Session& session, CUstream hStream, CUstreamCallback callback,
                        void* userData, unsigned int flags, bool per_thread_default) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return launch_host_function(session, stream_id(session, hStream, per_thread_default),
                              {.callback = callback, .stream = hStream, .data = userData});
}

}  // namespace farcall::client::driver
