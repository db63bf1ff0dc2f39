// CHECK(call): every CUDA call of the examples goes through it. A failure names the call and ends
// the program.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#define CHECK(call)                                                           \
  do {                                                                        \
    const cudaError_t status_ = (call);                                       \
    if (status_ != cudaSuccess) {                                             \
      std::fprintf(stderr, "%s:%d: %s: %s (%s)\n", __FILE__, __LINE__, #call, \
                   cudaGetErrorName(status_), cudaGetErrorString(status_));   \
      std::exit(EXIT_FAILURE);                                                \
    }                                                                         \
  } while (false)
