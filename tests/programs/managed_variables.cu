// __managed__ variables: program and kernels use them by name. Prints what each side sees, the same
// locally and remotely.
#include <numeric>

#include "expect.h"

__managed__ unsigned counter = 5;
__managed__ unsigned table[3000] = {1, 2, 3};
__managed__ struct {
  char small;
  double large;
} pair = {'a', 2.5};
__device__ unsigned plain = 7;

namespace {

__global__ void step() {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < 3000) table[i] = table[i] * 2 + i + plain;
  if (i == 0) {
    counter += 10;
    pair.large *= 2;
  }
}

void print(const char* when) {
  std::printf("%s: %u %u %c %g\n", when, counter, std::accumulate(table, table + 3000, 0u),
              pair.small, pair.large);
}

// Of a library that the program loads itself.
constexpr char kPtx[] = R"(.version 7.0
.target sm_70
.address_size 64
.visible .global .attribute(.managed) .align 4 .u32 word = 41;
.visible .entry bump() {
  .reg .u32 %r<3>;
  .reg .u64 %rd<2>;
  mov.u64 %rd1, word;
  ld.global.u32 %r1, [%rd1];
  add.u32 %r2, %r1, 1;
  st.global.u32 [%rd1], %r2;
  ret;
})";

void library() {
  cudaLibrary_t library;
  REQUIRE(cudaLibraryLoadData(&library, kPtx, nullptr, nullptr, 0, nullptr, nullptr, 0));
  unsigned* word = nullptr;
  size_t bytes = 0;
  REQUIRE(cudaLibraryGetManaged(reinterpret_cast<void**>(&word), &bytes, library, "word"));
  std::printf("%zu bytes, %u at first\n", bytes, *word);
  cudaKernel_t bump;
  REQUIRE(cudaLibraryGetKernel(&bump, library, "bump"));
  *word += 100;
  REQUIRE(cudaLaunchKernel(reinterpret_cast<const void*>(bump), 1, 1, nullptr, 0, nullptr));
  REQUIRE(cudaDeviceSynchronize());
  std::printf("%u after a kernel\n", *word);
}

}  // namespace

int main() {
  library();
  print("at first");
  step<<<12, 256>>>();
  REQUIRE(cudaDeviceSynchronize());
  print("after a kernel");
  counter = 100;
  table[2999] = 1;
  pair.small = 'b';
  step<<<12, 256>>>();
  step<<<12, 256>>>();
  REQUIRE(cudaDeviceSynchronize());
  print("after two more");
  unsigned value = 1;
  REQUIRE(cudaMemcpyToSymbol(counter, &value, sizeof value));
  print("after a copy to one");
  counter = 55;
  REQUIRE(cudaMemcpyFromSymbol(&value, counter, sizeof value));
  std::printf("copied from it: %u\n", value);
  void* address = nullptr;
  size_t bytes = 0;
  REQUIRE(cudaGetSymbolAddress(&address, table));
  REQUIRE(cudaGetSymbolSize(&bytes, table));
  std::printf("address %d, %zu bytes\n", address == table, bytes);
  REQUIRE(cudaMemcpyFromSymbol(&value, plain, sizeof value));
  std::printf("not managed: %u\n", value);
  return 0;
}
