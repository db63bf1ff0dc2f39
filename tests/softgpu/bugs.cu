// Kernels with the mistakes that softgpu's checkers are for, one to a run: `bugs past_the_end`. The
// test reads what is printed; see CMakeLists.txt beside it. Lines are named there, by their marks.
#include <cstring>

#include "check.h"

constexpr int kThreads = 64;

__device__ void put(int* to, int value) {
  *to = value;  // LINE put
}

__global__ void past_the_end(int* cells, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i <= count) put(cells + i, i);  // should be <
}

// The sum of each neighbouring pair, where a barrier is missing.
__global__ void missing_barrier(int* cells) {
  __shared__ int tile[kThreads];
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = cells[i];                              // LINE store
  cells[i] = tile[i] + tile[(i + 33) % kThreads];  // LINE load
}

__global__ void sum_of_nothing(const int* cells, int* sum) {
  atomicAdd(sum, cells[threadIdx.x]);  // LINE sum
}

__global__ void endless(volatile int* cells) {
  while (cells[0] == 0) {
  }
}

__global__ void divided_barrier(int* cells) {
  if (threadIdx.x < 32) {
    while (atomicAdd(cells, 0) == 0) {  // the others never come here
    }
  }
  __syncthreads();
}

int main(int argc, char** argv) {
  const auto is = [&](const char* name) { return argc > 1 && std::strcmp(argv[1], name) == 0; };
  int *cells, *sum;
  OK(cudaMalloc(&cells, 100 * sizeof(int)));
  OK(cudaMalloc(&sum, sizeof(int)));
  OK(cudaMemset(sum, 0, sizeof(int)));
  cudaError_t expected = cudaSuccess;
  if (is("past_the_end")) {
    past_the_end<<<2, kThreads>>>(cells, 100);
    expected = cudaErrorIllegalAddress;
  } else if (is("missing_barrier")) {
    OK(cudaMemset(cells, 0, kThreads * sizeof(int)));
    missing_barrier<<<1, kThreads>>>(cells);
  } else if (is("sum_of_nothing")) {
    OK(cudaMemset(cells, 0, 40 * sizeof(int)));  // of 64
    sum_of_nothing<<<1, kThreads>>>(cells, sum);
  } else if (is("endless") || is("divided_barrier")) {
    OK(cudaMemset(cells, 0, sizeof(int)));
    if (is("endless"))
      endless<<<1, kThreads>>>(cells);
    else
      divided_barrier<<<1, kThreads>>>(cells);
    expected = cudaErrorLaunchTimeout;
  } else {
    std::printf("which one?\n");
    return 2;
  }
  GIVES(expected, cudaDeviceSynchronize());
  if (expected == cudaSuccess) {
    OK(cudaFree(cells));
    OK(cudaFree(sum));
  } else {
    // It stays so until the device is reset.
    GIVES(expected, cudaMalloc(&cells, 4));
    GIVES(expected, cudaFree(sum));
    OK(cudaDeviceReset());
    OK(cudaMalloc(&cells, 4));
  }
  return finish();
}
