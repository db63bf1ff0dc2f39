// One of two clients of a server: does what the lines on its standard input say, and answers each
// with a line.
//
//   fill SEED        fills a buffer of 1 MiB from a kernel
//   check SEED       is the buffer still as filled?
//   where            the buffer's address
//   peek ADDRESS     tries to copy 4 bytes from that address
//   poke ADDRESS     tries to write 4 bytes to that address from a kernel
//   end
#include <cinttypes>
#include <cstring>
#include <vector>

#include "expect.h"

constexpr unsigned kWords = 256 * 1024;

__global__ void fill(unsigned* words, unsigned seed) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < kWords) words[i] = i * 2654435761u + seed;
}

__global__ void poke(unsigned* where) { *where = 0xbadbad; }

int main() {
  unsigned* words;
  REQUIRE(cudaMalloc(&words, kWords * sizeof(unsigned)));
  char line[256];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    unsigned seed = 0;
    uint64_t address = 0;
    if (std::sscanf(line, "fill %u", &seed) == 1) {
      fill<<<kWords / 256, 256>>>(words, seed);
      report("fill", cudaDeviceSynchronize());
    } else if (std::sscanf(line, "check %u", &seed) == 1) {
      std::vector<unsigned> copy(kWords);
      const cudaError_t status =
          cudaMemcpy(copy.data(), words, kWords * sizeof(unsigned), cudaMemcpyDeviceToHost);
      unsigned wrong = 0;
      for (unsigned i = 0; i < kWords; ++i) wrong += copy[i] != i * 2654435761u + seed;
      std::printf("check: %s, %u wrong\n", cudaGetErrorName(status), wrong);
    } else if (std::strcmp(line, "where\n") == 0) {
      std::printf("where: %" PRIu64 "\n", reinterpret_cast<uint64_t>(words));
    } else if (std::sscanf(line, "peek %" SCNu64, &address) == 1) {
      unsigned value = 0;
      const cudaError_t status =
          cudaMemcpy(&value, reinterpret_cast<void*>(address), 4, cudaMemcpyDeviceToHost);
      std::printf("peek: %s, value %u\n", cudaGetErrorName(status), value);
    } else if (std::sscanf(line, "poke %" SCNu64, &address) == 1) {
      poke<<<1, 1>>>(reinterpret_cast<unsigned*>(address));
      report("poke", cudaDeviceSynchronize());
    } else if (std::strcmp(line, "end\n") == 0) {
      std::printf("end\n");
      return EXIT_SUCCESS;
    } else {
      std::printf("what?\n");
    }
    std::fflush(stdout);
  }
  return EXIT_SUCCESS;
}
