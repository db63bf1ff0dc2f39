// Streams, events, host functions and callbacks through the runtime.
#include <atomic>

#include "check.h"

__global__ void wait_for(volatile int* flag) {
  while (*flag == 0) {
  }
}
__global__ void put(int* cell, int value) { *cell = value; }

void CUDART_CB release(void* flag) { *static_cast<volatile int*>(flag) = 1; }
void CUDART_CB count(cudaStream_t, cudaError_t status, void* counter) {
  if (status == cudaSuccess) ++*static_cast<std::atomic<int>*>(counter);
}

int main() {
  cudaStream_t first, second;
  cudaEvent_t start, end;
  OK(cudaStreamCreate(&first));
  OK(cudaStreamCreateWithPriority(&second, cudaStreamNonBlocking, -1));
  OK(cudaEventCreate(&start));
  OK(cudaEventCreateWithFlags(&end, cudaEventBlockingSync));
  int *flag, *cell;
  OK(cudaMallocHost(&flag, sizeof(int)));
  OK(cudaMallocManaged(&cell, sizeof(int)));
  *flag = *cell = 0;

  OK(cudaEventRecord(start, first));
  wait_for<<<1, 1, 0, first>>>(flag);
  OK(cudaGetLastError());
  OK(cudaEventRecord(end, first));
  GIVES(cudaErrorNotReady, cudaEventQuery(end));
  GIVES(cudaErrorNotReady, cudaStreamQuery(first));
  OK(cudaGetLastError());  // not ready is no error
  put<<<1, 1, 0, second>>>(cell, 5);
  OK(cudaStreamSynchronize(second));
  CHECK(*cell == 5);
  // What comes after the event, in the other stream, waits; a host function lets the kernel end.
  OK(cudaLaunchHostFunc(second, release, flag));
  OK(cudaStreamWaitEvent(second, end, 0));
  put<<<1, 1, 0, second>>>(cell, 6);
  std::atomic<int> calls{0};
  OK(cudaStreamAddCallback(second, count, &calls, 0));
  OK(cudaStreamSynchronize(second));
  CHECK(*cell == 6 && calls == 1);
  OK(cudaEventSynchronize(end));
  float milliseconds = -1;
  OK(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds > 0 && milliseconds < 20000);

  unsigned flags = 0;
  int priority = 1;
  unsigned long long id = 0, other = 0;
  OK(cudaStreamGetFlags(second, &flags));
  OK(cudaStreamGetPriority(second, &priority));
  OK(cudaStreamGetId(first, &id));
  OK(cudaStreamGetId(second, &other));
  CHECK(flags == cudaStreamNonBlocking && priority == -1 && id != other);
  OK(cudaStreamDestroy(first));
  OK(cudaStreamDestroy(second));
  OK(cudaEventDestroy(start));
  OK(cudaEventDestroy(end));
  return finish();
}
