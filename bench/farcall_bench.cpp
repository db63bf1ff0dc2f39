// farcall-bench: what the calls of the driver API cost a program, whichever libcuda.so.1 it meets:
// NVIDIA's (native), ours
// (`farcall run -- farcall-bench`) or softgpu's (`farcall run --softgpu -- farcall-bench`). Compare
// runs on one machine.
//
// Google Benchmark does the timing and takes its usual options (--benchmark_filter,
// --benchmark_format=json,
// --benchmark_repetitions, ...). The library is found by name at run time, so that the program
// itself needs none.
#define __CUDA_API_VERSION_INTERNAL  // plain names: no macro turns cuX into cuX_v2
#include <benchmark/benchmark.h>
#include <cuda.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr const char* kNullKernel = R"(
.version 7.0
.target sm_52
.address_size 64
.visible .entry null_kernel(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n, .param .f32 x, .param .u32 m)
{
  ret;
}
)";

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  std::fprintf(stderr,
               "farcall-bench: %s failed with error %d; is there a device? (farcall doctor)\n",
               what, int(result));
  std::exit(1);
}

// The part of the driver API that is measured.
struct Driver {
  void* library = nullptr;
#define FARCALL_BENCH_FUNCTIONS(X)                                                                 \
  X(cuInit)                                                                                        \
  X(cuDeviceGet)                                                                                   \
  X(cuDeviceGetName)                                                                               \
  X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuCtxSynchronize) X(cuModuleLoadData)           \
      X(cuModuleGetFunction) X(cuLaunchKernel) X(cuMemGetInfo_v2) X(cuMemAlloc_v2) X(cuMemFree_v2) \
          X(cuMemHostAlloc) X(cuMemFreeHost) X(cuMemcpyHtoD_v2) X(cuMemcpyDtoH_v2)                 \
              X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoHAsync_v2) X(cuEventCreate)                     \
                  X(cuEventDestroy_v2) X(cuEventRecord) X(cuEventQuery) X(cuStreamCreate)          \
                      X(cuStreamDestroy_v2) X(cuStreamSynchronize)
#define FARCALL_BENCH_MEMBER(name) decltype(&::name) name = nullptr;
  FARCALL_BENCH_FUNCTIONS(FARCALL_BENCH_MEMBER)
#undef FARCALL_BENCH_MEMBER

  void open() {
    library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
      std::fprintf(
          stderr,
          "farcall-bench: no libcuda.so.1: %s\nRun it with `farcall run -- farcall-bench`.\n",
          ::dlerror());
      std::exit(1);
    }
#define FARCALL_BENCH_LOAD(name) name = reinterpret_cast<decltype(name)>(symbol(#name));
    FARCALL_BENCH_FUNCTIONS(FARCALL_BENCH_LOAD)
#undef FARCALL_BENCH_LOAD
  }

 private:
  void* symbol(const char* name) const {
    void* found = ::dlsym(library, name);
    if (found == nullptr) {
      std::fprintf(stderr, "farcall-bench: this libcuda.so.1 lacks %s\n", name);
      std::exit(1);
    }
    return found;
  }
};

Driver cu;
CUfunction null_kernel = nullptr;

void launch() {
  uint64_t a = 1, b = 2, c = 3;
  uint32_t n = 4, m = 5;
  float x = 6;
  void* params[] = {&a, &b, &c, &n, &x, &m};
  benchmark::DoNotOptimize(
      cu.cuLaunchKernel(null_kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, params, nullptr));
}

// --- Calls

// A launch as an eager program issues it; the wait that keeps the queue bounded is not counted.
void async_launch(benchmark::State& state) {
  int since_wait = 0;
  for (auto _ : state) {
    launch();
    if (++since_wait == 1000) {
      state.PauseTiming();
      cu.cuCtxSynchronize();
      since_wait = 0;
      state.ResumeTiming();
    }
  }
  cu.cuCtxSynchronize();
}
BENCHMARK(async_launch);

void launch_rate(benchmark::State& state) {
  for (auto _ : state) {
    for (int i = 0; i < 10000; ++i) launch();
    cu.cuCtxSynchronize();
  }
  state.SetItemsProcessed(state.iterations() * 10000);
}
BENCHMARK(launch_rate)->UseRealTime();

void event_record(benchmark::State& state) {
  CUevent event = nullptr;
  check(cu.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  for (auto _ : state) benchmark::DoNotOptimize(cu.cuEventRecord(event, nullptr));
  cu.cuCtxSynchronize();
  cu.cuEventDestroy_v2(event);
}
BENCHMARK(event_record);

// A call whose answer only the server knows: one round trip.
void waiting_call(benchmark::State& state) {
  size_t free = 0, total = 0;
  for (auto _ : state) benchmark::DoNotOptimize(cu.cuMemGetInfo_v2(&free, &total));
}
BENCHMARK(waiting_call)->UseRealTime();

void launch_and_synchronize(benchmark::State& state) {
  for (auto _ : state) {
    launch();
    cu.cuCtxSynchronize();
  }
}
BENCHMARK(launch_and_synchronize)->UseRealTime();

void malloc_and_free(benchmark::State& state) {
  for (auto _ : state) {
    CUdeviceptr memory = 0;
    cu.cuMemAlloc_v2(&memory, 1 << 20);
    cu.cuMemFree_v2(memory);
  }
}
BENCHMARK(malloc_and_free)->UseRealTime();

void stream_create_and_destroy(benchmark::State& state) {
  for (auto _ : state) {
    CUstream stream = nullptr;
    cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
    cu.cuStreamDestroy_v2(stream);
  }
  cu.cuCtxSynchronize();
}
BENCHMARK(stream_create_and_destroy)->UseRealTime();

// --- Bandwidth: range(0) bytes

class Buffers {
 public:
  Buffers(size_t bytes, bool pinned) : pinned_(pinned) {
    check(cu.cuMemAlloc_v2(&device, bytes), "cuMemAlloc");
    if (pinned) {
      check(cu.cuMemHostAlloc(&host, bytes, 0), "cuMemHostAlloc");
    } else {
      pageable_.resize(bytes, 1);
      host = pageable_.data();
    }
  }
  ~Buffers() {
    cu.cuMemFree_v2(device);
    if (pinned_) cu.cuMemFreeHost(host);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  CUdeviceptr device = 0;
  void* host = nullptr;

 private:
  bool pinned_;
  std::vector<char> pageable_;
};

void host_to_device(benchmark::State& state) {
  const auto bytes = size_t(state.range(0));
  Buffers buffers(bytes, false);
  for (auto _ : state) {
    cu.cuMemcpyHtoD_v2(buffers.device, buffers.host, bytes);
    cu.cuCtxSynchronize();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(host_to_device)->RangeMultiplier(16)->Range(4 << 10, 64 << 20)->UseRealTime();

void device_to_host(benchmark::State& state) {
  const auto bytes = size_t(state.range(0));
  Buffers buffers(bytes, false);
  for (auto _ : state) cu.cuMemcpyDtoH_v2(buffers.host, buffers.device, bytes);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(device_to_host)->RangeMultiplier(16)->Range(4 << 10, 64 << 20)->UseRealTime();

void device_to_host_pinned_async(benchmark::State& state) {
  const auto bytes = size_t(state.range(0));
  Buffers buffers(bytes, true);
  for (auto _ : state) {
    cu.cuMemcpyDtoHAsync_v2(buffers.host, buffers.device, bytes, nullptr);
    cu.cuStreamSynchronize(nullptr);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(device_to_host_pinned_async)
    ->RangeMultiplier(16)
    ->Range(4 << 10, 64 << 20)
    ->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;

  cu.open();
  check(cu.cuInit(0), "cuInit");
  CUdevice device = 0;
  check(cu.cuDeviceGet(&device, 0), "cuDeviceGet");
  char name[256] = {};
  check(cu.cuDeviceGetName(name, sizeof name, device), "cuDeviceGetName");
  CUcontext context = nullptr;
  check(cu.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  check(cu.cuCtxSetCurrent(context), "cuCtxSetCurrent");
  CUmodule module = nullptr;
  check(cu.cuModuleLoadData(&module, kNullKernel), "cuModuleLoadData");
  check(cu.cuModuleGetFunction(&null_kernel, module, "null_kernel"), "cuModuleGetFunction");

  benchmark::AddCustomContext("device", name);
  const char* server = std::getenv("FARCALL_SERVER");
  benchmark::AddCustomContext("server", server != nullptr ? server : "none (local)");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
