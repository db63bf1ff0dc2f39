// How long do typical kernels take on the interpreter, beside the same loops in plain C++ on one
// thread? Kernel and loop run in turns, so that both see the same machine; results are compared.
//   softgpu-bench [--workers N] [--rounds N] [--small] [kernel...]
// One JSON line per figure. `median` is of wall time with all workers, `best` the quickest round,
// `ratio` compares the best with the best of C++; `cpu_ratio` does so for processor time of all
// threads together, which other load on the machine disturbs least.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "softgpu/exec/bench_reference.h"
#include "softgpu/exec/handlers/handlers.h"
#include "softgpu/exec/test_device.h"

extern const char kernels_75[];

namespace farcall::softgpu {
namespace {

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Times {
  std::vector<double> wall, cpu;  // seconds, one per round
  void measure(const std::function<void()>& work) {
    const double wall_start = seconds(CLOCK_MONOTONIC);
    const double cpu_start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    work();
    cpu.push_back(seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start);
    wall.push_back(seconds(CLOCK_MONOTONIC) - wall_start);
  }
};
double best(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}
double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}
double spread(const std::vector<double>& values) {  // standard deviation over mean
  double mean = 0, squares = 0;
  for (double v : values) mean += v / static_cast<double>(values.size());
  for (double v : values) squares += (v - mean) * (v - mean) / static_cast<double>(values.size());
  return std::sqrt(squares) / mean;
}

struct Bench {
  TestDevice device;
  std::unique_ptr<Program> program;
  unsigned workers;
  int rounds = 7;
  std::vector<std::string> only;

  explicit Bench(unsigned workers_)
      : device(workers_), program(device.load(kernels_75)), workers(workers_) {}

  // Module loaded, kernel not yet seen: what the first launch pays.
  double decode_seconds(const char* kernel) {
    Times times;
    for (int i = 0; i < 5; ++i) {
      auto fresh = device.load(kernels_75);
      LoadError error{};
      times.measure([&] { fresh->kernel(kernel, &error); });
    }
    return median(times.wall);
  }

  // `check` says whether the kernel's results agree with those of `reference`.
  void run(const char* kernel, const char* size, Dim3 grid, Dim3 block, const Params& params,
           uint32_t shared, const std::function<void()>& reference,
           const std::function<bool()>& check) {
    if (!only.empty() && std::find(only.begin(), only.end(), kernel) == only.end()) return;
    const double decode = decode_seconds(kernel);
    Times kernel_times, reference_times;
    double total = 0;
    for (int i = 0; i <= rounds && (i < 3 || total < 10); ++i) {
      if (i == 1) kernel_times = reference_times = {};  // the first round warms up
      kernel_times.measure([&] { device.launch(*program, kernel, grid, block, params, shared); });
      reference_times.measure(reference);
      total += kernel_times.wall.back() + reference_times.wall.back();
    }
    if (!check()) {
      std::fprintf(stderr, "softgpu-bench: wrong results of %s\n", kernel);
      std::exit(1);
    }
    std::printf(
        "{\"benchmark\":\"%s %s\",\"isa\":\"%s\",\"workers\":%u,\"n\":%zu,\"median\":%.3f,"
        "\"best\":%.3f,\"unit\":\"ms\",\"spread\":%.3f,\"cpp_median\":%.3f,\"cpp_best\":%.3f,"
        "\"ratio\":%.2f,\"cpu_ratio\":%.2f,\"decode_ms\":%.3f}\n",
        kernel, size, handlers().name, workers, kernel_times.wall.size(),
        1e3 * median(kernel_times.wall), 1e3 * best(kernel_times.wall), spread(kernel_times.wall),
        1e3 * median(reference_times.wall), 1e3 * best(reference_times.wall),
        best(kernel_times.wall) / best(reference_times.wall),
        best(kernel_times.cpu) / best(reference_times.cpu), 1e3 * decode);
    std::fflush(stdout);
  }

  std::span<float> fill(size_t n) {
    auto values = device.array<float>(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 1000) / 1000;
    return values;
  }
};

bool near(std::span<const float> found, const std::vector<float>& expected, float tolerance) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(found[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i]))))
      return false;
  }
  return true;
}

void streams(Bench& bench, int n, const char* size) {
  const auto blocks = static_cast<uint32_t>(n / 256);
  auto a = bench.fill(static_cast<size_t>(n)), b = bench.fill(static_cast<size_t>(n)),
       c = bench.fill(static_cast<size_t>(n));
  std::vector<float> expected(static_cast<size_t>(n));
  double total = 0, exact = 0;
  for (float v : a) exact += v;
  bench.run(
      "vector_add", size, {blocks}, {256}, Params(a.data(), b.data(), c.data(), n), 0,
      [&] { reference::vector_add(a.data(), b.data(), expected.data(), n); },
      [&] { return near(c, expected, 0); });
  const auto sums_to = [&](uint32_t parts) {
    double sum = 0;
    for (uint32_t i = 0; i < parts; ++i) sum += c[i];
    return std::abs(total - exact) <= 1e-9 * exact && std::abs(sum - exact) <= 1e-5 * exact;
  };
  bench.run(
      "reduce_shuffle", size, {1024}, {256}, Params(a.data(), c.data(), n), 0,
      [&] { total = reference::sum(a.data(), n); }, [&] { return sums_to(1024); });
  bench.run(
      "reduce_barrier", size, {blocks}, {256}, Params(a.data(), c.data()), 1024,
      [&] { total = reference::sum(a.data(), n); }, [&] { return sums_to(blocks); });
  // Every run adds to the counts of those before, on both sides.
  auto counts = bench.device.array<unsigned>(256);
  std::vector<unsigned> expected_counts(256);
  const auto* bytes = reinterpret_cast<const unsigned char*>(a.data());
  bench.run(
      "histogram", size, {256}, {256}, Params(a.data(), counts.data(), n), 0,
      [&] { reference::histogram(bytes, expected_counts.data(), n); },
      [&] { return std::equal(expected_counts.begin(), expected_counts.end(), counts.begin()); });
}

void arithmetic(Bench& bench, bool small) {
  const int n = small ? 1 << 14 : 1 << 20, bodies = small ? 512 : 4096;
  const uint32_t side = small ? 128 : 512;
  const size_t values = std::max<size_t>({static_cast<size_t>(n), size_t{side} * side});
  auto a = bench.fill(values), b = bench.fill(values), c = bench.fill(values);
  std::vector<float> expected(static_cast<size_t>(n));
  bench.run(
      "divergent", small ? "16K" : "1M", {static_cast<uint32_t>(n) / 256}, {256},
      Params(a.data(), c.data(), n), 0, [&] { reference::divergent(a.data(), expected.data(), n); },
      [&] { return near(c, expected, 1e-4f); });
  expected.resize(static_cast<size_t>(bodies) * 4);
  bench.run(
      "nbody", small ? "512" : "4096", {static_cast<uint32_t>(bodies) / 256}, {256},
      Params(a.data(), c.data(), bodies), 0,
      [&] { reference::nbody(a.data(), expected.data(), bodies); },
      [&] { return near(c, expected, 1e-3f); });
  expected.resize(size_t{side} * side);
  for (const auto& [kernel, tile] :
       {std::pair{"matmul_naive", 16u}, {"matmul16", 16u}, {"matmul32", 32u}}) {
    bench.run(
        kernel, small ? "128" : "512", {side / tile, side / tile}, {tile, tile},
        Params(a.data(), b.data(), c.data(), int(side)), 0,
        [&] { reference::matmul(a.data(), b.data(), expected.data(), int(side)); },
        [&] { return near(c, expected, 1e-4f); });
  }
}

}  // namespace
}  // namespace farcall::softgpu

int main(int argc, char** argv) {
  using namespace farcall::softgpu;
  unsigned workers = 2;
  int rounds = 7;
  bool small = false;
  std::vector<std::string> only;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--workers" && i + 1 < argc)
      workers = static_cast<unsigned>(std::atoi(argv[++i]));
    else if (argument == "--rounds" && i + 1 < argc)
      rounds = std::max(1, std::atoi(argv[++i]));
    else if (argument == "--small")  // for tools that slow a program down
      small = true;
    else
      only.emplace_back(argument);
  }
  Bench bench(workers);
  bench.rounds = rounds;
  bench.only = only;
  streams(bench, small ? 1 << 18 : 16 << 20, small ? "256K" : "16M");
  arithmetic(bench, small);
}
