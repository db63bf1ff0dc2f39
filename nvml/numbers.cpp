// Everything that is a number of the device: memory, utilisation, clocks, temperature, power, link,
// modes. Which ones a device has its source knows (readings.h); the others are NOT_SUPPORTED.
#include "nvml/library.h"

using namespace farcall::nvml;

// --- Memory

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device,
                                                         nvmlMemory_t* memory) {
  unsigned long long values[3];
  if (memory == nullptr) return bad_argument();
  if (const nvmlReturn_t result = read(
          device, {Reading::kMemoryTotal, Reading::kMemoryFree, Reading::kMemoryUsed}, values)) {
    return result;
  }
  // The first version of this call knew nothing of reserved memory and counts it as used.
  *memory = {.total = values[0], .free = values[1], .used = values[0] - values[1]};
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device,
                                                            nvmlMemory_v2_t* memory) {
  unsigned long long values[4];
  if (memory == nullptr) return bad_argument();
  if (memory->version != NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2)) {
    return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
  }
  if (const nvmlReturn_t result = read(device,
                                       {Reading::kMemoryTotal, Reading::kMemoryReserved,
                                        Reading::kMemoryFree, Reading::kMemoryUsed},
                                       values)) {
    return result;
  }
  *memory = {.version = memory->version,
             .total = values[0],
             .reserved = values[1],
             .free = values[2],
             .used = values[3]};
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device,
                                                             nvmlBAR1Memory_t* memory) {
  unsigned long long values[3];
  if (memory == nullptr) return bad_argument();
  if (const nvmlReturn_t result =
          read(device, {Reading::kBar1Total, Reading::kBar1Free, Reading::kBar1Used}, values)) {
    return result;
  }
  *memory = {.bar1Total = values[0], .bar1Free = values[1], .bar1Used = values[2]};
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t device, unsigned* bits) {
  return read(device, Reading::kMemoryBusWidth, bits);
}

// --- Utilisation

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device,
                                                               nvmlUtilization_t* utilization) {
  unsigned long long values[2];
  if (utilization == nullptr) return bad_argument();
  if (const nvmlReturn_t result =
          read(device, {Reading::kGpuUtilization, Reading::kMemoryUtilization}, values)) {
    return result;
  }
  *utilization = {.gpu = unsigned(values[0]), .memory = unsigned(values[1])};
  return NVML_SUCCESS;
}

// Percent, and over how many microseconds.
static nvmlReturn_t read_engine(nvmlDevice_t device, Reading percent, Reading period,
                                unsigned* utilization, unsigned* sampled) {
  unsigned long long values[2];
  if (utilization == nullptr || sampled == nullptr) return bad_argument();
  if (const nvmlReturn_t result = read(device, {percent, period}, values)) return result;
  *utilization = unsigned(values[0]);
  *sampled = unsigned(values[1]);
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device,
                                                                 unsigned* utilization,
                                                                 unsigned* period) {
  return read_engine(device, Reading::kEncoderUtilization, Reading::kEncoderPeriod, utilization,
                     period);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device,
                                                                 unsigned* utilization,
                                                                 unsigned* period) {
  return read_engine(device, Reading::kDecoderUtilization, Reading::kDecoderPeriod, utilization,
                     period);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetJpgUtilization(nvmlDevice_t device,
                                                             unsigned* utilization,
                                                             unsigned* period) {
  return read_engine(device, Reading::kJpgUtilization, Reading::kJpgPeriod, utilization, period);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetOfaUtilization(nvmlDevice_t device,
                                                             unsigned* utilization,
                                                             unsigned* period) {
  return read_engine(device, Reading::kOfaUtilization, Reading::kOfaPeriod, utilization, period);
}

// --- Clocks

static nvmlReturn_t read_clock(nvmlDevice_t device, Reading first, unsigned type, unsigned* mhz) {
  if (type >= NVML_CLOCK_COUNT) return bad_argument();
  return read(device, first + type, mhz);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned type,
                                                        unsigned* mhz) {
  return read_clock(device, Reading::kClock, type, mhz);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned type,
                                                           unsigned* mhz) {
  return read_clock(device, Reading::kMaxClock, type, mhz);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, unsigned type,
                                                                unsigned* mhz) {
  return read_clock(device, Reading::kApplicationsClock, type, mhz);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetDefaultApplicationsClock(nvmlDevice_t device,
                                                                       unsigned type,
                                                                       unsigned* mhz) {
  return read_clock(device, Reading::kDefaultApplicationsClock, type, mhz);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxCustomerBoostClock(nvmlDevice_t device,
                                                                    unsigned type, unsigned* mhz) {
  return read_clock(device, Reading::kMaxBoostClock, type, mhz);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, unsigned type, int id,
                                                    unsigned* mhz) {
  switch (id) {
    case NVML_CLOCK_ID_CURRENT:
      return read_clock(device, Reading::kClock, type, mhz);
    case NVML_CLOCK_ID_APP_CLOCK_TARGET:
      return read_clock(device, Reading::kApplicationsClock, type, mhz);
    case NVML_CLOCK_ID_APP_CLOCK_DEFAULT:
      return read_clock(device, Reading::kDefaultApplicationsClock, type, mhz);
    case NVML_CLOCK_ID_CUSTOMER_BOOST_MAX:
      return read_clock(device, Reading::kMaxBoostClock, type, mhz);
    default:
      return bad_argument();
  }
}
FARCALL_NVML_EXPORT nvmlReturn_t
nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long* reasons) {
  return read(device, Reading::kClocksEventReasons, reasons);
}
FARCALL_NVML_EXPORT nvmlReturn_t
nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long* reasons) {
  return read(device, Reading::kClocksEventReasons, reasons);
}
FARCALL_NVML_EXPORT nvmlReturn_t
nvmlDeviceGetSupportedClocksEventReasons(nvmlDevice_t device, unsigned long long* reasons) {
  return read(device, Reading::kSupportedClocksEventReasons, reasons);
}
FARCALL_NVML_EXPORT nvmlReturn_t
nvmlDeviceGetSupportedClocksThrottleReasons(nvmlDevice_t device, unsigned long long* reasons) {
  return read(device, Reading::kSupportedClocksEventReasons, reasons);
}

// --- Temperature and fans

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor,
                                                          unsigned* celsius) {
  if (sensor != NVML_TEMPERATURE_GPU) return bad_argument();
  return read(device, Reading::kTemperature, celsius);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device,
                                                           nvmlTemperature_v1_t* temperature) {
  if (temperature == nullptr) return bad_argument();
  if (temperature->version != NVML_STRUCT_VERSION(nvmlTemperature_v1_t, 1)) {
    return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
  }
  unsigned celsius = 0;
  if (const nvmlReturn_t result =
          nvmlDeviceGetTemperature(device, temperature->sensorType, &celsius)) {
    return result;
  }
  temperature->temperature = int(celsius);
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device,
                                                                   unsigned which,
                                                                   unsigned* celsius) {
  if (which >= NVML_TEMPERATURE_THRESHOLD_COUNT) return bad_argument();
  return read(device, Reading::kTemperatureThreshold + which, celsius);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned* percent) {
  return read(device, Reading::kFanSpeed, percent);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetNumFans(nvmlDevice_t device, unsigned* count) {
  return read(device, Reading::kFans, count);
}

// --- Power

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device,
                                                         unsigned* milliwatts) {
  return read(device, Reading::kPowerUsage, milliwatts);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device,
                                                                 unsigned* milliwatts) {
  return read(device, Reading::kEnforcedPowerLimit, milliwatts);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t device,
                                                                   unsigned* milliwatts) {
  return read(device, Reading::kPowerLimit, milliwatts);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementDefaultLimit(nvmlDevice_t device,
                                                                          unsigned* milliwatts) {
  return read(device, Reading::kDefaultPowerLimit, milliwatts);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(
    nvmlDevice_t device, unsigned* milliwatts_min, unsigned* milliwatts_max) {
  unsigned long long values[2];
  if (milliwatts_min == nullptr || milliwatts_max == nullptr) return bad_argument();
  if (const nvmlReturn_t result =
          read(device, {Reading::kMinPowerLimit, Reading::kMaxPowerLimit}, values)) {
    return result;
  }
  *milliwatts_min = unsigned(values[0]);
  *milliwatts_max = unsigned(values[1]);
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementMode(nvmlDevice_t device, int* mode) {
  return read(device, Reading::kPowerManagementMode, mode);
}
FARCALL_NVML_EXPORT nvmlReturn_t
nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long* millijoules) {
  return read(device, Reading::kTotalEnergy, millijoules);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlDevice_t device, int* state) {
  return read(device, Reading::kPerformanceState, state);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPowerState(nvmlDevice_t device, int* state) {
  return read(device, Reading::kPerformanceState, state);
}

// --- Link

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t device,
                                                                     unsigned* generation) {
  return read(device, Reading::kPcieGeneration, generation);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t device,
                                                                unsigned* lanes) {
  return read(device, Reading::kPcieWidth, lanes);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t device,
                                                                    unsigned* generation) {
  return read(device, Reading::kMaxPcieGeneration, generation);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetGpuMaxPcieLinkGeneration(nvmlDevice_t device,
                                                                       unsigned* generation) {
  return read(device, Reading::kGpuMaxPcieGeneration, generation);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t device,
                                                               unsigned* lanes) {
  return read(device, Reading::kMaxPcieWidth, lanes);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t device,
                                                                unsigned* count) {
  return read(device, Reading::kPcieReplays, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, int counter,
                                                             unsigned* kilobytes) {
  if (counter == NVML_PCIE_UTIL_TX_BYTES) return read(device, Reading::kPcieTransmitted, kilobytes);
  if (counter == NVML_PCIE_UTIL_RX_BYTES) return read(device, Reading::kPcieReceived, kilobytes);
  return bad_argument();
}

// --- Modes

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, int* mode) {
  return read(device, Reading::kPersistenceMode, mode);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, int* mode) {
  return read(device, Reading::kComputeMode, mode);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetDisplayMode(nvmlDevice_t device, int* mode) {
  return read(device, Reading::kDisplayMode, mode);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetDisplayActive(nvmlDevice_t device, int* active) {
  return read(device, Reading::kDisplayActive, active);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlDevice_t device, int* mode) {
  return read(device, Reading::kAccountingMode, mode);
}
static nvmlReturn_t read_modes(nvmlDevice_t device, Reading now, Reading then, unsigned* current,
                               unsigned* pending) {
  unsigned long long values[2];
  if (current == nullptr || pending == nullptr) return bad_argument();
  if (const nvmlReturn_t result = read(device, {now, then}, values)) return result;
  *current = unsigned(values[0]);
  *pending = unsigned(values[1]);
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned* current,
                                                      unsigned* pending) {
  return read_modes(device, Reading::kEccMode, Reading::kPendingEccMode, current, pending);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned* current,
                                                      unsigned* pending) {
  return read_modes(device, Reading::kMigMode, Reading::kPendingMigMode, current, pending);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned type,
                                                             unsigned counter,
                                                             unsigned long long* count) {
  if (type > NVML_MEMORY_ERROR_TYPE_UNCORRECTED || counter > NVML_AGGREGATE_ECC)
    return bad_argument();
  return read(device, Reading::kEccErrors + (type + 2 * counter), count);
}

// --- The board

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, int* brand) {
  return read(device, Reading::kBrand, brand);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device,
                                                           unsigned* architecture) {
  return read(device, Reading::kArchitecture, architecture);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned* number) {
  return read(device, Reading::kMinorNumber, number);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetBoardId(nvmlDevice_t device, unsigned* id) {
  return read(device, Reading::kBoardId, id);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t device, unsigned* count) {
  return read(device, Reading::kCores, count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMultiGpuBoard(nvmlDevice_t device, unsigned* is) {
  return read(device, Reading::kMultiGpuBoard, is);
}
