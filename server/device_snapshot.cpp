#include "server/device_snapshot.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace farcall::server {
namespace {

// Newer drivers know attributes that our headers don't; the client's may.
constexpr int kAttributesMax = 256;

int device_count(const CudaLibraries& cuda) {
  int count = 0;
  return cuda.driver().cuDeviceGetCount(&count) == CUDA_SUCCESS ? count : 0;
}

std::string device_name(const CudaLibraries& cuda, CUdevice device) {
  char name[256] = {};
  if (cuda.driver().cuDeviceGetName == nullptr ||
      cuda.driver().cuDeviceGetName(name, int(sizeof name) - 1, device) != CUDA_SUCCESS) {
    return "unnamed device";
  }
  return name;
}

int driver_version(const CudaLibraries& cuda) {
  int version = 0;
  cuda.driver().cuDriverGetVersion(&version);
  return version;
}

void fill_device(const DriverTable& driver, CUdevice device, rpc::schema::Device::Builder out) {
  CUuuid uuid = {};
  if (driver.cuDeviceGetUuid_v2 != nullptr) {
    driver.cuDeviceGetUuid_v2(&uuid, device);
  } else if (driver.cuDeviceGetUuid != nullptr) {
    driver.cuDeviceGetUuid(&uuid, device);
  }
  out.setUuid(kj::arrayPtr(reinterpret_cast<const kj::byte*>(uuid.bytes), sizeof uuid.bytes));

  size_t bytes = 0;
  if (driver.cuDeviceTotalMem_v2 != nullptr) driver.cuDeviceTotalMem_v2(&bytes, device);
  out.setTotalMemory(bytes);

  char pci[32] = {};
  if (driver.cuDeviceGetPCIBusId != nullptr) {
    driver.cuDeviceGetPCIBusId(pci, int(sizeof pci) - 1, device);
  }
  out.setPciBusId(pci);

  std::vector<std::pair<int, int>> known;
  if (driver.cuDeviceGetAttribute != nullptr) {
    for (int id = 1; id < kAttributesMax; ++id) {
      int value = 0;
      if (driver.cuDeviceGetAttribute(&value, CUdevice_attribute(id), device) == CUDA_SUCCESS) {
        known.emplace_back(id, value);
      }
    }
  }
  auto attributes = out.initAttributes(unsigned(known.size()));
  for (unsigned i = 0; i < known.size(); ++i) {
    attributes[i].setId(uint16_t(known[i].first));
    attributes[i].setValue(known[i].second);
  }
}

}  // namespace

std::string describe(const CudaLibraries& cuda) {
  const int count = device_count(cuda);
  const int version = driver_version(cuda);
  std::string text = fmt::format("{} {}, CUDA {}.{}", count, count == 1 ? "device" : "devices",
                                 version / 1000, version % 1000 / 10);
  for (int i = 0; i < count; ++i) {
    CUdevice device = 0;
    if (cuda.driver().cuDeviceGet(&device, i) != CUDA_SUCCESS) continue;
    text += fmt::format("{} {}", i == 0 ? ":" : ",", device_name(cuda, device));
  }
  return text;
}

void fill_snapshot(const CudaLibraries& cuda, rpc::schema::Accepted::Builder accepted) {
  accepted.setDriverVersion(driver_version(cuda));
  accepted.setRuntimeVersion(cuda.runtime_version());
  accepted.setRuntimeProblem(cuda.runtime_problem().c_str());
  accepted.setPtxOnly(cuda.is_softgpu());
  accepted.setDevice(describe(cuda).c_str());
  const int count = device_count(cuda);
  auto devices = accepted.initDevices(unsigned(count));
  for (int i = 0; i < count; ++i) {
    CUdevice device = 0;
    if (cuda.driver().cuDeviceGet(&device, i) != CUDA_SUCCESS) continue;
    devices[unsigned(i)].setName(device_name(cuda, device).c_str());
    fill_device(cuda.driver(), device, devices[unsigned(i)]);
  }
}

}  // namespace farcall::server
