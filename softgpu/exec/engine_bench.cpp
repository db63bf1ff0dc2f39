// How long do typical kernels take on the interpreter? Prints one JSON line per kernel: best of
// several runs.
//   softgpu-bench [--workers N] [kernel...]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "softgpu/exec/handlers/handlers.h"
#include "softgpu/exec/test_device.h"

extern const char kernels_75[];

namespace farcall::softgpu {
namespace {

// Processor time of this thread: with one worker it does everything, and other load disturbs less.
double now() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double seconds(const std::function<void()>& work) {
  double best = 1e9, total = 0;
  for (int i = 0; i < 7 && total < 3; ++i) {
    const double start = now();
    work();
    const double elapsed = now() - start;
    best = std::min(best, elapsed);
    total += elapsed;
  }
  return best;
}

struct Bench {
  TestDevice device;
  std::unique_ptr<Program> program;
  unsigned workers;
  std::vector<std::string> only;

  explicit Bench(unsigned workers_)
      : device(workers_), program(device.load(kernels_75)), workers(workers_) {}

  void run(const char* kernel, const char* size, Dim3 grid, Dim3 block, const Params& params,
           uint32_t shared = 0) {
    if (!only.empty() && std::find(only.begin(), only.end(), kernel) == only.end()) return;
    LoadError error{};
    const double decode = seconds([&] {
      auto fresh = device.load(kernels_75);
      fresh->kernel(kernel, &error);
    });
    const double time =
        seconds([&] { device.launch(*program, kernel, grid, block, params, shared); });
    std::printf(
        "{\"bench\":\"softgpu\",\"kernel\":\"%s\",\"size\":\"%s\",\"isa\":\"%s\",\"workers\":%u,"
        "\"cpu_ms\":%.3f,\"load_ms\":%.3f}\n",
        kernel, size, handlers().name, workers, 1e3 * time, 1e3 * decode);
    std::fflush(stdout);
  }
};

}  // namespace
}  // namespace farcall::softgpu

int main(int argc, char** argv) {
  using namespace farcall::softgpu;
  unsigned workers = 1;
  std::vector<std::string> only;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--workers" && i + 1 < argc)
      workers = static_cast<unsigned>(std::atoi(argv[++i]));
    else
      only.emplace_back(argv[i]);
  }
  Bench bench(workers);
  bench.only = only;
  auto fill = [&](size_t n) {
    auto values = bench.device.array<float>(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 1000) / 1000;
    return values;
  };
  {
    const int n = 16 << 20;
    auto a = fill(n), b = fill(n), c = fill(n);
    bench.run("vector_add", "16M", {n / 256}, {256}, Params(a.data(), b.data(), c.data(), n));
    bench.run("reduce_shuffle", "16M", {1024}, {256}, Params(a.data(), c.data(), n));
    bench.run("reduce_barrier", "16M", {n / 256}, {256}, Params(a.data(), c.data()), 1024);
    bench.run("histogram", "16M", {256}, {256}, Params(a.data(), c.data(), n));
    bench.run("divergent", "1M", {(1 << 20) / 256}, {256}, Params(a.data(), c.data(), 1 << 20));
    bench.run("nbody", "4096", {16}, {256}, Params(a.data(), c.data(), 4096));
  }
  {
    const uint32_t n = 512;
    auto a = fill(n * n), b = fill(n * n), c = fill(n * n);
    bench.run("matmul_naive", "512", {n / 16, n / 16}, {16, 16},
              Params(a.data(), b.data(), c.data(), int{n}));
    bench.run("matmul16", "512", {n / 16, n / 16}, {16, 16},
              Params(a.data(), b.data(), c.data(), int{n}));
    bench.run("matmul32", "512", {n / 32, n / 32}, {32, 32},
              Params(a.data(), b.data(), c.data(), int{n}));
  }
  {
    auto p = fill(1024);
    bench.run("vector_add", "one block (latency of a launch)", {1}, {256},
              Params(p.data(), p.data(), p.data(), 256));
    auto data = bench.device.array<int>(16);
    bench.run("software_grid_barrier", "48 blocks, 10 rounds", {48}, {64},
              Params(&data[15], data.data(), 0));
  }
}
