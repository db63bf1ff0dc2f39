// NVIDIA's two libraries, or softgpu in the driver's place, loaded once per worker. The driver is
// loaded first and by path, so that NVIDIA's runtime, which asks the loader for "libcuda.so.1",
// finds the very same one.
#pragma once

#include <string>

#include "base/status.h"
#include "server/driver_table.h"
#include "server/options.h"
#include "server/runtime_table.h"

namespace farcall::server {

class CudaLibraries {
 public:
  // Loads and initialises the driver. If that fails, problem() says what is missing and how to go
  // on, and nothing else may be used.
  explicit CudaLibraries(const CudaOptions& options);

  bool ok() const { return problem_.empty(); }
  const std::string& problem() const { return problem_; }
  int problem_result() const { return problem_result_; }  // CUresult

  // Loads libcudart for programs of this CUDA major version. Without one the session goes on: calls
  // of the runtime API get NOT_SUPPORTED, and runtime_problem() says why.
  void load_runtime(int major, const std::string& cudart_dir);

  const DriverTable& driver() const { return driver_; }
  const RuntimeTable& runtime() const { return runtime_; }
  int runtime_version() const { return runtime_version_; }  // 0: there is none
  const std::string& runtime_problem() const { return runtime_problem_; }
  bool is_softgpu() const { return softgpu_; }
  // The libnvidia-ml.so.1 that goes with the driver, for dlopen.
  std::string nvml_path() const;

 private:
  void load_driver(const CudaOptions& options);
  void fail(int result, std::string problem);

  DriverTable driver_;
  RuntimeTable runtime_;
  std::string problem_, runtime_problem_;
  int problem_result_ = 0;
  int runtime_version_ = 0;
  bool softgpu_ = false;
};

// Our client's stubs carry the same names as NVIDIA's libraries and may lie in LD_LIBRARY_PATH. A
// worker that loaded them would call itself; they all need libfarcall.so, which nothing else does.
bool loaded_our_stubs();

// Where softgpu's libcuda.so.1 lies, seen from the running program; empty: nowhere.
std::string find_softgpu();

}  // namespace farcall::server
