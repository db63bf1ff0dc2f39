// NVML's facts about softgpu's devices, from softgpu's driver. A software device has no
// temperature, no power and no clocks: those readings are not there, and NVML says NOT_SUPPORTED.
#include "nvml/source.h"

#include <cuda.h>

#include <atomic>
#include <cstring>

namespace farcall::nvml {
namespace {

constexpr int kNameBytes = 256;
constexpr int kBusIdBytes = 32;

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  return cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? value : 0;
}

int architecture(int major, int minor) {
  switch (major) {
    case 7:
      return minor >= 5 ? NVML_DEVICE_ARCH_TURING : NVML_DEVICE_ARCH_VOLTA;
    case 8:
      return minor == 9 ? NVML_DEVICE_ARCH_ADA : NVML_DEVICE_ARCH_AMPERE;
    case 9:
      return NVML_DEVICE_ARCH_HOPPER;
    default:
      return NVML_DEVICE_ARCH_BLACKWELL;
  }
}

// Makes a context of the device current, if this process has one.
class ContextOf {
 public:
  explicit ContextOf(CUdevice device) {
    CUdevice current = -1;
    if (cuCtxGetDevice(&current) == CUDA_SUCCESS && current == device) {
      found_ = true;
      return;
    }
    unsigned flags = 0;
    int active = 0;
    if (cuDevicePrimaryCtxGetState(device, &flags, &active) != CUDA_SUCCESS || active == 0) return;
    CUcontext context = nullptr;
    if (cuDevicePrimaryCtxRetain(&context, device) != CUDA_SUCCESS) return;
    device_ = device;
    retained_ = true;
    pushed_ = found_ = cuCtxPushCurrent(context) == CUDA_SUCCESS;
  }
  ~ContextOf() {
    CUcontext popped = nullptr;
    if (pushed_) cuCtxPopCurrent(&popped);
    if (retained_) cuDevicePrimaryCtxRelease(device_);
  }
  ContextOf(const ContextOf&) = delete;
  ContextOf& operator=(const ContextOf&) = delete;
  bool found() const { return found_; }

 private:
  CUdevice device_ = 0;
  bool found_ = false, retained_ = false, pushed_ = false;
};

class SoftgpuSource : public Source {
 public:
  nvmlReturn_t open(std::vector<DeviceDescription>* devices) override {
    int count = 0;
    if (cuInit(0) != CUDA_SUCCESS || cuDeviceGetCount(&count) != CUDA_SUCCESS) {
      return NVML_ERROR_DRIVER_NOT_LOADED;
    }
    for (int ordinal = 0; ordinal < count; ++ordinal) {
      DeviceDescription description;
      CUdevice device = 0;
      char name[kNameBytes] = "", bus_id[kBusIdBytes] = "";
      CUuuid uuid{};
      if (cuDeviceGet(&device, ordinal) != CUDA_SUCCESS ||
          cuDeviceGetName(name, sizeof name, device) != CUDA_SUCCESS ||
          cuDeviceGetPCIBusId(bus_id, sizeof bus_id, device) != CUDA_SUCCESS ||
          cuDeviceGetUuid(&uuid, device) != CUDA_SUCCESS) {
        return NVML_ERROR_UNKNOWN;
      }
      description.ordinal = ordinal;
      description.name = name;
      description.pci_bus_id = bus_id;
      std::memcpy(description.uuid, uuid.bytes, sizeof description.uuid);
      description.compute_capability_major =
          attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
      description.compute_capability_minor =
          attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
      devices->push_back(std::move(description));
    }
    return NVML_SUCCESS;
  }

  int cuda_version() override {
    int version = 0;
    return cuDriverGetVersion(&version) == CUDA_SUCCESS ? version : 0;
  }

  nvmlReturn_t read(int ordinal, ReadingGroup group, Readings* readings) override {
    if (group != ReadingGroup::kQuick) return NVML_SUCCESS;  // there is no link
    const CUdevice device = ordinal;
    size_t total = 0;
    if (cuDeviceTotalMem(&total, device) != CUDA_SUCCESS) return NVML_ERROR_UNKNOWN;
    const size_t used = bytes_used(device);
    readings->set(Reading::kMemoryTotal, total);
    readings->set(Reading::kMemoryReserved, 0);
    readings->set(Reading::kMemoryFree, total - used);
    readings->set(Reading::kMemoryUsed, used);
    readings->set(
        Reading::kArchitecture,
        uint64_t(architecture(attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                              attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR))));
    readings->set(Reading::kMinorNumber, uint64_t(ordinal));
    readings->set(Reading::kComputeMode,
                  uint64_t(attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_MODE)));
    readings->set(Reading::kMultiGpuBoard, 0);
    readings->driver_version = FARCALL_SOFTGPU_VERSION;
    readings->nvml_version = FARCALL_SOFTGPU_VERSION;
    return NVML_SUCCESS;
  }

  nvmlReturn_t can_access_peer(int ordinal, int peer, bool* can) override {
    int answer = 0;
    if (cuDeviceCanAccessPeer(&answer, ordinal, peer) != CUDA_SUCCESS) return NVML_ERROR_UNKNOWN;
    *can = answer != 0;
    return NVML_SUCCESS;
  }

  uint64_t activity() override { return ++activity_; }  // asking again costs nothing

  bool uses(int ordinal, uint64_t* bytes) override {
    const ContextOf context(ordinal);
    *bytes = context.found() ? bytes_used(ordinal) : 0;
    return context.found();
  }

 private:
  // Of this process: others have devices of their own.
  static size_t bytes_used(CUdevice device) {
    const ContextOf context(device);
    size_t free = 0, total = 0;
    if (!context.found() || cuMemGetInfo(&free, &total) != CUDA_SUCCESS) return 0;
    return total - free;
  }

  std::atomic<uint64_t> activity_ = 0;
};

}  // namespace

Source& source() {
  static Source& source = *new SoftgpuSource;
  return source;
}

}  // namespace farcall::nvml
