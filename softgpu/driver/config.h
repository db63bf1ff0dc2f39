// What the environment says about the devices, read once when cuInit() is called.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

// What a library is told instead of `sm`; library_views.h says why.
struct LibraryView {
  std::string library;  // "libcublasLt": no folder, no ".so" and what follows
  int sm;
};

struct Config {
  int devices = 1;  // FARCALL_SOFTGPU_DEVICES, 0..16; 0: cuInit() finds none
  std::optional<std::string> visible_devices;  // CUDA_VISIBLE_DEVICES
  size_t memory_bytes =
      size_t{8} << 30;  // FARCALL_SOFTGPU_MEMORY, of each device; suffix K, M, G, T
  std::string name = "Farcall softgpu";  // FARCALL_SOFTGPU_NAME
  int sm = 121;                          // FARCALL_SOFTGPU_CC, "12.1"
  // FARCALL_SOFTGPU_CC_OF, "libcublasLt=13.0,libother=9.0"; empty: all libraries see `sm`. None by
  // default below 12.0, where libcublasLt has no PTX.
  std::vector<LibraryView> library_views = {{"libcublasLt", 130}};
  unsigned workers = 0;       // FARCALL_SOFTGPU_WORKERS: threads that run blocks; 0: one per core
  bool null_kernels = false;  // FARCALL_SOFTGPU_NULL_KERNELS=1: kernels do nothing, for benchmarks
  bool launch_blocking = false;  // CUDA_LAUNCH_BLOCKING=1
  // FARCALL_SOFTGPU_CHECK: memcheck, leakcheck, racecheck, initcheck, separated by commas.
  CheckTools check;
  bool check_leaks = false;
  double timeout_s = 0;  // FARCALL_SOFTGPU_TIMEOUT: seconds a kernel may run; 0: for ever
  int check_exit =
      0;  // FARCALL_SOFTGPU_CHECK_EXIT: the process's exit status if anything was found
};

// A value that makes no sense is logged and replaced by the default.
Config read_config(const char* (*get)(const char* name));
Config config_from_environment();

}  // namespace farcall::softgpu
