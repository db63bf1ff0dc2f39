// Built with -rdc=true for PTX only: the image has no linked code, so the driver links the parts'
// PTX.
#include "check.h"

extern __device__ int scale;
__device__ int scaled(int value);

__global__ void use(int* out) { *out = scaled(threadIdx.x + 5); }

int main() {
  int *device, host = 0;
  OK(cudaMalloc(&device, sizeof(int)));
  use<<<1, 1>>>(device);
  OK(cudaGetLastError());
  OK(cudaMemcpy(&host, device, sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(host == 50);
  host = 3;
  OK(cudaMemcpyToSymbol(scale, &host, sizeof(int)));
  use<<<1, 1>>>(device);
  OK(cudaMemcpy(&host, device, sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(host == 15);
  return finish();
}
