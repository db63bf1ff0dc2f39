// For programs in which a CUDA call is meant to fail: prints the names of results, which the tests
// compare.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

// "WHAT: cudaErrorIllegalAddress", one line each; the names are the same on every device.
inline cudaError_t report(const char* what, cudaError_t status) {
  std::printf("%s: %s\n", what, cudaGetErrorName(status));
  std::fflush(stdout);
  return status;
}

// Ends the program unless the call succeeds; for the calls before the one that a test is about.
inline void require(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s (%s)\n", what, cudaGetErrorName(status), cudaGetErrorString(status));
  std::exit(3);
}
#define REQUIRE(call) require((call), #call)
