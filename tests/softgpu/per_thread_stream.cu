// Built with --default-stream per-thread: stream 0 is each thread's own, and threads do not wait
// for each other.
#include <thread>

#include "check.h"

__global__ void wait_for(volatile int* flag) {
  while (*flag == 0) {
  }
}
__global__ void put(int* cell, int value) { *cell = value; }

int main() {
  int *flag, *cells;
  OK(cudaMallocHost(&flag, sizeof(int)));
  OK(cudaMalloc(&cells, 2 * sizeof(int)));
  *flag = 0;
  wait_for<<<1, 1>>>(flag);
  OK(cudaGetLastError());
  int host = 0;
  std::thread other([&] {
    put<<<1, 1>>>(cells, 8);
    OK(cudaMemcpyAsync(&host, cells, sizeof(int), cudaMemcpyDefault));
    OK(cudaStreamSynchronize(0));
    GIVES(cudaErrorNotReady, cudaStreamQuery(cudaStreamLegacy));  // waits for the first thread
    int again = 0;
    OK(cudaMemcpy(&again, cells, sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(again == 8);
  });
  other.join();
  CHECK(host == 8);
  GIVES(cudaErrorNotReady, cudaStreamQuery(0));
  *static_cast<volatile int*>(flag) = 1;
  OK(cudaStreamSynchronize(0));
  put<<<1, 1, 0, cudaStreamLegacy>>>(cells + 1, 3);
  OK(cudaDeviceSynchronize());
  return finish();
}
