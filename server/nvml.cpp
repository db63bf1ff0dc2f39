#include "server/nvml.h"

#include <dlfcn.h>

#include <algorithm>

#include "base/log.h"
#include "nvml/functions.h"
#include "server/cuda_libraries.h"

namespace farcall::server {
namespace {

using nvml::Functions;
using nvml::Reading;
using nvml::Readings;

constexpr int kBusIdBytes = 32;

// Takes one device's readings.
class Taker {
 public:
  Taker(const Functions& functions, nvmlDevice_t device, Readings& out)
      : functions_(functions), device_(device), out_(out) {}

  // One number, which the arguments before it choose.
  template <class Number = unsigned, class... Arguments>
  void one(Reading reading, const char* name, Arguments... arguments) {
    Number value{};
    const nvmlReturn_t result = functions_.call(name, device_, arguments..., &value);
    note(reading, result, uint64_t(value));
  }
  void two(Reading first, Reading second, const char* name) {
    unsigned values[2] = {};
    const nvmlReturn_t result = functions_.call(name, device_, &values[0], &values[1]);
    note(first, result, values[0]);
    note(second, result, values[1]);
  }
  void of_each_clock(Reading first, const char* name) {
    for (unsigned type = 0; type < NVML_CLOCK_COUNT; ++type) one(first + type, name, type);
  }
  void text(std::string Readings::*member, const char* name, unsigned bytes) {
    char buffer[kTextBytes] = "";
    if (functions_.call(name, device_, &buffer[0], bytes) == NVML_SUCCESS) out_.*member = buffer;
  }
  void text_of_machine(std::string Readings::*member, const char* name) {
    char buffer[kTextBytes] = "";
    if (functions_.call(name, &buffer[0], kTextBytes) == NVML_SUCCESS) out_.*member = buffer;
  }

  void memory();
  void board();
  void now();

 private:
  static constexpr unsigned kTextBytes = 96;

  void note(Reading reading, nvmlReturn_t result, uint64_t value) {
    // A function that this library lacks tells of something that can't be had here.
    const bool lacks = result == NVML_ERROR_FUNCTION_NOT_FOUND;
    out_.values[uint16_t(reading)] = {lacks ? NVML_ERROR_NOT_SUPPORTED : result, value};
  }

  const Functions& functions_;
  const nvmlDevice_t device_;
  Readings& out_;
};

void Taker::memory() {
  nvmlMemory_v2_t memory{};
  memory.version = NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2);
  nvmlReturn_t result = functions_.call("nvmlDeviceGetMemoryInfo_v2", device_, &memory);
  if (result != NVML_SUCCESS) {  // an older library
    nvmlMemory_t first{};
    result = functions_.call("nvmlDeviceGetMemoryInfo", device_, &first);
    memory = {
        .version = 0, .total = first.total, .reserved = 0, .free = first.free, .used = first.used};
  }
  note(Reading::kMemoryTotal, result, memory.total);
  note(Reading::kMemoryReserved, result, memory.reserved);
  note(Reading::kMemoryFree, result, memory.free);
  note(Reading::kMemoryUsed, result, memory.used);

  nvmlBAR1Memory_t bar1{};
  result = functions_.call("nvmlDeviceGetBAR1MemoryInfo", device_, &bar1);
  note(Reading::kBar1Total, result, bar1.bar1Total);
  note(Reading::kBar1Free, result, bar1.bar1Free);
  note(Reading::kBar1Used, result, bar1.bar1Used);
}

// What does not change, or only when an administrator says so.
void Taker::board() {
  nvmlPciInfo_t pci{};
  const nvmlReturn_t result = functions_.call("nvmlDeviceGetPciInfo_v3", device_, &pci);
  note(Reading::kPciDeviceId, result, pci.pciDeviceId);
  note(Reading::kPciSubSystemId, result, pci.pciSubSystemId);
  one(Reading::kBusType, "nvmlDeviceGetBusType");
  one(Reading::kBrand, "nvmlDeviceGetBrand");
  one(Reading::kArchitecture, "nvmlDeviceGetArchitecture");
  one(Reading::kMinorNumber, "nvmlDeviceGetMinorNumber");
  one(Reading::kBoardId, "nvmlDeviceGetBoardId");
  one(Reading::kCores, "nvmlDeviceGetNumGpuCores");
  one(Reading::kMemoryBusWidth, "nvmlDeviceGetMemoryBusWidth");
  one(Reading::kMultiGpuBoard, "nvmlDeviceGetMultiGpuBoard");

  of_each_clock(Reading::kMaxClock, "nvmlDeviceGetMaxClockInfo");
  of_each_clock(Reading::kDefaultApplicationsClock, "nvmlDeviceGetDefaultApplicationsClock");
  of_each_clock(Reading::kMaxBoostClock, "nvmlDeviceGetMaxCustomerBoostClock");
  for (unsigned which = 0; which < NVML_TEMPERATURE_THRESHOLD_COUNT; ++which) {
    one(Reading::kTemperatureThreshold + which, "nvmlDeviceGetTemperatureThreshold", which);
  }
  one(Reading::kFans, "nvmlDeviceGetNumFans");
  one(Reading::kPowerLimit, "nvmlDeviceGetPowerManagementLimit");
  one(Reading::kDefaultPowerLimit, "nvmlDeviceGetPowerManagementDefaultLimit");
  two(Reading::kMinPowerLimit, Reading::kMaxPowerLimit,
      "nvmlDeviceGetPowerManagementLimitConstraints");
  one(Reading::kPowerManagementMode, "nvmlDeviceGetPowerManagementMode");
  one(Reading::kMaxPcieGeneration, "nvmlDeviceGetMaxPcieLinkGeneration");
  one(Reading::kGpuMaxPcieGeneration, "nvmlDeviceGetGpuMaxPcieLinkGeneration");
  one(Reading::kMaxPcieWidth, "nvmlDeviceGetMaxPcieLinkWidth");

  one(Reading::kPersistenceMode, "nvmlDeviceGetPersistenceMode");
  one(Reading::kComputeMode, "nvmlDeviceGetComputeMode");
  one(Reading::kDisplayMode, "nvmlDeviceGetDisplayMode");
  one(Reading::kDisplayActive, "nvmlDeviceGetDisplayActive");
  one(Reading::kAccountingMode, "nvmlDeviceGetAccountingMode");
  two(Reading::kEccMode, Reading::kPendingEccMode, "nvmlDeviceGetEccMode");
  two(Reading::kMigMode, Reading::kPendingMigMode, "nvmlDeviceGetMigMode");

  text(&Readings::serial, "nvmlDeviceGetSerial", NVML_DEVICE_SERIAL_BUFFER_SIZE);
  text(&Readings::vbios_version, "nvmlDeviceGetVbiosVersion",
       NVML_DEVICE_VBIOS_VERSION_BUFFER_SIZE);
  text(&Readings::part_number, "nvmlDeviceGetBoardPartNumber", NVML_DEVICE_PART_NUMBER_BUFFER_SIZE);
  text_of_machine(&Readings::driver_version, "nvmlSystemGetDriverVersion");
  text_of_machine(&Readings::nvml_version, "nvmlSystemGetNVMLVersion");
}

void Taker::now() {
  nvmlUtilization_t utilization{};
  const nvmlReturn_t result =
      functions_.call("nvmlDeviceGetUtilizationRates", device_, &utilization);
  note(Reading::kGpuUtilization, result, utilization.gpu);
  note(Reading::kMemoryUtilization, result, utilization.memory);
  two(Reading::kEncoderUtilization, Reading::kEncoderPeriod, "nvmlDeviceGetEncoderUtilization");
  two(Reading::kDecoderUtilization, Reading::kDecoderPeriod, "nvmlDeviceGetDecoderUtilization");
  two(Reading::kJpgUtilization, Reading::kJpgPeriod, "nvmlDeviceGetJpgUtilization");
  two(Reading::kOfaUtilization, Reading::kOfaPeriod, "nvmlDeviceGetOfaUtilization");

  of_each_clock(Reading::kClock, "nvmlDeviceGetClockInfo");
  of_each_clock(Reading::kApplicationsClock, "nvmlDeviceGetApplicationsClock");
  one(Reading::kTemperature, "nvmlDeviceGetTemperature", int{NVML_TEMPERATURE_GPU});
  one(Reading::kFanSpeed, "nvmlDeviceGetFanSpeed");
  one(Reading::kPowerUsage, "nvmlDeviceGetPowerUsage");
  one(Reading::kEnforcedPowerLimit, "nvmlDeviceGetEnforcedPowerLimit");
  one<unsigned long long>(Reading::kTotalEnergy, "nvmlDeviceGetTotalEnergyConsumption");
  one(Reading::kPerformanceState, "nvmlDeviceGetPerformanceState");
  // The old names of these two are in every library.
  one<unsigned long long>(Reading::kClocksEventReasons,
                          "nvmlDeviceGetCurrentClocksThrottleReasons");
  one<unsigned long long>(Reading::kSupportedClocksEventReasons,
                          "nvmlDeviceGetSupportedClocksThrottleReasons");
  one(Reading::kPcieGeneration, "nvmlDeviceGetCurrPcieLinkGeneration");
  one(Reading::kPcieWidth, "nvmlDeviceGetCurrPcieLinkWidth");
  one(Reading::kPcieReplays, "nvmlDeviceGetPcieReplayCounter");
  for (unsigned counter : {NVML_VOLATILE_ECC, NVML_AGGREGATE_ECC}) {
    for (unsigned type : {NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_MEMORY_ERROR_TYPE_UNCORRECTED}) {
      one<unsigned long long>(Reading::kEccErrors + (type + 2 * counter),
                              "nvmlDeviceGetTotalEccErrors", type, counter);
    }
  }
}

}  // namespace

nvmlReturn_t Nvml::load() {
  if (tried_) return problem_;
  tried_ = true;
  library_ = ::dlopen(setup_.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    log::warning("no NVML, clients are told so: {}", ::dlerror());
    return problem_ = NVML_ERROR_LIBRARY_NOT_FOUND;
  }
  if (loaded_our_stubs()) {
    log::warning("no NVML, clients are told so: {} is Farcall's own client library",
                 setup_.library);
    return problem_ = NVML_ERROR_LIBRARY_NOT_FOUND;
  }
  const Functions functions(library_);
  problem_ = functions.call("nvmlInit_v2");
  if (problem_ != NVML_SUCCESS) {
    log::warning("NVML does not start: {}", functions.error_string(problem_));
  }
  return problem_;
}

// Once. NVML and CUDA number devices differently; a PCI address is the same to both.
nvmlReturn_t Nvml::list() {
  if (!devices_.empty()) return NVML_SUCCESS;
  const Functions functions(library_);
  std::vector<nvmlDevice_t> handles;
  if (setup_.all_devices) {
    unsigned count = 0;
    if (const nvmlReturn_t result = functions.call("nvmlDeviceGetCount_v2", &count)) return result;
    for (unsigned index = 0; index < count; ++index) {
      nvmlDevice_t handle = nullptr;
      // A device that NVML can't open (another user's, a broken one) is none for us.
      if (functions.call("nvmlDeviceGetHandleByIndex_v2", index, &handle) == NVML_SUCCESS) {
        handles.push_back(handle);
      }
    }
  } else {
    int count = 0;
    driver_.cuDeviceGetCount(&count);
    for (CUdevice device = 0; device < count; ++device) {
      char bus_id[kBusIdBytes] = "";
      nvmlDevice_t handle = nullptr;
      if (driver_.cuDeviceGetPCIBusId != nullptr &&
          driver_.cuDeviceGetPCIBusId(bus_id, sizeof bus_id, device) == CUDA_SUCCESS &&
          functions.call("nvmlDeviceGetHandleByPciBusId_v2", &bus_id[0], &handle) == NVML_SUCCESS) {
        handles.push_back(handle);
      }
    }
  }
  for (const nvmlDevice_t handle : handles) {
    char name[NVML_DEVICE_NAME_V2_BUFFER_SIZE] = "", uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE] = "";
    nvmlPciInfo_t pci{};
    nvml::DeviceDescription device;
    if (functions.call("nvmlDeviceGetName", handle, &name[0], unsigned(sizeof name)) !=
            NVML_SUCCESS ||
        functions.call("nvmlDeviceGetUUID", handle, &uuid[0], unsigned(sizeof uuid)) !=
            NVML_SUCCESS ||
        functions.call("nvmlDeviceGetPciInfo_v3", handle, &pci) != NVML_SUCCESS) {
      continue;
    }
    functions.call("nvmlDeviceGetCudaComputeCapability", handle, &device.compute_capability_major,
                   &device.compute_capability_minor);
    device.name = name;
    device.uuid = uuid;
    device.pci_bus_id = pci.busId;
    devices_.push_back(std::move(device));
  }
  return NVML_SUCCESS;
}

nvmlReturn_t Nvml::devices(std::vector<nvml::DeviceDescription>* out) {
  const std::lock_guard guard(mutex_);
  if (const nvmlReturn_t result = load()) return result;
  if (const nvmlReturn_t result = list()) return result;
  *out = devices_;
  return NVML_SUCCESS;
}

nvmlReturn_t Nvml::read(const std::string& pci_bus_id, nvml::ReadingGroup group,
                        nvml::Readings* readings) {
  const std::lock_guard guard(mutex_);
  if (const nvmlReturn_t result = load()) return result;
  if (const nvmlReturn_t result = list()) return result;
  const bool known = std::any_of(devices_.begin(), devices_.end(), [&](const auto& device) {
    return device.pci_bus_id == pci_bus_id;
  });
  if (!known) return NVML_ERROR_NOT_FOUND;
  const Functions functions(library_);
  nvmlDevice_t device = nullptr;
  if (const nvmlReturn_t result =
          functions.call("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id.c_str(), &device)) {
    return result;
  }
  Taker taker(functions, device, *readings);
  if (group == nvml::ReadingGroup::kPcieThroughput) {
    taker.one(Reading::kPcieTransmitted, "nvmlDeviceGetPcieThroughput",
              int{NVML_PCIE_UTIL_TX_BYTES});
    taker.one(Reading::kPcieReceived, "nvmlDeviceGetPcieThroughput", int{NVML_PCIE_UTIL_RX_BYTES});
    return NVML_SUCCESS;
  }
  taker.memory();
  taker.board();
  taker.now();
  return NVML_SUCCESS;
}

}  // namespace farcall::server
