// How many times does a program wait for the server that launches a small kernel 10,000 times, asks
// between the launches what programs ask there, and synchronizes once?
//
//   launches_10000 [COUNT]
//
// With COUNT 0 it does the rest alone (start-up, allocation, and reading the counter back), so that
// the difference of two runs' round trips is what the launches and the synchronize cost.
#include "expect.h"

__global__ void count_up(unsigned long long* counter, unsigned step) {
  if (threadIdx.x == 0) *counter += step;
}

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 10000;
  unsigned long long* counter;
  REQUIRE(cudaMalloc(&counter, sizeof(*counter)));
  REQUIRE(cudaMemset(counter, 0, sizeof(*counter)));

  for (int i = 0; i < count; ++i) {
    count_up<<<1, 32>>>(counter, 1 + i % 3);
    REQUIRE(cudaGetLastError());
    REQUIRE(cudaPeekAtLastError());
    int device = -1, value = 0;
    REQUIRE(cudaGetDevice(&device));
    REQUIRE(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device));
    REQUIRE(cudaDeviceGetAttribute(&value, cudaDevAttrMaxThreadsPerBlock, device));
    if (value < 32) return 1;
  }
  if (count > 0) REQUIRE(cudaDeviceSynchronize());

  unsigned long long total = 0, expected = 0;
  REQUIRE(cudaMemcpy(&total, counter, sizeof(total), cudaMemcpyDeviceToHost));
  for (int i = 0; i < count; ++i) expected += 1 + i % 3;
  REQUIRE(cudaFree(counter));
  std::printf("%d launches counted %llu, expected %llu\n", count, total, expected);
  return total == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
