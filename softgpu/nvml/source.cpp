// NVML's facts about softgpu's devices, from softgpu's driver. A software device has no
// temperature, no power and no clocks: those readings are not there, and NVML says NOT_SUPPORTED.
#include "nvml/source.h"

#include <cuda.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "softgpu/driver/physical_devices.h"

namespace farcall::nvml {
namespace {

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
    if (cuInit(0) != CUDA_SUCCESS) return NVML_ERROR_DRIVER_NOT_LOADED;
    physical_.resize(farcallSoftgpuDevices(nullptr, 0));
    farcallSoftgpuDevices(physical_.data(), unsigned(physical_.size()));
    for (const FarcallSoftgpuDevice& from : physical_) {
      devices->push_back({.ordinal = from.ordinal,
                          .name = from.name,
                          .uuid = from.uuid,
                          .pci_bus_id = from.pci_bus_id,
                          .compute_capability_major = from.sm / 10,
                          .compute_capability_minor = from.sm % 10});
    }
    return NVML_SUCCESS;
  }

  int cuda_version() override {
    int version = 0;
    return cuDriverGetVersion(&version) == CUDA_SUCCESS ? version : 0;
  }

  nvmlReturn_t read(const DeviceDescription& device, ReadingGroup group,
                    Readings* readings) override {
    if (group != ReadingGroup::kQuick) return NVML_SUCCESS;  // there is no link
    const auto known = std::find_if(physical_.begin(), physical_.end(), [&](const auto& each) {
      return device.pci_bus_id == each.pci_bus_id;
    });
    if (known == physical_.end()) return NVML_ERROR_UNKNOWN;
    const size_t used = device.ordinal >= 0 ? bytes_used(device.ordinal) : 0;
    readings->set(Reading::kMemoryTotal, known->memory_bytes);
    readings->set(Reading::kMemoryReserved, 0);
    readings->set(Reading::kMemoryFree, known->memory_bytes - used);
    readings->set(Reading::kMemoryUsed, used);
    readings->set(Reading::kArchitecture, uint64_t(architecture(device.compute_capability_major,
                                                                device.compute_capability_minor)));
    readings->set(Reading::kMinorNumber, uint64_t(known - physical_.begin()));
    readings->set(Reading::kComputeMode, CU_COMPUTEMODE_DEFAULT);
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

  std::vector<FarcallSoftgpuDevice> physical_;  // filled once, before anything is read
  std::atomic<uint64_t> activity_ = 0;
};

}  // namespace

Source& source() {
  static Source& source = *new SoftgpuSource;
  return source;
}

}  // namespace farcall::nvml
