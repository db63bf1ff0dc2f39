// Vector addition, the first CUDA program everybody writes: two arrays go to the device, a kernel
// adds them element by element, the sum comes back and is compared with the host's.
#include <cstdio>
#include <vector>

#include "check.h"

__global__ void add(const float* a, const float* b, float* sum, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) sum[i] = a[i] + b[i];
}

int main() {
  constexpr int kCount = 1'000'003;  // a prime: the last block is not full
  constexpr int kThreads = 256;
  const size_t bytes = kCount * sizeof(float);

  std::vector<float> a(kCount), b(kCount), sum(kCount);
  for (int i = 0; i < kCount; ++i) {
    a[i] = 0.5f * static_cast<float>(i % 1000);
    b[i] = 0.25f * static_cast<float>(i % 777) - 64.0f;
  }

  float *device_a, *device_b, *device_sum;
  CHECK(cudaMalloc(&device_a, bytes));
  CHECK(cudaMalloc(&device_b, bytes));
  CHECK(cudaMalloc(&device_sum, bytes));
  CHECK(cudaMemcpy(device_a, a.data(), bytes, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(device_b, b.data(), bytes, cudaMemcpyHostToDevice));

  add<<<(kCount + kThreads - 1) / kThreads, kThreads>>>(device_a, device_b, device_sum, kCount);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(sum.data(), device_sum, bytes, cudaMemcpyDeviceToHost));

  int wrong = 0;
  double total = 0;
  for (int i = 0; i < kCount; ++i) {
    wrong += sum[i] != a[i] + b[i];
    total += sum[i];
  }
  std::printf("added %d elements: first %.2f, last %.2f, total %.2f\n", kCount, sum.front(),
              sum.back(), total);
  std::printf("%s: %d wrong\n", wrong == 0 ? "PASSED" : "FAILED", wrong);

  CHECK(cudaFree(device_a));
  CHECK(cudaFree(device_b));
  CHECK(cudaFree(device_sum));
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
