// The least libcuda.so.1 on which NVIDIA's runtime starts and makes a context: two devices without
// any memory or kernels, this folder's tables, and CUDA_ERROR_NOT_SUPPORTED from every other export
// (weak definitions, generated). Only for handshake_test.cpp.
#include <cuda.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driverabi/loading_mode.h"
#include "driverabi/private_tables.h"
#include "driverabi/proc_address.h"

using namespace farcall::driverabi;

namespace {

constexpr int kVersion = CUDA_VERSION;
constexpr int kDevices = 2;
char g_contexts[kDevices];  // their addresses are the primary contexts' handles
thread_local CUcontext t_current = nullptr;

CUcontext primary(CUdevice device) { return reinterpret_cast<CUcontext>(&g_contexts[device]); }

CUuuid uuid_of(CUdevice device) {
  CUuuid uuid{};
  std::snprintf(uuid.bytes, sizeof uuid.bytes, "minimal %d", device);
  return uuid;
}

int bus_of(CUdevice device) { return 0x10 + device; }

// What the runtime is told and what the tables compute with differ if this is set: the runtime must
// notice.
bool lies() { return std::getenv("FARCALL_TEST_LYING_DRIVER") != nullptr; }

bool valid(CUdevice device) { return device >= 0 && device < kDevices; }

Hooks hooks() {
  Hooks hooks;
  hooks.driver_version = kVersion;
  hooks.primary_context = [](CUcontext* out, CUdevice device) {
    if (!valid(device)) return CUDA_ERROR_INVALID_DEVICE;
    *out = primary(device);
    return CUDA_SUCCESS;
  };
  hooks.current_context = [](CUcontext* out) {
    *out = t_current;
    return CUDA_SUCCESS;
  };
  hooks.context_device = [](CUcontext context, CUdevice* out) {
    *out = static_cast<CUdevice>(reinterpret_cast<char*>(context) - g_contexts);
    return CUDA_SUCCESS;
  };
  hooks.context_id = [](CUcontext, unsigned long long*) { return CUDA_ERROR_NOT_SUPPORTED; };
  hooks.stream_id = [](CUcontext, CUstream, unsigned long long*) {
    return CUDA_ERROR_NOT_SUPPORTED;
  };
  hooks.module_functions = [](CUmodule, std::span<CUfunction>, size_t*) {
    return CUDA_ERROR_NOT_SUPPORTED;
  };
  hooks.load_module = [](CUmodule*, const void*) { return CUDA_ERROR_NOT_SUPPORTED; };
  hooks.device_identities = [](std::span<DeviceIdentity> out) -> size_t {
    for (size_t i = 0; i < std::min<size_t>(out.size(), kDevices); ++i) {
      const auto device = static_cast<CUdevice>(i);
      out[i] = {.uuid = uuid_of(device),
                .pci_domain = 0,
                .pci_bus = bus_of(device) + lies(),
                .pci_device = 0};
    }
    return kDevices;
  };
  return hooks;
}

const bool g_ready = (set_hooks(hooks()), true);

}  // namespace

// The runtime asks for the elder ABI of some of these; cuda.h would rename them.
#define EXPORT extern "C" __attribute__((visibility("default"))) CUresult
#undef cuGetProcAddress
#undef cuDeviceGetUuid
#undef cuMemFree
#undef cuDevicePrimaryCtxRelease
#undef cuDevicePrimaryCtxReset
#undef cuCtxGetDevice

EXPORT cuGetProcAddress_v2(const char* symbol, void** out, int version, cuuint64_t flags,
                           CUdriverProcAddressQueryResult* status) {
  return get_proc_address(proc_table(), symbol, out, version, flags, status);
}
EXPORT cuGetExportTable(const void** out, const CUuuid* id) { return get_export_table(out, id); }
EXPORT cuInit(unsigned) { return g_ready ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED; }
EXPORT cuDriverGetVersion(int* out) { return *out = kVersion, CUDA_SUCCESS; }
EXPORT cuModuleGetLoadingMode(CUmoduleLoadingMode* out) {
  return *out = loading_mode(), CUDA_SUCCESS;
}
EXPORT cuDeviceGetCount(int* out) { return *out = kDevices, CUDA_SUCCESS; }
EXPORT cuDeviceGet(CUdevice* out, int ordinal) {
  return *out = ordinal, valid(ordinal) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
EXPORT cuDeviceGetName(char* out, int size, CUdevice device) {
  std::snprintf(out, static_cast<size_t>(size), "minimal device %d", device);
  return CUDA_SUCCESS;
}
EXPORT cuDeviceTotalMem_v2(size_t* out, CUdevice) { return *out = 1 << 20, CUDA_SUCCESS; }
EXPORT cuDeviceGetUuid(CUuuid* out, CUdevice device) {
  return *out = uuid_of(device), CUDA_SUCCESS;
}
EXPORT cuDeviceGetAttribute(int* out, CUdevice_attribute attribute, CUdevice device) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *out = 9;
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
      *out = bus_of(device);
      break;
    default:
      *out = 0;
  }
  return CUDA_SUCCESS;
}
EXPORT cuCtxGetCurrent(CUcontext* out) { return *out = t_current, CUDA_SUCCESS; }
EXPORT cuCtxSetCurrent(CUcontext context) { return t_current = context, CUDA_SUCCESS; }
EXPORT cuCtxGetDevice_v2(CUdevice* out, CUcontext context) {
  if (context == nullptr) context = t_current;
  return hooks().context_device(context, out);
}
EXPORT cuCtxGetDevice(CUdevice* out) { return cuCtxGetDevice_v2(out, nullptr); }
EXPORT cuCtxGetApiVersion(CUcontext, unsigned* out) { return *out = 3020, CUDA_SUCCESS; }
EXPORT cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice device) {
  return *out = primary(device), CUDA_SUCCESS;
}
EXPORT cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
EXPORT cuDevicePrimaryCtxReset(CUdevice device) {
  destroy_context_storage(primary(device));
  return CUDA_SUCCESS;
}
EXPORT cuMemFree_v2(CUdeviceptr pointer) {
  return pointer == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;  // there is no memory to free
}
