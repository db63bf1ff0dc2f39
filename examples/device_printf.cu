// printf in a kernel. One thread writes at a time, so that the order of the lines is the same every
// time: lanes of one warp take turns, and launches of one stream follow each other.
#include <cstdio>

#include "check.h"

__global__ void greet(int launch) {
  for (int turn = 0; turn < blockDim.x; ++turn) {
    if (threadIdx.x == turn) {
      printf("launch %d: hello from thread %u of %u\n", launch, threadIdx.x, blockDim.x);
    }
    __syncwarp();
  }
}

// printf in a kernel returns how many arguments followed the format, so 0 for the last line; less
// is an error.
__global__ void show_formats(const char* name, int* written) {
  int count = 0;
  count += printf("integers %d %i %u %5d|%-5d|%05d %x %#X %o\n", -1, 2, 4000000000u, 42, 42, 42,
                  255, 255, 8) >= 0;
  count += printf("wide %lld %llu %zu %llx\n", -1234567890123LL, 12345678901234567890ULL,
                  sizeof(long), 0xdeadbeefcafeULL) >= 0;
  count += printf("floats %f %.3f %e %g %8.2f|%-8.2f|\n", 3.25, 2.0 / 3, 12345.678, 1e-10, -2.5,
                  2.5) >= 0;
  count += printf("text %s, %10s|%-10s|, a character %c and a per cent %%\n", name, name, "left",
                  'x') >= 0;
  count += printf("no arguments\n") >= 0;
  *written = count;
}

__constant__ char device_name[16] = "constant";

int main() {
  for (int launch = 0; launch < 3; ++launch) {
    greet<<<1, 4>>>(launch);
    CHECK(cudaGetLastError());
  }
  CHECK(cudaDeviceSynchronize());

  int* device_written;
  void* name;
  CHECK(cudaMalloc(&device_written, sizeof(int)));
  CHECK(cudaGetSymbolAddress(&name, device_name));
  show_formats<<<1, 1>>>(static_cast<const char*>(name), device_written);
  CHECK(cudaGetLastError());
  CHECK(cudaDeviceSynchronize());
  int written = 0;
  CHECK(cudaMemcpy(&written, device_written, sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(cudaFree(device_written));

  std::printf("%s: %d lines of formats\n", written == 5 ? "PASSED" : "FAILED", written);
  return written == 5 ? EXIT_SUCCESS : EXIT_FAILURE;
}
