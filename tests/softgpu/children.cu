// Dynamic parallelism as nvcc builds it: kernels that launch kernels, and the copies and memsets of
// libcudadevrt, which are kernels of its own.
#include "check.h"

__global__ void twice(int* data, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) data[i] *= 2;
}

__global__ void ones(int* data, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) data[i] = 1;
}

__global__ void parent(int* from, int* to, int n, int* error) {
  ones<<<1, 64>>>(from, n);
  twice<<<(n + 63) / 64, 64>>>(from, n);
  *error = cudaMemcpyAsync(to, from, n * sizeof(int), cudaMemcpyDeviceToDevice, 0);
  // Of 0: libcudadevrt's takes it for 0 whatever the value is.
  *error |= cudaMemsetAsync(from, 0, n * sizeof(int), 0);
  twice<<<(n + 63) / 64, 64, 0, cudaStreamTailLaunch>>>(to, n);
  *error |= cudaGetLastError();
}

int main() {
  const int n = 1000;
  int *from, *to, *error;
  OK(cudaMallocManaged(&from, n * sizeof(int)));
  OK(cudaMallocManaged(&to, n * sizeof(int)));
  OK(cudaMallocManaged(&error, sizeof(int)));
  *error = -1;
  parent<<<1, 1>>>(from, to, n, error);
  OK(cudaGetLastError());
  OK(cudaDeviceSynchronize());
  CHECK(*error == 0);
  int wrong = 0;
  for (int i = 0; i < n; ++i) wrong += to[i] != 4 || from[i] != 0;
  CHECK(wrong == 0);
  return finish();
}
