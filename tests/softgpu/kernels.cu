// Launches in every way the runtime has, with parameters of every size, and launches that must be
// refused.
#include <cuda.h>

#include <cstring>

#include "check.h"

struct Mixed {
  int a;
  double d;
  char c[13];
};
struct Huge {
  char c[20000];
};

__global__ void mixed(int* out, int n, float f, Mixed m) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = static_cast<int>(f * m.d) + m.a + m.c[3] + i;
}
template <typename T>
__global__ void fill(T* out, T value) {
  out[threadIdx.x] = value;
}
__global__ void huge(Huge h, short index, int* out) { *out = h.c[index]; }
__global__ void __launch_bounds__(64) bounded(int* out) { *out = 1; }

template <class F>
F entry(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult status;
  OK(cudaGetDriverEntryPointByVersion(name, &found, 13000, cudaEnableDefault, &status));
  CHECK(status == cudaDriverEntryPointSuccess);
  return reinterpret_cast<F>(found);
}

int main() {
  int *device, host[1024] = {};
  OK(cudaMalloc(&device, sizeof(host)));
  const auto fetch = [&] {
    OK(cudaMemcpy(host, device, sizeof(host), cudaMemcpyDeviceToHost));
    OK(cudaMemset(device, 0, sizeof(host)));
  };
  const Mixed m = {7, 2.5, "abcdef"};
  mixed<<<dim3(4, 2), 128, 256>>>(device, 500, 2.0f, m);
  OK(cudaGetLastError());
  fetch();
  CHECK(host[0] == 5 + 7 + 'd' && host[499] == 499 + host[0] && host[500] == 0);

  fill<double><<<1, 32>>>(reinterpret_cast<double*>(device), 3.25);
  fetch();
  CHECK(reinterpret_cast<double*>(host)[31] == 3.25);

  int n = 5;
  float f = 4;
  Mixed copy = m;
  void* params[] = {&device, &n, &f, &copy};
  OK(cudaLaunchKernel(reinterpret_cast<const void*>(mixed), dim3(3), dim3(64), params, 0, nullptr));
  fetch();
  CHECK(host[4] == 10 + 7 + 'd' + 4 && host[5] == 0);

  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(2);
  config.blockDim = dim3(32);
  OK(cudaLaunchKernelEx(&config, fill<int>, device, 42));
  fetch();
  CHECK(host[31] == 42 && host[32] == 0);

  // 20 kB of parameters, and their layout as the driver tells it.
  static Huge h;
  h.c[19999] = 77;
  huge<<<1, 1>>>(h, 19999, device);
  OK(cudaGetLastError());
  fetch();
  CHECK(host[0] == 77);
  cudaKernel_t kernel;
  size_t offset = 0, bytes = 0;
  auto param_info = entry<CUresult (*)(CUkernel, size_t, size_t*, size_t*)>("cuKernelGetParamInfo");
  OK(cudaGetKernel(&kernel, reinterpret_cast<const void*>(huge)));
  CHECK(param_info(reinterpret_cast<CUkernel>(kernel), 2, &offset, &bytes) == CUDA_SUCCESS);
  CHECK(offset == 20008 && bytes == 8);
  OK(cudaGetKernel(&kernel, reinterpret_cast<const void*>(mixed)));
  CHECK(param_info(reinterpret_cast<CUkernel>(kernel), 3, &offset, &bytes) == CUDA_SUCCESS);
  CHECK(offset == 16 && bytes == sizeof(Mixed));
  CHECK(param_info(reinterpret_cast<CUkernel>(kernel), 4, &offset, &bytes) ==
        CUDA_ERROR_INVALID_VALUE);

  // Refused at once, and nothing else is the worse for it.
  fill<int><<<1, 2048>>>(device, 1);
  GIVES(cudaErrorInvalidConfiguration, cudaGetLastError());
  fill<int><<<0, 32>>>(device, 1);
  GIVES(cudaErrorInvalidConfiguration, cudaGetLastError());
  fill<int><<<1, 32, 1 << 20>>>(device, 1);
  GIVES(cudaErrorInvalidValue, cudaGetLastError());
  bounded<<<1, 65>>>(device);
  CHECK(cudaGetLastError() != cudaSuccess);
  bounded<<<1, 64>>>(device);
  OK(cudaGetLastError());
  fetch();
  CHECK(host[0] == 1);
  OK(cudaDeviceSynchronize());
  return finish();
}
