// Histogram of 256 byte values: each block counts into its own bins with atomics in shared memory,
// then adds them to the global bins with one atomic each. Counted once more with global atomics
// alone, which must agree.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"

constexpr int kBins = 256;

__global__ void count_shared(const uint8_t* data, int count, unsigned* bins) {
  __shared__ unsigned block_bins[kBins];
  for (int bin = threadIdx.x; bin < kBins; bin += blockDim.x) block_bins[bin] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    atomicAdd(&block_bins[data[i]], 1u);
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin < kBins; bin += blockDim.x) {
    if (block_bins[bin] != 0) atomicAdd(&bins[bin], block_bins[bin]);
  }
}

__global__ void count_global(const uint8_t* data, int count, unsigned* bins) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    atomicAdd(&bins[data[i]], 1u);
  }
}

int main() {
  constexpr int kCount = 1 << 20;
  constexpr int kBlocks = 32, kThreads = 256;
  std::vector<uint8_t> data(kCount);
  unsigned random = 2024;
  for (uint8_t& value : data) {  // the sum of four: a bell, so that some bins are much contended
    unsigned sum = 0;
    for (int i = 0; i < 4; ++i) {
      random = random * 1664525u + 1013904223u;
      sum += random >> 26;
    }
    value = static_cast<uint8_t>(sum);
  }
  std::vector<unsigned> expected(kBins);
  for (uint8_t value : data) ++expected[value];

  uint8_t* device_data;
  unsigned* device_bins;
  CHECK(cudaMalloc(&device_data, kCount));
  CHECK(cudaMalloc(&device_bins, kBins * sizeof(unsigned)));
  CHECK(cudaMemcpy(device_data, data.data(), kCount, cudaMemcpyHostToDevice));

  bool good = true;
  std::vector<unsigned> bins(kBins);
  for (bool use_shared : {true, false}) {
    CHECK(cudaMemset(device_bins, 0, kBins * sizeof(unsigned)));
    if (use_shared) {
      count_shared<<<kBlocks, kThreads>>>(device_data, kCount, device_bins);
    } else {
      count_global<<<kBlocks, kThreads>>>(device_data, kCount, device_bins);
    }
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(bins.data(), device_bins, kBins * sizeof(unsigned), cudaMemcpyDeviceToHost));
    const bool same = std::memcmp(bins.data(), expected.data(), kBins * sizeof(unsigned)) == 0;
    std::printf("%s atomics: %s\n", use_shared ? "shared and global" : "global",
                same ? "same as the host" : "wrong");
    good = good && same;
  }
  for (int first = 0; first < kBins; first += 16) {
    unsigned row = 0;
    for (int bin = first; bin < first + 16; ++bin) row += bins[bin];
    std::printf("%3d..%3d %7u %.*s\n", first, first + 15, row, static_cast<int>(row / 4096),
                "################################################################");
  }
  std::printf("%s\n", good ? "PASSED" : "FAILED");

  CHECK(cudaFree(device_data));
  CHECK(cudaFree(device_bins));
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
