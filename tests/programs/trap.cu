// A kernel that traps: the launch itself succeeds, the next call that waits reports it, and so does
// every call after that, in this process alone.
#include "expect.h"

__global__ void trap_if(int yes) {
  if (yes) __trap();
}

int main() {
  int* memory;
  REQUIRE(cudaMalloc(&memory, 4));
  trap_if<<<1, 1>>>(0);
  REQUIRE(cudaDeviceSynchronize());
  trap_if<<<1, 1>>>(1);
  report("launch", cudaGetLastError());
  const cudaError_t first = report("synchronize", cudaDeviceSynchronize());
  const cudaError_t copy =
      report("copy after it", cudaMemcpy(memory, &first, 4, cudaMemcpyHostToDevice));
  const cudaError_t allocation = report("malloc after it", cudaMalloc(&memory, 4));
  return first != cudaSuccess && copy == first && allocation == first ? EXIT_SUCCESS : EXIT_FAILURE;
}
