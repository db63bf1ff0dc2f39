#include "server/cuda_libraries.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/log.h"

namespace farcall::server {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDriverName = "libcuda.so.1";
// What softgpu's driver exports besides CUDA's own names.
constexpr const char* kSoftgpuMark = "farcallSoftgpuVersion";

std::string runtime_name(int major) {
  // Until CUDA 11 the name had the minor version in it.
  return major == 11 ? "libcudart.so.11.0" : "libcudart.so." + std::to_string(major);
}

std::vector<std::string> runtime_candidates(int major, const std::string& cudart_dir) {
  const std::string name = runtime_name(major);
  if (!cudart_dir.empty()) return {cudart_dir + "/" + name};
  std::vector<std::string> candidates;
  const char* home = std::getenv("CUDA_HOME");
  for (const std::string& root :
       {std::string(home != nullptr ? home : ""), std::string("/usr/local/cuda")}) {
    if (root.empty()) continue;
    candidates.push_back(root + "/lib64/" + name);
    candidates.push_back(root + "/lib/" + name);
  }
  candidates.push_back(std::string(FARCALL_CUDA_LIB_DIR) + "/" + name);
  candidates.push_back(name);
  return candidates;
}

}  // namespace

bool loaded_our_stubs() {
  void* handle = ::dlopen("libfarcall.so", RTLD_LAZY | RTLD_NOLOAD);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

std::string find_softgpu() {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* place : {"../lib/softgpu", "../lib/farcall/softgpu", "../lib64/farcall/softgpu",
                            "../" FARCALL_INSTALL_LIBDIR "/farcall/softgpu"}) {
    const fs::path path = bin / place / kDriverName;
    if (fs::exists(path, error)) return fs::weakly_canonical(path, error).string();
  }
  return {};
}

CudaLibraries::CudaLibraries(const CudaOptions& options) { load_driver(options); }

void CudaLibraries::load_driver(const CudaOptions& options) {
  std::string path = kDriverName;
  if (options.softgpu) {
    path = find_softgpu();
    if (path.empty()) {
      return fail(CUDA_ERROR_STUB_LIBRARY,
                  "the software device's libcuda.so.1 is not installed beside this program "
                  "(../lib/softgpu)");
    }
  } else if (!options.driver.empty()) {
    path = options.driver;
  }

  // RTLD_GLOBAL: some of NVIDIA's libraries look for the driver's symbols without loading it.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* why = ::dlerror();
    return fail(
        CUDA_ERROR_NO_DEVICE,
        fmt::format("no CUDA driver: {}. Install NVIDIA's driver, name its libcuda.so.1 with "
                    "--driver PATH, or serve the software device with --softgpu",
                    why));
  }
  if (loaded_our_stubs()) {
    return fail(CUDA_ERROR_STUB_LIBRARY,
                fmt::format("{} is Farcall's own client library, found through LD_LIBRARY_PATH or "
                            "the loader's cache; name the real driver with --driver PATH, or use "
                            "--softgpu",
                            path));
  }
  load_table(driver_, library);
  softgpu_ = ::dlsym(library, kSoftgpuMark) != nullptr;
  if (driver_.cuInit == nullptr || driver_.cuCtxSetCurrent == nullptr ||
      driver_.cuCtxGetCurrent == nullptr || driver_.cuDriverGetVersion == nullptr ||
      driver_.cuDevicePrimaryCtxRetain == nullptr || driver_.cuDeviceGetCount == nullptr) {
    return fail(CUDA_ERROR_STUB_LIBRARY,
                path + " is not a CUDA driver: it lacks cuInit and others");
  }
  if (const CUresult result = driver_.cuInit(0)) {
    const char* name = nullptr;
    const char* text = nullptr;
    if (driver_.cuGetErrorName != nullptr) driver_.cuGetErrorName(result, &name);
    if (driver_.cuGetErrorString != nullptr) driver_.cuGetErrorString(result, &text);
    return fail(
        result,
        fmt::format("the CUDA driver does not start: cuInit gave {} ({}). Check nvidia-smi, "
                    "or serve the software device with --softgpu",
                    name != nullptr ? name : std::to_string(int(result)),
                    text != nullptr ? text : "no description"));
  }
}

void CudaLibraries::load_runtime(int major, const std::string& cudart_dir) {
  std::string tried;
  for (const std::string& candidate : runtime_candidates(major, cudart_dir)) {
    void* library = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      tried += (tried.empty() ? "" : ", ") + candidate;
      continue;
    }
    if (loaded_our_stubs()) {
      runtime_problem_ = candidate +
                         " on the server is Farcall's own client library; name the "
                         "folder of NVIDIA's with --cudart-dir";
      return log::warning("{}", runtime_problem_);
    }
    load_table(runtime_, library);
    if (runtime_.cudaRuntimeGetVersion == nullptr ||
        runtime_.cudaRuntimeGetVersion(&runtime_version_) != cudaSuccess) {
      runtime_ = {};
      runtime_version_ = 0;
      runtime_problem_ = candidate + " on the server is not a CUDA runtime";
      return log::warning("{}", runtime_problem_);
    }
    return;
  }
  runtime_problem_ = fmt::format(
      "the server has no {} (tried {}); install the CUDA {} runtime there, or name its folder with "
      "gpu-server --cudart-dir",
      runtime_name(major), tried, major);
  log::warning("{}", runtime_problem_);
}

std::string CudaLibraries::nvml_path() const {
  constexpr const char* kName = "libnvidia-ml.so.1";
  return softgpu_ ? fs::path(find_softgpu()).replace_filename(kName).string() : kName;
}

void CudaLibraries::fail(int result, std::string problem) {
  problem_result_ = result;
  problem_ = std::move(problem);
}

}  // namespace farcall::server
