// What NVML tells about a device and does not follow from CUDA's own description of it: numbers
// that change (temperature, memory in use) and numbers that only the board knows (power limits).
// They travel and are cached by name. The ids are part of the protocol: never reused, only added
// to.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "nvml/nvml.h"

namespace farcall::nvml {

enum class Reading : uint16_t {
  kMemoryTotal = 1,
  kMemoryReserved = 2,
  kMemoryFree = 3,
  kMemoryUsed = 4,
  kBar1Total = 5,
  kBar1Free = 6,
  kBar1Used = 7,

  kGpuUtilization = 10,
  kMemoryUtilization = 11,
  kEncoderUtilization = 12,
  kEncoderPeriod = 13,  // microseconds
  kDecoderUtilization = 14,
  kDecoderPeriod = 15,
  kJpgUtilization = 16,
  kJpgPeriod = 17,
  kOfaUtilization = 18,
  kOfaPeriod = 19,

  // + nvmlClockType_t
  kClock = 20,
  kMaxClock = 24,
  kApplicationsClock = 28,
  kDefaultApplicationsClock = 32,
  kMaxBoostClock = 36,

  kTemperature = 40,
  kTemperatureThreshold = 41,  // + nvmlTemperatureThresholds_t, up to 48
  kFanSpeed = 50,
  kFans = 51,

  kPowerUsage = 60,
  kEnforcedPowerLimit = 61,
  kPowerLimit = 62,
  kDefaultPowerLimit = 63,
  kMinPowerLimit = 64,
  kMaxPowerLimit = 65,
  kPowerManagementMode = 66,
  kTotalEnergy = 67,
  kPerformanceState = 68,
  kClocksEventReasons = 69,
  kSupportedClocksEventReasons = 70,

  kPcieGeneration = 80,
  kPcieWidth = 81,
  kMaxPcieGeneration = 82,
  kMaxPcieWidth = 83,
  kGpuMaxPcieGeneration = 84,
  kPcieReplays = 85,
  kPcieTransmitted = 86,  // of kPcieThroughput
  kPcieReceived = 87,

  kPersistenceMode = 90,
  kComputeMode = 91,
  kEccMode = 92,
  kPendingEccMode = 93,
  kMigMode = 94,
  kPendingMigMode = 95,
  kDisplayMode = 96,
  kDisplayActive = 97,
  kAccountingMode = 98,

  kBrand = 100,
  kArchitecture = 101,
  kMinorNumber = 102,
  kBoardId = 103,
  kCores = 104,
  kMemoryBusWidth = 105,
  kMultiGpuBoard = 106,
  kPciDeviceId = 107,
  kPciSubSystemId = 108,
  kBusType = 109,

  // + nvmlMemoryErrorType_t + 2 * nvmlEccCounterType_t
  kEccErrors = 110,
};

constexpr Reading operator+(Reading first, unsigned offset) {
  return Reading(unsigned(first) + offset);
}

// What is read at once. Most readings cost microseconds; NVML watches the link for 20 ms.
enum class ReadingGroup : uint8_t { kQuick = 0, kPcieThroughput = 1 };

struct Readings {
  struct Value {
    nvmlReturn_t result = NVML_ERROR_NOT_SUPPORTED;
    uint64_t value = 0;
  };
  std::unordered_map<uint16_t, Value> values;  // by Reading; what is not there is not supported
  std::string serial, vbios_version, part_number, driver_version, nvml_version;

  void set(Reading reading, uint64_t value) { values[uint16_t(reading)] = {NVML_SUCCESS, value}; }
};

}  // namespace farcall::nvml
