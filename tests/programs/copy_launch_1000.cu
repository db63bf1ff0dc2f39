// How many times does a program wait for the server that uploads 4 KiB and launches a kernel on it,
// 1,000 times, and reads the result back once?
//
//   copy_launch_1000 [COUNT]
//
// With COUNT 0 it only starts up and allocates, so that the difference of two runs' round trips is
// what the pairs and the copy back cost.
#include <vector>

#include "expect.h"

constexpr int kWords = 1024;  // 4 KiB

__global__ void accumulate(const unsigned* upload, unsigned* sums) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  sums[i] = sums[i] * 31 + upload[i];
}

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1000;
  unsigned *upload, *sums;
  REQUIRE(cudaMalloc(&upload, kWords * sizeof(unsigned)));
  REQUIRE(cudaMalloc(&sums, kWords * sizeof(unsigned)));
  REQUIRE(cudaMemset(sums, 0, kWords * sizeof(unsigned)));
  if (count == 0) return EXIT_SUCCESS;

  std::vector<unsigned> source(kWords), result(kWords), expected(kWords);
  for (int n = 0; n < count; ++n) {
    for (int i = 0; i < kWords; ++i) source[i] = static_cast<unsigned>(n * 2654435761u + i);
    REQUIRE(cudaMemcpy(upload, source.data(), kWords * sizeof(unsigned), cudaMemcpyHostToDevice));
    accumulate<<<kWords / 256, 256>>>(upload, sums);
    REQUIRE(cudaGetLastError());
    for (int i = 0; i < kWords; ++i) expected[i] = expected[i] * 31 + source[i];
  }
  REQUIRE(cudaMemcpy(result.data(), sums, kWords * sizeof(unsigned), cudaMemcpyDeviceToHost));
  const bool good = result == expected;
  std::printf("%d pairs: %s\n", count, good ? "all uploads arrived in order" : "wrong sums");
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
