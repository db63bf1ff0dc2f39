// Launches as before CUDA 4: a function holds its block shape, its shared memory and its
// parameters, set call after call, until a launch takes them. All of it stays in the client, and
// the launch is an ordinary one.
#include <cuda.h>

#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "client/driver_bodies.h"
#include "client/launch.h"
#include "client/stub.h"
#include "client/stub_args.h"

namespace farcall::client::driver {
namespace {

using rpc::HandleId;

constexpr size_t kParamBytesMax = 32764;  // of a kernel

struct Setup {
  uint32_t block[3] = {1, 1, 1};
  uint32_t shared_bytes = 0;
  std::vector<std::byte> params;
};

struct Setups {
  std::mutex mutex;
  std::unordered_map<HandleId, Setup> by_function;  // guarded by mutex

  Setup& of(HandleId function) {
    const auto known = by_function.find(function);
    if (known != by_function.end()) return known->second;
    // Functions whose modules have gone meanwhile.
    std::erase_if(by_function,
                  [](const auto& entry) { return find_kernel(entry.first) == nullptr; });
    return by_function[function];
  }
};
Setups& setups() {
  static Setups* const instance = new Setups;  // leaked: see program.h
  return *instance;
}

template <class Change>
int change(CUfunction function, Change change_setup) {
  if (find_kernel(id_of(function)) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const std::lock_guard lock(setups().mutex);
  return change_setup(setups().of(id_of(function)));
}

int set_param(CUfunction function, int offset, const void* value, size_t bytes) {
  return change(function, [&](Setup& setup) -> int {
    if (offset < 0 || value == nullptr || bytes > kParamBytesMax ||
        size_t(offset) > kParamBytesMax - bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const size_t end = size_t(offset) + bytes;
    if (setup.params.size() < end) setup.params.resize(end);
    if (bytes > 0) std::memcpy(setup.params.data() + offset, value, bytes);
    return CUDA_SUCCESS;
  });
}

int launch_set_up(Session& session, CUfunction function, int width, int height, HandleId stream) {
  if (width < 1 || height < 1) return CUDA_ERROR_INVALID_VALUE;
  const Kernel* kernel = find_kernel(id_of(function));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (thread_state().lane.context == 0) return CUDA_ERROR_INVALID_CONTEXT;
  Setup setup;
  {
    const std::lock_guard lock(setups().mutex);
    setup = setups().of(kernel->id);
  }
  LaunchConfig config;
  config = {{uint32_t(width), uint32_t(height), 1},
            {setup.block[0], setup.block[1], setup.block[2]},
            setup.shared_bytes,
            stream};
  size_t bytes = setup.params.size();
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, setup.params.data(), CU_LAUNCH_PARAM_BUFFER_SIZE,
                   &bytes, CU_LAUNCH_PARAM_END};
  return launch(session, *kernel, config, nullptr, extra);
}

}  // namespace

int cuFuncSetBlockShape(Session&, CUfunction hfunc, int x, int y, int z) {
  return change(hfunc, [&](Setup& setup) -> int {
    if (x < 1 || y < 1 || z < 1) return CUDA_ERROR_INVALID_VALUE;
    setup.block[0] = uint32_t(x);
    setup.block[1] = uint32_t(y);
    setup.block[2] = uint32_t(z);
    return CUDA_SUCCESS;
  });
}

int cuFuncSetSharedSize(Session&, CUfunction hfunc, unsigned int bytes) {
  return change(hfunc, [&](Setup& setup) {
    setup.shared_bytes = bytes;
    return CUDA_SUCCESS;
  });
}

int cuParamSetSize(Session&, CUfunction hfunc, unsigned int numbytes) {
  return change(hfunc, [&](Setup& setup) -> int {
    if (numbytes > kParamBytesMax) return CUDA_ERROR_INVALID_VALUE;
    setup.params.resize(numbytes);
    return CUDA_SUCCESS;
  });
}

int cuParamSeti(Session&, CUfunction hfunc, int offset, unsigned int value) {
  return set_param(hfunc, offset, &value, sizeof(value));
}
int cuParamSetf(Session&, CUfunction hfunc, int offset, float value) {
  return set_param(hfunc, offset, &value, sizeof(value));
}
int cuParamSetv(Session&, CUfunction hfunc, int offset, void* ptr, unsigned int numbytes) {
  return set_param(hfunc, offset, ptr, numbytes);
}

// A kernel sees the texture references of its module without being told of them.
int cuParamSetTexRef(Session& session, CUfunction hfunc, int texunit, CUtexref hTexRef) {
  if (find_kernel(id_of(hfunc)) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (texunit != CU_PARAM_TR_DEFAULT || hTexRef == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return usable(session, id_of(hTexRef), rpc::HandleType::kTextureReference)
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_HANDLE;
}

int cuLaunch(Session& session, CUfunction f) { return launch_set_up(session, f, 1, 1, 0); }

int cuLaunchGrid(Session& session, CUfunction f, int grid_width, int grid_height) {
  return launch_set_up(session, f, grid_width, grid_height, 0);
}

int cuLaunchGridAsync(Session& session, CUfunction f, int grid_width, int grid_height,
                      CUstream hStream) {
  return launch_set_up(session, f, grid_width, grid_height, stream_id(session, hStream, false));
}

}  // namespace farcall::client::driver
