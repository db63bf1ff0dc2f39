// What the runtime tells of functions; variables of every kind; a grid that waits for itself.
#include <cooperative_groups.h>

#include <cstring>

#include "check.h"

__device__ int array[16];
__device__ int initialised = 77;
__constant__ float constants[8];
__managed__ int managed = 5;

__global__ void __launch_bounds__(256) use(int* out) {
  __shared__ int shared[64];
  shared[threadIdx.x & 63] = out[0];
  __syncthreads();
  if (threadIdx.x == 0) {
    out[1] = shared[3] + array[2] + managed + initialised + static_cast<int>(constants[1]);
    managed = 9;
  }
}

// Every block adds, all wait, then every block sees the sum of all.
__global__ void together(int* sum, int* seen) {
  if (threadIdx.x == 0) atomicAdd(sum, blockIdx.x + 1);
  cooperative_groups::this_grid().sync();
  if (threadIdx.x == 0) seen[blockIdx.x] = *sum;
}

__global__ void dynamic(int* out) {
  extern __shared__ int shared[];
  shared[threadIdx.x * 512] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x ^ 1) * 512];
}

int main() {
  CHECK(managed == 5);  // before anything else
  int* device;
  int host[32] = {100};
  OK(cudaMalloc(&device, sizeof(host)));
  OK(cudaMemcpy(device, host, sizeof(host), cudaMemcpyHostToDevice));

  int in[16] = {1, 2, 3}, out[16] = {};
  const float floats[8] = {0, 1000};
  OK(cudaMemcpyToSymbol(array, in, sizeof(in)));
  OK(cudaMemcpyFromSymbol(out, array, sizeof(out)));
  CHECK(std::memcmp(in, out, sizeof(in)) == 0);
  OK(cudaMemcpyToSymbol(constants, floats, sizeof(floats)));
  managed = 6;
  use<<<1, 256>>>(device);
  OK(cudaGetLastError());
  OK(cudaMemcpy(host, device, sizeof(host), cudaMemcpyDeviceToHost));
  CHECK(host[1] == 100 + 3 + 6 + 77 + 1000);
  CHECK(managed == 9);
  void* address;
  size_t bytes = 0;
  OK(cudaGetSymbolAddress(&address, array));
  OK(cudaGetSymbolSize(&bytes, array));
  CHECK(bytes == sizeof(array));
  OK(cudaMemset(address, 0, bytes));
  OK(cudaMemcpyFromSymbol(out, array, sizeof(out)));
  CHECK(out[1] == 0);

  cudaFuncAttributes attributes;
  OK(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(use)));
  CHECK(attributes.sharedSizeBytes == 256 && attributes.maxThreadsPerBlock == 256);
  CHECK(attributes.numRegs > 0 && attributes.ptxVersion >= 50);
  OK(cudaFuncSetCacheConfig(reinterpret_cast<const void*>(use), cudaFuncCachePreferL1));
  int blocks = 0, grid = 0, block = 0;
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, use, 128, 0));
  CHECK(blocks > 0);
  OK(cudaOccupancyMaxPotentialBlockSize(&grid, &block, use));
  CHECK(block > 0 && block <= 256 && grid > 0);

  // More shared memory than every device has must be asked for.
  const int wanted = 64 << 10;
  dynamic<<<1, 32, wanted>>>(device);
  CHECK(cudaGetLastError() != cudaSuccess);
  OK(cudaFuncSetAttribute(reinterpret_cast<const void*>(dynamic),
                          cudaFuncAttributeMaxDynamicSharedMemorySize, wanted));
  dynamic<<<1, 32, wanted>>>(device);
  OK(cudaGetLastError());
  OK(cudaMemcpy(host, device, sizeof(host), cudaMemcpyDeviceToHost));
  CHECK(host[0] == 1 && host[31] == 30);

  int* seen;
  OK(cudaMalloc(&seen, 8 * sizeof(int)));
  OK(cudaMemset(device, 0, sizeof(int)));
  void* params[] = {&device, &seen};
  OK(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(together), dim3(8), dim3(64), params,
                                 0, nullptr));
  OK(cudaMemcpy(host, seen, 8 * sizeof(int), cudaMemcpyDeviceToHost));
  bool all = true;
  for (int i = 0; i < 8; ++i) all = all && host[i] == 36;
  CHECK(all);
  GIVES(cudaErrorCooperativeLaunchTooLarge,
        cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(together), dim3(100000), dim3(64),
                                    params, 0, nullptr));
  cudaGetLastError();
  cudaFunction_t function;
  OK(cudaGetFuncBySymbol(&function, reinterpret_cast<const void*>(use)));
  return finish();
}
