// For programs that check softgpu through NVIDIA's runtime: every check is counted, a failed one is
// printed.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

inline int& failures() {
  static int count = 0;
  return count;
}

inline void check_result(cudaError_t got, cudaError_t wanted, const char* what, int line) {
  if (got == wanted) return;
  std::printf("line %d: %s: %s instead of %s\n", line, what, cudaGetErrorName(got),
              cudaGetErrorName(wanted));
  ++failures();
}
inline void check_true(bool holds, const char* what, int line) {
  if (holds) return;
  std::printf("line %d: %s does not hold\n", line, what);
  ++failures();
}

#define OK(call) check_result((call), cudaSuccess, #call, __LINE__)
#define GIVES(error, call) check_result((call), (error), #call, __LINE__)
#define CHECK(condition) check_true((condition), #condition, __LINE__)

inline int finish() {
  std::printf("%s: %d failures\n", failures() == 0 ? "PASSED" : "FAILED", failures());
  return failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
