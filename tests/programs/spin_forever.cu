// A kernel that never ends, for tests that kill somebody: the client, its worker, or the server.
// Prints "running" when the kernel is on its way, then waits for it, and prints what the wait
// returned and how long it took to the end.
#include <unistd.h>

#include "expect.h"

__global__ void spin(volatile int* flag) {
  while (*flag == 0) {
  }
}

int main() {
  int* flag;
  REQUIRE(cudaMalloc(&flag, 4));
  REQUIRE(cudaMemset(flag, 0, 4));
  spin<<<1, 32>>>(flag);
  REQUIRE(cudaGetLastError());
  // Not a wait for the kernel, but by the time it returns the launch has been sent.
  const cudaError_t query = cudaStreamQuery(0);
  if (query != cudaErrorNotReady) require(query, "cudaStreamQuery");
  std::printf("running\n");
  std::fflush(stdout);
  const cudaError_t waited = report("synchronize", cudaDeviceSynchronize());
  const cudaError_t after = report("malloc after it", cudaMalloc(&flag, 4));
  return waited != cudaSuccess && after != cudaSuccess ? EXIT_SUCCESS : EXIT_FAILURE;
}
