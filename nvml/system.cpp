// Functions about the library and the machine: init and shutdown, versions, error texts.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "nvml/library.h"

using namespace farcall::nvml;

namespace {

constexpr std::array<std::pair<nvmlReturn_t, const char*>, 32> kErrorTexts = {{
    {NVML_SUCCESS, "Success"},
    {NVML_ERROR_UNINITIALIZED, "Uninitialized"},
    {NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"},
    {NVML_ERROR_NOT_SUPPORTED, "Not Supported"},
    {NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"},
    {NVML_ERROR_ALREADY_INITIALIZED, "Already Initialized"},
    {NVML_ERROR_NOT_FOUND, "Not Found"},
    {NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size"},
    {NVML_ERROR_INSUFFICIENT_POWER, "Insufficient External Power"},
    {NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"},
    {NVML_ERROR_TIMEOUT, "Timeout"},
    {NVML_ERROR_IRQ_ISSUE, "Interrupt Request Issue"},
    {NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"},
    {NVML_ERROR_FUNCTION_NOT_FOUND, "Function Not Found"},
    {NVML_ERROR_CORRUPTED_INFOROM, "Corrupted infoROM"},
    {NVML_ERROR_GPU_IS_LOST, "GPU is lost"},
    {NVML_ERROR_RESET_REQUIRED, "GPU requires restart"},
    {NVML_ERROR_OPERATING_SYSTEM, "The operating system has blocked the request."},
    {NVML_ERROR_LIB_RM_VERSION_MISMATCH, "RM has detected an NVML/RM version mismatch."},
    {NVML_ERROR_IN_USE, "In use by another client"},
    {NVML_ERROR_MEMORY, "Insufficient Memory"},
    {NVML_ERROR_NO_DATA, "No data"},
    {NVML_ERROR_VGPU_ECC_NOT_SUPPORTED,
     "The requested vGPU operation is not available on target "
     "device, because ECC is enabled"},
    {NVML_ERROR_INSUFFICIENT_RESOURCES, "Insufficient Resources"},
    {NVML_ERROR_FREQ_NOT_SUPPORTED, "Frequency not supported"},
    {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument version mismatch"},
    {NVML_ERROR_DEPRECATED, "Deprecated"},
    {NVML_ERROR_NOT_READY, "The system is not ready for the request"},
    {NVML_ERROR_GPU_NOT_FOUND, "No GPUs were found"},
    {NVML_ERROR_INVALID_STATE, "Resource not in correct state to perform requested operation"},
    {NVML_ERROR_RESET_TYPE_NOT_SUPPORTED, "Reset not supported for given device"},
    {NVML_ERROR_UNKNOWN, "Unknown Error"},
}};

// A fact of the machine, which NVML tells without a device: the first one's.
nvmlReturn_t machine_text(std::string Readings::*text, char* out, unsigned length) {
  nvmlDevice_t device = nullptr;
  const nvmlReturn_t result = device_at(0, &device);
  if (result == NVML_ERROR_INVALID_ARGUMENT) return NVML_ERROR_NOT_SUPPORTED;  // no device
  return result != NVML_SUCCESS ? result : read_text(device, text, out, length);
}

}  // namespace

FARCALL_NVML_EXPORT nvmlReturn_t nvmlInit() { return initialize(); }
FARCALL_NVML_EXPORT nvmlReturn_t nvmlInit_v2() { return initialize(); }
// Its flags make NVML start without a GPU or without attaching to it, which is no work here.
FARCALL_NVML_EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned) { return initialize(); }
FARCALL_NVML_EXPORT nvmlReturn_t nvmlShutdown() { return shut_down(); }

FARCALL_NVML_EXPORT const char* nvmlErrorString(nvmlReturn_t result) {
  const auto found = std::find_if(kErrorTexts.begin(), kErrorTexts.end(),
                                  [=](const auto& known) { return known.first == result; });
  return found != kErrorTexts.end() ? found->second : "Unknown Error";
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char* version, unsigned length) {
  return machine_text(&Readings::driver_version, version, length);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char* version, unsigned length) {
  return machine_text(&Readings::nvml_version, version, length);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int* version) {
  if (!initialized()) return NVML_ERROR_UNINITIALIZED;
  if (version == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *version = source().cuda_version();
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int* version) {
  return nvmlSystemGetCudaDriverVersion(version);
}

// Processes that NVML names here are this machine's: see nvmlDeviceGetComputeRunningProcesses.
FARCALL_NVML_EXPORT nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char* name,
                                                          unsigned length) {
  if (!initialized()) return NVML_ERROR_UNINITIALIZED;
  if (name == nullptr || length == 0) return NVML_ERROR_INVALID_ARGUMENT;
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  if (!file) return NVML_ERROR_NOT_FOUND;
  std::string text;
  std::getline(file, text, '\0');
  // NVML cuts what does not fit.
  const size_t bytes = std::min<size_t>(text.size(), length - 1);
  std::memcpy(name, text.data(), bytes);
  name[bytes] = '\0';
  return NVML_SUCCESS;
}
