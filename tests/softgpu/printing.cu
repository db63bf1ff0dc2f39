// Lines of kernels come where the program waits for them, in order, among the program's own; then
// an assertion fails. The test compares all of this program's output.
#include <cassert>

#include "check.h"

__global__ void say(int launch) {
  printf("launch %d, thread %d\n", launch, static_cast<int>(threadIdx.x));
}
__global__ void sure(int value) { assert(value < 5); }

int main() {
  say<<<1, 1>>>(1);
  std::printf("host: launched 1\n");
  OK(cudaDeviceSynchronize());
  std::printf("host: waited for 1\n");
  say<<<1, 1>>>(2);
  say<<<1, 1>>>(3);
  int* device;
  std::printf("host: launched 2 and 3\n");
  OK(cudaMalloc(&device, 4));  // waits for nothing
  OK(cudaMemset(device, 0, 4));
  int host;
  OK(cudaMemcpy(&host, device, 4, cudaMemcpyDeviceToHost));
  std::printf("host: copied\n");
  sure<<<1, 1>>>(4);
  OK(cudaDeviceSynchronize());
  sure<<<1, 1>>>(5);
  GIVES(cudaErrorAssert, cudaDeviceSynchronize());
  GIVES(cudaErrorAssert, cudaGetLastError());
  return finish();
}
