// NVML's functions over a source that the test steers: what is asked how often, and what becomes of
// answers that are missing, too large or refused.
#include "nvml/nvml.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "nvml/library.h"

extern "C" {
nvmlReturn_t nvmlInit_v2();
nvmlReturn_t nvmlShutdown();
const char* nvmlErrorString(nvmlReturn_t);
nvmlReturn_t nvmlSystemGetDriverVersion(char*, unsigned);
nvmlReturn_t nvmlSystemGetProcessName(unsigned, char*, unsigned);
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned*);
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned, nvmlDevice_t*);
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char*, nvmlDevice_t*);
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char*, nvmlDevice_t*);
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t, unsigned*);
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t, char*, unsigned);
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t, char*, unsigned);
nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t, nvmlPciInfo_v2_t*);
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t, nvmlPciInfo_t*);
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t, nvmlMemory_t*);
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t, nvmlMemory_v2_t*);
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t, int, unsigned*);
nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t, nvmlTemperature_v1_t*);
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t, unsigned*);
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t, unsigned, unsigned*);
nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t, unsigned*);
nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t, int, unsigned*);
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t, unsigned long long*);
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t, unsigned*, nvmlProcessInfo_t*);
nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t, nvmlDevice_t, int, int*);
nvmlReturn_t nvmlDeviceSetPersistenceMode();  // a stand-in: takes whatever it is given
}

namespace farcall::nvml {
namespace {

class FakeSource : public Source {
 public:
  nvmlReturn_t open(std::vector<DeviceDescription>* devices) override {
    if (refuses) return NVML_ERROR_DRIVER_NOT_LOADED;
    // CUDA's order is not NVML's.
    devices->push_back({.ordinal = 0,
                        .name = "far",
                        .uuid = "GPU-abcd0000-0000-0000-0000-000000000000",
                        .pci_bus_id = "0000:81:00.0",
                        .compute_capability_major = 9,
                        .compute_capability_minor = 0});
    devices->push_back(
        {.ordinal = 1, .name = "near", .uuid = "GPU-1", .pci_bus_id = "0000:02:1f.0"});
    return NVML_SUCCESS;
  }
  int cuda_version() override { return 13000; }
  nvmlReturn_t read(const DeviceDescription& device, ReadingGroup group, Readings* out) override {
    ++reads[size_t(group)];
    if (lost) return NVML_ERROR_GPU_IS_LOST;
    if (group == ReadingGroup::kPcieThroughput) {
      out->set(Reading::kPcieTransmitted, 7);
      out->set(Reading::kPcieReceived, 8);
      return NVML_SUCCESS;
    }
    out->set(Reading::kMemoryTotal, 1000);
    out->set(Reading::kMemoryReserved, 100);
    out->set(Reading::kMemoryFree, 600);
    out->set(Reading::kMemoryUsed, 300);
    out->set(Reading::kTemperature, device.ordinal == 0 ? 40 : 41);
    out->set(Reading::kClock + NVML_CLOCK_MEM, 1593);
    out->set(Reading::kPowerUsage, uint64_t{1} << 40);
    out->set(Reading::kTotalEnergy, uint64_t{1} << 40);
    out->values[uint16_t(Reading::kFanSpeed)] = {NVML_ERROR_NO_PERMISSION, 0};
    out->driver_version = "580.1";
    return NVML_SUCCESS;
  }
  nvmlReturn_t can_access_peer(int ordinal, int peer, bool* can) override {
    *can = ordinal == 0 && peer == 1;
    return NVML_SUCCESS;
  }
  uint64_t activity() override { return calls; }
  bool uses(int ordinal, uint64_t* bytes) override {
    *bytes = 4096;
    return ordinal == 0;
  }

  bool refuses = false, lost = false;
  int reads[2] = {};
  uint64_t calls = 0;
};

FakeSource fake;

class NvmlTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(nvmlInit_v2(), NVML_SUCCESS);
    ASSERT_EQ(nvmlDeviceGetHandleByIndex_v2(0, &near_), NVML_SUCCESS);
    ASSERT_EQ(nvmlDeviceGetHandleByIndex_v2(1, &far_), NVML_SUCCESS);
    ++fake.calls;  // nothing that an earlier test has read counts
  }
  void TearDown() override { EXPECT_EQ(nvmlShutdown(), NVML_SUCCESS); }

  nvmlDevice_t near_ = nullptr, far_ = nullptr;
};

TEST(NvmlInit, NothingWorksWithoutIt) {
  unsigned count = 0;
  nvmlDevice_t device = nullptr;
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
  EXPECT_EQ(nvmlDeviceGetHandleByIndex_v2(0, &device), NVML_ERROR_UNINITIALIZED);
  EXPECT_EQ(nvmlDeviceGetHandleByUUID(nullptr, nullptr), NVML_ERROR_UNINITIALIZED);
  EXPECT_EQ(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
}

TEST(NvmlInit, CountsAndCanBeTriedAgain) {
  fake.refuses = true;
  EXPECT_EQ(nvmlInit_v2(), NVML_ERROR_DRIVER_NOT_LOADED);
  fake.refuses = false;
  EXPECT_EQ(nvmlInit_v2(), NVML_SUCCESS);
  EXPECT_EQ(nvmlInit_v2(), NVML_SUCCESS);
  EXPECT_EQ(nvmlShutdown(), NVML_SUCCESS);
  unsigned count = 0;
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
  EXPECT_EQ(nvmlShutdown(), NVML_SUCCESS);
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
}

TEST_F(NvmlTest, DevicesComeInTheOrderOfTheirAddresses) {
  unsigned count = 0, index = 9;
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
  EXPECT_EQ(count, 2u);
  char name[NVML_DEVICE_NAME_V2_BUFFER_SIZE];
  EXPECT_EQ(nvmlDeviceGetName(near_, name, sizeof name), NVML_SUCCESS);
  EXPECT_STREQ(name, "near");
  EXPECT_EQ(nvmlDeviceGetIndex(far_, &index), NVML_SUCCESS);
  EXPECT_EQ(index, 1u);
  EXPECT_EQ(nvmlDeviceGetName(near_, name, 4), NVML_ERROR_INSUFFICIENT_SIZE);
  EXPECT_EQ(nvmlDeviceGetName(near_, nullptr, 4), NVML_ERROR_INVALID_ARGUMENT);
}

TEST_F(NvmlTest, DevicesAreFoundByWhatTheyAreCalled) {
  nvmlDevice_t found = nullptr;
  char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
  EXPECT_EQ(nvmlDeviceGetUUID(far_, uuid, sizeof uuid), NVML_SUCCESS);
  EXPECT_STREQ(uuid, "GPU-abcd0000-0000-0000-0000-000000000000");
  EXPECT_EQ(nvmlDeviceGetHandleByUUID(uuid, &found), NVML_SUCCESS);
  EXPECT_EQ(found, far_);
  EXPECT_EQ(nvmlDeviceGetHandleByUUID("GPU-2", &found), NVML_ERROR_NOT_FOUND);
  for (const char* address : {"0000:02:1f.0", "00000000:02:1F.0", "02:1f.0", "0:2:1f"}) {
    found = nullptr;
    EXPECT_EQ(nvmlDeviceGetHandleByPciBusId_v2(address, &found), NVML_SUCCESS) << address;
    EXPECT_EQ(found, near_);
  }
  EXPECT_EQ(nvmlDeviceGetHandleByPciBusId_v2("0000:03:00.0", &found), NVML_ERROR_NOT_FOUND);
  for (const char* address : {"", "GPU", "02:1f.0 ", "02"}) {
    EXPECT_EQ(nvmlDeviceGetHandleByPciBusId_v2(address, &found), NVML_ERROR_INVALID_ARGUMENT);
  }
  nvmlPciInfo_t pci;
  EXPECT_EQ(nvmlDeviceGetPciInfo_v3(near_, &pci), NVML_SUCCESS);
  EXPECT_STREQ(pci.busId, "00000000:02:1F.0");
  EXPECT_STREQ(pci.busIdLegacy, "0000:02:1F.0");
  EXPECT_EQ(pci.bus, 2u);
  nvmlPciInfo_v2_t older;
  EXPECT_EQ(nvmlDeviceGetPciInfo(near_, &older), NVML_SUCCESS);
  EXPECT_STREQ(older.busId, "0000:02:1F.0");
}

TEST_F(NvmlTest, ABurstOfQuestionsIsOneReading) {
  const int before = fake.reads[0];
  nvmlMemory_t memory;
  unsigned value = 0;
  EXPECT_EQ(nvmlDeviceGetMemoryInfo(near_, &memory), NVML_SUCCESS);
  EXPECT_EQ(nvmlDeviceGetTemperature(near_, NVML_TEMPERATURE_GPU, &value), NVML_SUCCESS);
  EXPECT_EQ(value, 41u);
  EXPECT_EQ(nvmlDeviceGetClockInfo(near_, NVML_CLOCK_MEM, &value), NVML_SUCCESS);
  EXPECT_EQ(value, 1593u);
  EXPECT_EQ(fake.reads[0] - before, 1);
  ++fake.calls;  // the program did something in between
  EXPECT_EQ(nvmlDeviceGetMemoryInfo(near_, &memory), NVML_SUCCESS);
  EXPECT_EQ(fake.reads[0] - before, 2);
  ::usleep(20000);
  EXPECT_EQ(nvmlDeviceGetMemoryInfo(near_, &memory), NVML_SUCCESS);
  EXPECT_EQ(fake.reads[0] - before, 3);
  // The other device is another question, and so is the link.
  EXPECT_EQ(nvmlDeviceGetTemperature(far_, NVML_TEMPERATURE_GPU, &value), NVML_SUCCESS);
  EXPECT_EQ(value, 40u);
  EXPECT_EQ(fake.reads[0] - before, 4);
  const int of_link = fake.reads[1];
  EXPECT_EQ(nvmlDeviceGetPcieThroughput(far_, NVML_PCIE_UTIL_RX_BYTES, &value), NVML_SUCCESS);
  EXPECT_EQ(value, 8u);
  EXPECT_EQ(fake.reads[1] - of_link, 1);
}

TEST_F(NvmlTest, MemoryIsTotalReservedFreeAndUsed) {
  nvmlMemory_t memory;
  EXPECT_EQ(nvmlDeviceGetMemoryInfo(near_, &memory), NVML_SUCCESS);
  EXPECT_EQ(memory.used, 400u);  // with what is reserved
  nvmlMemory_v2_t more{};
  EXPECT_EQ(nvmlDeviceGetMemoryInfo_v2(near_, &more), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  more.version = NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2);
  EXPECT_EQ(nvmlDeviceGetMemoryInfo_v2(near_, &more), NVML_SUCCESS);
  EXPECT_EQ(more.total, more.reserved + more.free + more.used);
}

TEST_F(NvmlTest, WhatIsMissingIsSaid) {
  unsigned value = 0;
  unsigned long long wide = 0;
  EXPECT_EQ(nvmlDeviceGetClockInfo(near_, NVML_CLOCK_SM, &value), NVML_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(nvmlDeviceGetClockInfo(near_, NVML_CLOCK_COUNT, &value), NVML_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(nvmlDeviceGetFanSpeed(near_, &value), NVML_ERROR_NO_PERMISSION);
  EXPECT_EQ(nvmlDeviceGetPowerUsage(near_, &value), NVML_ERROR_UNKNOWN);  // does not fit
  EXPECT_EQ(nvmlDeviceGetTotalEnergyConsumption(near_, &wide), NVML_SUCCESS);
  EXPECT_EQ(wide, 1ull << 40);
  EXPECT_EQ(nvmlDeviceGetPowerUsage(near_, nullptr), NVML_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(nvmlDeviceSetPersistenceMode(), NVML_ERROR_NOT_SUPPORTED);
  char text[NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE];
  EXPECT_EQ(nvmlSystemGetDriverVersion(text, sizeof text), NVML_SUCCESS);
  EXPECT_STREQ(text, "580.1");
  nvmlTemperature_v1_t temperature{
      .version = NVML_STRUCT_VERSION(nvmlTemperature_v1_t, 1), .sensorType = 0, .temperature = 0};
  EXPECT_EQ(nvmlDeviceGetTemperatureV(far_, &temperature), NVML_SUCCESS);
  EXPECT_EQ(temperature.temperature, 40);
}

TEST_F(NvmlTest, AHandleThatIsNoneIsRefused) {
  nvmlDevice_st stranger;
  unsigned value = 0;
  EXPECT_EQ(nvmlDeviceGetFanSpeed(nullptr, &value), NVML_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(nvmlDeviceGetFanSpeed(&stranger, &value), NVML_ERROR_INVALID_ARGUMENT);
}

TEST_F(NvmlTest, ALostDeviceIsLost) {
  fake.lost = true;
  unsigned value = 0;
  EXPECT_EQ(nvmlDeviceGetTemperature(near_, NVML_TEMPERATURE_GPU, &value), NVML_ERROR_GPU_IS_LOST);
  fake.lost = false;
  EXPECT_EQ(nvmlDeviceGetTemperature(near_, NVML_TEMPERATURE_GPU, &value), NVML_SUCCESS);
}

TEST_F(NvmlTest, AProgramSeesItself) {
  nvmlProcessInfo_t process{};
  unsigned count = 0;
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(far_, &count, nullptr),
            NVML_ERROR_INSUFFICIENT_SIZE);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(far_, &count, &process), NVML_SUCCESS);
  EXPECT_EQ(process.pid, unsigned(::getpid()));
  EXPECT_EQ(process.usedGpuMemory, 4096u);
  count = 1;
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(near_, &count, &process), NVML_SUCCESS);
  EXPECT_EQ(count, 0u);
  char name[8];
  EXPECT_EQ(nvmlSystemGetProcessName(unsigned(::getpid()), name, sizeof name), NVML_SUCCESS);
  EXPECT_EQ(std::strlen(name), sizeof name - 1);  // cut
  EXPECT_EQ(nvmlSystemGetProcessName(0, name, sizeof name), NVML_ERROR_NOT_FOUND);
}

TEST_F(NvmlTest, PeersAreAskedOfCuda) {
  int status = -1;
  EXPECT_EQ(nvmlDeviceGetP2PStatus(far_, near_, NVML_P2P_CAPS_INDEX_READ, &status), NVML_SUCCESS);
  EXPECT_EQ(status, NVML_P2P_STATUS_OK);
  EXPECT_EQ(nvmlDeviceGetP2PStatus(near_, far_, NVML_P2P_CAPS_INDEX_READ, &status), NVML_SUCCESS);
  EXPECT_EQ(status, NVML_P2P_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(nvmlDeviceGetP2PStatus(near_, far_, NVML_P2P_CAPS_INDEX_NVLINK, &status),
            NVML_ERROR_NOT_SUPPORTED);
}

TEST(NvmlErrors, HaveTexts) {
  EXPECT_STREQ(nvmlErrorString(NVML_ERROR_NOT_SUPPORTED), "Not Supported");
  EXPECT_STREQ(nvmlErrorString(nvmlReturn_t(77)), "Unknown Error");
}

}  // namespace

Source& source() { return fake; }

}  // namespace farcall::nvml
