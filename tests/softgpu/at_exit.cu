// A program may end while a kernel runs for ever, and may call CUDA in destructors of static
// objects. It must end.
#include "check.h"

__global__ void for_ever(volatile int* flag) {
  while (*flag == 0) {
  }
}

struct Static {
  ~Static() {
    // The runtime may already be gone; all that is asked is that the call returns.
    const cudaError_t freed = cudaFree(memory);
    std::printf("freed in a destructor: %s\n",
                freed == cudaSuccess || freed == cudaErrorCudartUnloading
                    ? "returned"
                    : cudaGetErrorName(freed));
  }
  int* memory = nullptr;
};
Static early;  // its destructor runs after those of what is made later

int main(int argc, char**) {
  int* flag;
  OK(cudaMalloc(&early.memory, 4));
  OK(cudaMallocHost(&flag, 4));
  *flag = 0;
  if (argc > 1) return finish();
  for_ever<<<1, 32>>>(flag);
  OK(cudaGetLastError());
  // cudaFree would wait for the kernel; that is the program's own doing.
  early.memory = nullptr;
  return finish();
}
