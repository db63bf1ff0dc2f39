// Sum and maximum of an array with warp shuffles: each warp folds its 32 values by halves through
// __shfl_down_sync, the warps of a block meet in shared memory, and a second, single-block launch
// folds the blocks' results. No atomics: the order of the additions, and so the result, is the same
// every time.
#include <algorithm>
#include <climits>
#include <cstdio>
#include <vector>

#include "check.h"

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Partial {
  long long sum;
  int max;
};

__device__ Partial combine(Partial a, Partial b) { return {a.sum + b.sum, max(a.max, b.max)}; }

__device__ Partial reduce_warp(Partial value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Partial other = {__shfl_down_sync(kAllLanes, value.sum, distance),
                           __shfl_down_sync(kAllLanes, value.max, distance)};
    value = combine(value, other);
  }
  return value;
}

// The block's result is valid in thread 0.
__device__ Partial reduce_block(Partial value) {
  __shared__ Partial warps[kThreads / kWarp];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  value = reduce_warp(value);
  if (lane == 0) warps[warp] = value;
  __syncthreads();
  if (warp == 0) {
    value = lane < kThreads / kWarp ? warps[lane] : Partial{0, INT_MIN};
    value = reduce_warp(value);
  }
  return value;
}

__global__ void reduce_values(const int* values, int count, Partial* blocks) {
  Partial mine = {0, INT_MIN};
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    mine = combine(mine, {values[i], values[i]});
  }
  mine = reduce_block(mine);
  if (threadIdx.x == 0) blocks[blockIdx.x] = mine;
}

__global__ void reduce_partials(const Partial* blocks, int count, Partial* result) {
  Partial mine = {0, INT_MIN};
  for (int i = threadIdx.x; i < count; i += blockDim.x) mine = combine(mine, blocks[i]);
  mine = reduce_block(mine);
  if (threadIdx.x == 0) *result = mine;
}

int main() {
  constexpr int kCount = 1'500'000;
  constexpr int kBlocks = 64;
  std::vector<int> values(kCount);
  unsigned random = 12345;
  for (int& value : values) {
    random = random * 1664525u + 1013904223u;
    value = static_cast<int>(random >> 8) - (1 << 23);
  }

  int* device_values;
  Partial *device_blocks, *device_result;
  CHECK(cudaMalloc(&device_values, kCount * sizeof(int)));
  CHECK(cudaMalloc(&device_blocks, kBlocks * sizeof(Partial)));
  CHECK(cudaMalloc(&device_result, sizeof(Partial)));
  CHECK(cudaMemcpy(device_values, values.data(), kCount * sizeof(int), cudaMemcpyHostToDevice));

  reduce_values<<<kBlocks, kThreads>>>(device_values, kCount, device_blocks);
  CHECK(cudaGetLastError());
  reduce_partials<<<1, kThreads>>>(device_blocks, kBlocks, device_result);
  CHECK(cudaGetLastError());
  Partial result;
  CHECK(cudaMemcpy(&result, device_result, sizeof(result), cudaMemcpyDeviceToHost));

  long long sum = 0;
  for (int value : values) sum += value;
  const int max = *std::max_element(values.begin(), values.end());
  const bool good = result.sum == sum && result.max == max;
  std::printf("%d values: sum %lld, maximum %d\n", kCount, result.sum, result.max);
  std::printf("%s: the host has sum %lld, maximum %d\n", good ? "PASSED" : "FAILED", sum, max);

  CHECK(cudaFree(device_values));
  CHECK(cudaFree(device_blocks));
  CHECK(cudaFree(device_result));
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
