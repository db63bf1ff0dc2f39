// Who uses a device. A program sees itself, by its own process id: the server's processes are not
// its business, and their ids mean nothing here.
#include <unistd.h>

#include "nvml/library.h"

using namespace farcall::nvml;

namespace {

constexpr unsigned kNoInstance = 0xffffffff;

void fill(nvmlProcessInfo_v1_t* info, unsigned pid, uint64_t bytes) {
  *info = {.pid = pid, .usedGpuMemory = bytes};
}
void fill(nvmlProcessInfo_t* info, unsigned pid, uint64_t bytes) {
  *info = {.pid = pid,
           .usedGpuMemory = bytes,
           .gpuInstanceId = kNoInstance,
           .computeInstanceId = kNoInstance};
}

// *count: room in `infos` before, processes after. INSUFFICIENT_SIZE tells how many there are.
template <class Info>
nvmlReturn_t compute_processes(nvmlDevice_t device, unsigned* count, Info* infos) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (count == nullptr || (infos == nullptr && *count != 0)) return NVML_ERROR_INVALID_ARGUMENT;
  const unsigned room = *count;
  uint64_t bytes = 0;
  const int ordinal = device->description.ordinal;
  *count = ordinal >= 0 && source().uses(ordinal, &bytes) ? 1 : 0;
  if (*count > room) return NVML_ERROR_INSUFFICIENT_SIZE;
  if (*count == 1) fill(infos, unsigned(::getpid()), bytes);
  return NVML_SUCCESS;
}

// Nothing draws here, and the server's MPS is the server's.
nvmlReturn_t no_processes(nvmlDevice_t device, unsigned* count) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *count = 0;
  return NVML_SUCCESS;
}

}  // namespace

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device,
                                                                      unsigned* count,
                                                                      nvmlProcessInfo_v1_t* infos) {
  return compute_processes(device, count, infos);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device,
                                                                         unsigned* count,
                                                                         nvmlProcessInfo_t* infos) {
  return compute_processes(device, count, infos);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device,
                                                                         unsigned* count,
                                                                         nvmlProcessInfo_t* infos) {
  return compute_processes(device, count, infos);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t device,
                                                                       unsigned* count, void*) {
  return no_processes(device, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t device,
                                                                          unsigned* count, void*) {
  return no_processes(device, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device,
                                                                          unsigned* count, void*) {
  return no_processes(device, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses(nvmlDevice_t device,
                                                                         unsigned* count, void*) {
  return no_processes(device, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlDevice_t device,
                                                                            unsigned* count,
                                                                            void*) {
  return no_processes(device, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device,
                                                                            unsigned* count,
                                                                            void*) {
  return no_processes(device, count);
}
