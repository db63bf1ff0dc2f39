// Many threads use one device at once: each with a stream, memory and events of its own, and all
// start the runtime.
#include <thread>
#include <vector>

#include "check.h"

__global__ void add(int* values, int count, int amount) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) values[i] += amount;
}

constexpr int kThreads = 8, kRounds = 50, kCount = 300;

int work(int number) {
  int wrong = 0;
  const auto expect = [&wrong](cudaError_t status) { wrong += status != cudaSuccess; };
  cudaStream_t stream;
  cudaEvent_t event;
  int *device, host[kCount];
  expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  expect(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  for (int round = 0; round < kRounds; ++round) {
    expect(cudaMallocAsync(&device, sizeof(host), stream));
    expect(cudaMemsetAsync(device, 0, sizeof(host), stream));
    add<<<1, 64, 0, stream>>>(device, kCount, number);
    add<<<1, 64, 0, stream>>>(device, kCount, round);
    expect(cudaGetLastError());
    expect(cudaEventRecord(event, stream));
    expect(cudaMemcpyAsync(host, device, sizeof(host), cudaMemcpyDeviceToHost, stream));
    expect(cudaFreeAsync(device, stream));
    expect(cudaEventSynchronize(event));
    expect(cudaStreamSynchronize(stream));
    for (int value : host) wrong += value != number + round;
  }
  expect(cudaEventDestroy(event));
  expect(cudaStreamDestroy(stream));
  return wrong;
}

int main() {
  std::vector<std::thread> threads;
  std::vector<int> wrong(kThreads, -1);
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&wrong, i] { wrong[i] = work(i); });
  for (std::thread& thread : threads) thread.join();
  for (int count : wrong) CHECK(count == 0);
  return finish();
}
