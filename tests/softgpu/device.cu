// What the runtime says of the device, which it takes from over a hundred attributes when it
// starts.
#include <cstring>

#include "check.h"

int main() {
  int count = 0, driver = 0, runtime = 0;
  OK(cudaGetDeviceCount(&count));
  CHECK(count == 1);
  OK(cudaDriverGetVersion(&driver));
  OK(cudaRuntimeGetVersion(&runtime));
  CHECK(driver >= 13000 && runtime / 1000 <= driver / 1000);

  cudaDeviceProp properties;
  OK(cudaGetDeviceProperties(&properties, 0));
  CHECK(std::strcmp(properties.name, "Farcall softgpu") == 0);
  CHECK(properties.major == 12 && properties.minor == 1);
  CHECK(properties.totalGlobalMem == size_t{8} << 30);
  CHECK(properties.warpSize == 32 && properties.maxThreadsPerBlock == 1024);
  CHECK(properties.multiProcessorCount > 0 && properties.sharedMemPerBlock == 48 << 10);
  CHECK(properties.unifiedAddressing && properties.managedMemory && properties.cooperativeLaunch);
  GIVES(cudaErrorInvalidDevice, cudaGetDeviceProperties(&properties, 1));
  GIVES(cudaErrorInvalidDevice, cudaSetDevice(1));
  cudaGetLastError();

  char id[32];
  int device = -1, value = 0;
  OK(cudaDeviceGetPCIBusId(id, sizeof(id), 0));
  OK(cudaDeviceGetByPCIBusId(&device, id));
  CHECK(device == 0);
  OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxGridDimX, 0));
  CHECK(value == 2147483647);

  size_t limit = 0, free = 0, total = 0;
  OK(cudaDeviceGetLimit(&limit, cudaLimitPrintfFifoSize));
  CHECK(limit == 1 << 20);
  OK(cudaDeviceSetLimit(cudaLimitStackSize, 2048));
  OK(cudaDeviceGetLimit(&limit, cudaLimitStackSize));
  CHECK(limit == 2048);
  int least = 0, greatest = 0;
  OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  CHECK(greatest < least);
  OK(cudaMemGetInfo(&free, &total));
  CHECK(total == properties.totalGlobalMem && free <= total);
  OK(cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync));
  unsigned flags = 0;
  OK(cudaGetDeviceFlags(&flags));
  CHECK(flags & cudaDeviceScheduleBlockingSync);
  return finish();
}
