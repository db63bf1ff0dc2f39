// Launches as before CUDA 4: the function itself holds shape and parameters, set by call after
// call.
#include <cstring>
#include <map>
#include <mutex>

#include "softgpu/driver/context.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

constexpr size_t kParamBytesMax = 32764;  // of a kernel

struct Setup {
  unsigned block[3] = {1, 1, 1};
  unsigned shared_bytes = 0;
  std::vector<std::byte> params;
};
struct Setups {
  std::mutex mutex;
  std::map<CUfunction, Setup> by_function;  // guarded by mutex
};
Setups& setups() {
  static Setups& instance = *new Setups;
  return instance;
}

template <class Change>
CUresult change_setup(CUfunction handle, Change change) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  std::lock_guard lock(setups().mutex);
  return change(setups().by_function[handle]);
}

CUresult set_param(CUfunction handle, int offset, const void* value, size_t bytes) {
  return change_setup(handle, [&](Setup& setup) {
    if (offset < 0 || value == nullptr || bytes > kParamBytesMax ||
        static_cast<size_t>(offset) > kParamBytesMax - bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const size_t end = static_cast<size_t>(offset) + bytes;
    if (setup.params.size() < end) setup.params.resize(end);
    if (bytes != 0) std::memcpy(setup.params.data() + offset, value, bytes);
    return CUDA_SUCCESS;
  });
}

CUresult launch(CUfunction handle, int width, int height, CUstream stream) {
  if (width < 1 || height < 1) return CUDA_ERROR_INVALID_VALUE;
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  Setup setup;
  {
    std::lock_guard lock(setups().mutex);
    setup = setups().by_function[handle];
  }
  size_t bytes = setup.params.size();
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, setup.params.data(), CU_LAUNCH_PARAM_BUFFER_SIZE,
                   &bytes, CU_LAUNCH_PARAM_END};
  return api::cuLaunchKernel(handle, static_cast<unsigned>(width), static_cast<unsigned>(height), 1,
                             setup.block[0], setup.block[1], setup.block[2], setup.shared_bytes,
                             stream, nullptr, extra);
}

}  // namespace

CUresult api::cuFuncSetBlockShape(CUfunction handle, int x, int y, int z) {
  return change_setup(handle, [&](Setup& setup) {
    if (x < 1 || y < 1 || z < 1) return CUDA_ERROR_INVALID_VALUE;
    const int shape[] = {x, y, z};
    for (int i = 0; i < 3; ++i) setup.block[i] = static_cast<unsigned>(shape[i]);
    return CUDA_SUCCESS;
  });
}

CUresult api::cuFuncSetSharedSize(CUfunction handle, unsigned bytes) {
  return change_setup(handle, [&](Setup& setup) {
    setup.shared_bytes = bytes;
    return CUDA_SUCCESS;
  });
}

CUresult api::cuParamSetSize(CUfunction handle, unsigned bytes) {
  return change_setup(handle, [&](Setup& setup) {
    if (bytes > kParamBytesMax) return CUDA_ERROR_INVALID_VALUE;
    setup.params.resize(bytes);
    return CUDA_SUCCESS;
  });
}

CUresult api::cuParamSeti(CUfunction function, int offset, unsigned value) {
  return set_param(function, offset, &value, sizeof(value));
}
CUresult api::cuParamSetf(CUfunction function, int offset, float value) {
  return set_param(function, offset, &value, sizeof(value));
}
CUresult api::cuParamSetv(CUfunction function, int offset, void* value, unsigned bytes) {
  return set_param(function, offset, value, bytes);
}

// A kernel sees the texture references of its module without being told of them.
CUresult api::cuParamSetTexRef(CUfunction handle, int unit, CUtexref reference) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (unit != CU_PARAM_TR_DEFAULT || reference == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned flags = 0;  // whether it is one
  return api::cuTexRefGetFlags(&flags, reference);
}

CUresult api::cuLaunch(CUfunction function) { return launch(function, 1, 1, nullptr); }
CUresult api::cuLaunchGrid(CUfunction function, int width, int height) {
  return launch(function, width, height, nullptr);
}
CUresult api::cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream) {
  return launch(function, width, height, stream);
}

}  // namespace farcall::softgpu
