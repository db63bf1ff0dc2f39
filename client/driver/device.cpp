// Devices of the driver API: everything is answered from the snapshot that came with the hello.
#include <cuda.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "client/driver_bodies.h"
#include "client/pci_bus_id.h"
#include "client/stub.h"

namespace farcall::client::driver {
namespace {

const DeviceInfo* device_info(Session& session, CUdevice device) {
  return device >= 0 && size_t(device) < session.devices().size()
             ? &session.devices()[size_t(device)]
             : nullptr;
}

int attribute_or(const DeviceInfo& info, CUdevice_attribute id, int otherwise) {
  const auto found = info.attributes.find(id);
  return found == info.attributes.end() ? otherwise : found->second;
}

}  // namespace

int cuInit(Session&, unsigned int Flags) {
  return Flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

int cuDriverGetVersion(Session& session, int* driverVersion) {
  if (driverVersion == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *driverVersion = session.driver_version();
  return CUDA_SUCCESS;
}

int cuDeviceGetCount(Session& session, int* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = int(session.devices().size());
  return CUDA_SUCCESS;
}

int cuDeviceGet(Session& session, CUdevice* device, int ordinal) {
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (device_info(session, ordinal) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

int cuDeviceGetName(Session& session, char* name, int len, CUdevice dev) {
  const DeviceInfo* info = device_info(session, dev);
  if (info == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (name == nullptr || len <= 0) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, size_t(len), "%s", info->name.c_str());
  return CUDA_SUCCESS;
}

int cuDeviceGetUuid(Session& session, CUuuid* uuid, CUdevice dev) {
  const DeviceInfo* info = device_info(session, dev);
  if (info == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(uuid->bytes, info->uuid, sizeof uuid->bytes);
  return CUDA_SUCCESS;
}

int cuDeviceGetUuid_v2(Session& session, CUuuid* uuid, CUdevice dev) {
  return cuDeviceGetUuid(session, uuid, dev);
}

int cuDeviceTotalMem_v2(Session& session, size_t* bytes, CUdevice dev) {
  const DeviceInfo* info = device_info(session, dev);
  if (info == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *bytes = info->total_memory;
  return CUDA_SUCCESS;
}

int cuDeviceGetAttribute(Session& session, int* pi, CUdevice_attribute attrib, CUdevice dev) {
  const DeviceInfo* info = device_info(session, dev);
  if (info == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (pi == nullptr || attrib <= 0 || attrib >= CU_DEVICE_ATTRIBUTE_MAX)
    return CUDA_ERROR_INVALID_VALUE;
  // An attribute that the server's driver does not know describes something the device cannot do.
  *pi = attribute_or(*info, attrib, 0);
  return CUDA_SUCCESS;
}

int cuDeviceComputeCapability(Session& session, int* major, int* minor, CUdevice dev) {
  const DeviceInfo* info = device_info(session, dev);
  if (info == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (major == nullptr || minor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *major = attribute_or(*info, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
  *minor = attribute_or(*info, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0);
  return CUDA_SUCCESS;
}

int cuDeviceGetPCIBusId(Session& session, char* pciBusId, int len, CUdevice dev) {
  const DeviceInfo* info = device_info(session, dev);
  if (info == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (pciBusId == nullptr || len <= 0) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(pciBusId, size_t(len), "%s", info->pci_bus_id.c_str());
  return CUDA_SUCCESS;
}

int cuDeviceGetByPCIBusId(Session& session, CUdevice* dev, const char* pciBusId) {
  if (dev == nullptr || pciBusId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return find_by_pci_bus_id(session, pciBusId, dev);
}

}  // namespace farcall::client::driver
