// Takes what a client can take (memory, streams, events, pinned memory), says so and waits for the
// end of its standard input: for tests of what is left when it is killed.
#include "expect.h"

int main() {
  void *device, *pinned;
  REQUIRE(cudaMalloc(&device, 64 << 20));
  REQUIRE(cudaMemset(device, 1, 64 << 20));
  REQUIRE(cudaMallocHost(&pinned, 1 << 20));
  for (int i = 0; i < 8; ++i) {
    cudaStream_t stream;
    cudaEvent_t event;
    REQUIRE(cudaStreamCreate(&stream));
    REQUIRE(cudaEventCreate(&event));
    REQUIRE(cudaEventRecord(event, stream));
  }
  REQUIRE(cudaDeviceSynchronize());
  std::printf("holding\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return EXIT_SUCCESS;
}
