// Managed memory, stream-ordered allocations and pools through the runtime.
#include "check.h"

__global__ void add_one(int* values, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] += 1;
}

int main() {
  int* managed;
  OK(cudaMallocManaged(&managed, 1000 * sizeof(int)));
  for (int i = 0; i < 1000; ++i) managed[i] = i;
  const cudaMemLocation here = {cudaMemLocationTypeDevice, {0}};
  OK(cudaMemPrefetchAsync(managed, 1000 * sizeof(int), here, 0, nullptr));
  OK(cudaMemAdvise(managed, 1000 * sizeof(int), cudaMemAdviseSetReadMostly, here));
  add_one<<<4, 256>>>(managed, 1000);
  OK(cudaDeviceSynchronize());
  bool right = true;
  for (int i = 0; i < 1000; ++i) right = right && managed[i] == i + 1;
  CHECK(right);
  OK(cudaFree(managed));

  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  int* device;
  int back[256];
  OK(cudaMallocAsync(&device, sizeof(back), stream));
  OK(cudaMemsetAsync(device, 0, sizeof(back), stream));
  add_one<<<1, 256, 0, stream>>>(device, 256);
  OK(cudaMemcpyAsync(back, device, sizeof(back), cudaMemcpyDeviceToHost, stream));
  OK(cudaFreeAsync(device, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(back[0] == 1 && back[255] == 1);

  cudaMemPool_t standard, pool;
  unsigned long long threshold = ~0ull, asked = 0;
  OK(cudaDeviceGetDefaultMemPool(&standard, 0));
  OK(cudaMemPoolSetAttribute(standard, cudaMemPoolAttrReleaseThreshold, &threshold));
  OK(cudaMemPoolGetAttribute(standard, cudaMemPoolAttrReleaseThreshold, &asked));
  CHECK(asked == threshold);
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location = here;
  OK(cudaMemPoolCreate(&pool, &properties));
  OK(cudaMallocFromPoolAsync(&device, 100, pool, stream));
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &asked));
  CHECK(asked == 100);
  OK(cudaFreeAsync(device, stream));
  OK(cudaStreamSynchronize(stream));
  OK(cudaMemPoolTrimTo(pool, 0));
  OK(cudaMemPoolDestroy(pool));
  OK(cudaStreamDestroy(stream));
  return finish();
}
