// A kernel that writes where no allocation is: an error that sticks to this process's context and
// to nobody else's.
#include "expect.h"

__global__ void write_at(int* where) { *where = 1; }

int main() {
  int* memory;
  REQUIRE(cudaMalloc(&memory, 4));
  write_at<<<1, 1>>>(memory);
  REQUIRE(cudaDeviceSynchronize());
  write_at<<<1, 1>>>(reinterpret_cast<int*>(0x10));
  report("launch", cudaGetLastError());
  const cudaError_t first = report("synchronize", cudaDeviceSynchronize());
  int value = 0;
  const cudaError_t copy =
      report("copy after it", cudaMemcpy(&value, memory, 4, cudaMemcpyDeviceToHost));
  return first == cudaErrorIllegalAddress && copy == first ? EXIT_SUCCESS : EXIT_FAILURE;
}
