// After cudaDeviceReset everything works again: kernels without a new start, variables with their
// first values; also after a fault.
#include "check.h"

__device__ int variable = 4;
__global__ void change() { variable += 1; }
__global__ void fault(int* nowhere) { *nowhere = 1; }

int value() {
  int host = 0;
  OK(cudaMemcpyFromSymbol(&host, variable, sizeof(int)));
  return host;
}

int main() {
  void* device;
  OK(cudaMalloc(&device, 64));
  change<<<1, 1>>>();
  OK(cudaGetLastError());
  CHECK(value() == 5);
  OK(cudaDeviceReset());
  CHECK(value() == 4);
  GIVES(cudaErrorInvalidValue, cudaFree(device));
  cudaGetLastError();
  change<<<1, 1>>>();
  CHECK(value() == 5);

  fault<<<1, 1>>>(reinterpret_cast<int*>(64));
  OK(cudaGetLastError());
  GIVES(cudaErrorIllegalAddress, cudaDeviceSynchronize());
  GIVES(cudaErrorIllegalAddress, cudaMalloc(&device, 64));
  GIVES(cudaErrorIllegalAddress, cudaGetLastError());
  OK(cudaDeviceReset());
  CHECK(value() == 4);
  return finish();
}
