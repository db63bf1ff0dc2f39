// What a launch and an idle context cost on softgpu, through its driver API. Prints one JSON line
// per figure, as softgpu-bench does.
#define __CUDA_API_VERSION_INTERNAL  // plain names: no macro turns cuX into cuX_v2
#include <cuda.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

namespace {

constexpr const char* kNullKernel = R"(
.version 7.0
.target sm_52
.address_size 64
.visible .entry null_kernel(.param .u64 a, .param .u64 b, .param .u32 n)
{
  ret;
}
)";

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  std::fprintf(stderr, "softgpu-driver-bench: %s failed with error %d\n", what, int(result));
  std::exit(1);
}

// Of the medians of several stretches: a stretch is short enough to run undisturbed now and then.
void report(const char* name, int stretches, int calls, const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> medians;
  for (int s = 0; s <= stretches; ++s) {
    std::vector<double> times;
    for (int i = 0; i < calls; ++i) {
      const auto start = Clock::now();
      call();
      times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    }
    std::nth_element(times.begin(), times.begin() + calls / 2, times.end());
    if (s > 0) medians.push_back(times[static_cast<size_t>(calls) / 2]);  // the first warms up
  }
  std::sort(medians.begin(), medians.end());
  const double mean = [&] {
    double sum = 0;
    for (double m : medians) sum += m;
    return sum / stretches;
  }();
  double squares = 0;
  for (double m : medians) squares += (m - mean) * (m - mean) / stretches;
  std::printf(
      "{\"benchmark\":\"%s\",\"n\":%d,\"median\":%.2f,\"best\":%.2f,\"unit\":\"us\","
      "\"spread\":%.3f}\n",
      name, stretches * calls, medians[medians.size() / 2], medians.front(),
      std::sqrt(squares) / mean);
  std::fflush(stdout);
}

// Of this process, in bytes.
double resident() {
  long pages = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*s %ld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return double(pages) * 4096;
}

}  // namespace

int main() {
  check(cuInit(0), "cuInit");
  CUdevice device = 0;
  check(cuDeviceGet(&device, 0), "cuDeviceGet");
  CUcontext context = nullptr;
  check(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
  CUmodule module = nullptr;
  check(cuModuleLoadData(&module, kNullKernel), "cuModuleLoadData");
  CUfunction kernel = nullptr;
  check(cuModuleGetFunction(&kernel, module, "null_kernel"), "cuModuleGetFunction");

  uint64_t a = 1, b = 2;
  uint32_t n = 3;
  void* params[] = {&a, &b, &n};
  auto launch = [&] {
    check(cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, params, nullptr), "cuLaunchKernel");
  };
  report("null kernel, launch and cuCtxSynchronize", 9, 2000, [&] {
    launch();
    check(cuCtxSynchronize(), "cuCtxSynchronize");
  });
  report("null kernel, launch and cuStreamSynchronize", 9, 2000, [&] {
    launch();
    check(cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  });
  report("100 null kernels, then cuCtxSynchronize", 9, 50, [&] {
    for (int i = 0; i < 100; ++i) launch();
    check(cuCtxSynchronize(), "cuCtxSynchronize");
  });

  // Contexts with a module, a stream and a kernel that has run, as an idle program holds them.
  constexpr int kContexts = 16;
  const double before = resident();
  for (int i = 0; i < kContexts; ++i) {
    CUcontext idle = nullptr;
    check(cuCtxCreate_v2(&idle, 0, device), "cuCtxCreate");
    CUstream stream = nullptr;
    check(cuStreamCreate(&stream, 0), "cuStreamCreate");
    check(cuModuleLoadData(&module, kNullKernel), "cuModuleLoadData");
    check(cuModuleGetFunction(&kernel, module, "null_kernel"), "cuModuleGetFunction");
    check(cuLaunchKernel(kernel, 64, 1, 1, 256, 1, 1, 0, stream, params, nullptr),
          "cuLaunchKernel");
    check(cuCtxSynchronize(), "cuCtxSynchronize");
  }
  std::printf(
      "{\"benchmark\":\"memory of an idle context\",\"n\":%d,\"median\":%.2f,\"unit\":\"MiB\"}\n",
      kContexts, (resident() - before) / kContexts / (1 << 20));
  std::printf(
      "{\"benchmark\":\"memory of the process\",\"n\":1,\"median\":%.2f,\"unit\":\"MiB\"}\n",
      before / (1 << 20));
  return 0;
}
