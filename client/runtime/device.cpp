// Devices and errors of the runtime API. Choosing a device costs nothing; what is known of devices
// came with the hello.
#include <dlfcn.h>
#include <driver_types.h>

#include <cstdio>
#include <cstring>

#include "client/contexts.h"
#include "client/pci_bus_id.h"
#include "client/runtime_bodies.h"
#include "client/runtime_structs.h"
#include "client/stub.h"
#include "driverabi/error_names.h"
#include "rpc/schema/runtime_device.capnp.h"

namespace farcall::client::runtime {
namespace {

const DeviceInfo* device_info(Session& session, int device) {
  return device >= 0 && size_t(device) < session.devices().size()
             ? &session.devices()[size_t(device)]
             : nullptr;
}

int attribute_or(const DeviceInfo& info, int id, int otherwise) {
  const auto found = info.attributes.find(id);
  return found == info.attributes.end() ? otherwise : found->second;
}

}  // namespace

// --- Errors

cudaError_t cudaGetLastError() {
  ThreadState& thread = thread_state();
  const auto error = cudaError_t(thread.last_error);
  thread.last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return cudaError_t(thread_state().last_error); }

const char* cudaGetErrorName(cudaError_t error) {
  const char* name = driverabi::runtime_error_name(error);
  return name != nullptr ? name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  const char* text = driverabi::runtime_error_string(error);
  return text != nullptr ? text : "unrecognized error code";
}

// --- Values that need no device

cudaChannelFormatDesc cudaCreateChannelDesc(int x, int y, int z, int w, cudaChannelFormatKind f) {
  return {x, y, z, w, f};
}

// --- Versions

int cudaDriverGetVersion(Session& session, int* driverVersion) {
  if (driverVersion == nullptr) return cudaErrorInvalidValue;
  *driverVersion = session.driver_version();
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* runtimeVersion) {
  if (runtimeVersion == nullptr) return cudaErrorInvalidValue;
  *runtimeVersion = CUDART_VERSION;
  return cudaSuccess;
}

// --- Devices

int cudaGetDeviceCount(Session& session, int* count) {
  if (count == nullptr) return cudaErrorInvalidValue;
  *count = int(session.devices().size());
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

int cudaGetDeviceProperties(Session& session, cudaDeviceProp* prop, int device) {
  if (prop == nullptr) return cudaErrorInvalidValue;
  CachedCall call(session, rpc::Opcode::k_cudaGetDeviceProperties);
  call.args<rpc::schema::CudaGetDeviceProperties>().setDevice(device);
  rpc::Reply reply = call.wait();
  if (reply.own_result() == 0) {
    get(reply.results<rpc::schema::CudaGetDevicePropertiesResults>().getProp(), *prop);
    // As cudaDeviceGetAttribute says; see Session.
    prop->concurrentManagedAccess = 0;
    prop->pageableMemoryAccess = 0;
    prop->pageableMemoryAccessUsesHostPageTables = 0;
    prop->directManagedMemAccessFromHost = 0;
    prop->hostNativeAtomicSupported = 0;
  }
  return reply.result();
}

int cudaGetDevice(Session&, int* device) {
  if (device == nullptr) return cudaErrorInvalidValue;
  *device = thread_state().device;
  return cudaSuccess;
}

int cudaSetDevice(Session& session, int device) {
  if (device_info(session, device) == nullptr) return cudaErrorInvalidDevice;
  ThreadState& thread = thread_state();
  thread.device = device;
  thread.device_chosen = true;
  thread.lane.context = rpc::primary_context_id(device);
  contexts().touch_primary(device);
  return cudaSuccess;
}

// Threads that choose no device of their own get the list's first one.
int cudaSetValidDevices(Session& session, int* device_arr, int len) {
  if (len < 0 || size_t(len) > session.devices().size() || (len > 0 && device_arr == nullptr))
    return cudaErrorInvalidValue;
  for (int i = 0; i < len; ++i) {
    if (device_info(session, device_arr[i]) == nullptr) return cudaErrorInvalidDevice;
  }
  default_device().store(len == 0 ? 0 : device_arr[0], std::memory_order_relaxed);
  ThreadState& thread = thread_state();
  if (!thread.device_chosen) {
    thread.device = default_device().load(std::memory_order_relaxed);
    thread.lane.context = rpc::primary_context_id(thread.device);
  }
  return cudaSuccess;
}

int cudaInitDevice(Session& session, int device, unsigned int, unsigned int) {
  if (device_info(session, device) == nullptr) return cudaErrorInvalidDevice;
  contexts().touch_primary(device);
  return cudaSuccess;
}

int cudaDeviceGetAttribute(Session& session, int* value, cudaDeviceAttr attr, int device) {
  const DeviceInfo* info = device_info(session, device);
  if (info == nullptr) return cudaErrorInvalidDevice;
  if (value == nullptr || int(attr) <= 0 || int(attr) >= cudaDevAttrMax)
    return cudaErrorInvalidValue;
  *value = attribute_or(*info, int(attr), 0);  // the numbers are those of CUdevice_attribute
  return cudaSuccess;
}

int cudaDeviceGetPCIBusId(Session& session, char* pciBusId, int len, int device) {
  const DeviceInfo* info = device_info(session, device);
  if (info == nullptr) return cudaErrorInvalidDevice;
  if (pciBusId == nullptr || len <= 0) return cudaErrorInvalidValue;
  std::snprintf(pciBusId, size_t(len), "%s", info->pci_bus_id.c_str());
  return cudaSuccess;
}

int cudaDeviceGetByPCIBusId(Session& session, int* device, const char* pciBusId) {
  if (device == nullptr || pciBusId == nullptr) return cudaErrorInvalidValue;
  return find_by_pci_bus_id(session, pciBusId, device);
}

// The first device that has what the program asks for, else the first one: fields it leaves 0 don't
// matter.
int cudaChooseDevice(Session& session, int* device, const cudaDeviceProp* prop) {
  if (device == nullptr || prop == nullptr) return cudaErrorInvalidValue;
  if (session.devices().empty()) return cudaErrorNoDevice;
  *device = 0;
  for (size_t i = 0; i < session.devices().size(); ++i) {
    const DeviceInfo& info = session.devices()[i];
    const int major = attribute_or(info, cudaDevAttrComputeCapabilityMajor, 0);
    const int minor = attribute_or(info, cudaDevAttrComputeCapabilityMinor, 0);
    if (info.total_memory >= prop->totalGlobalMem &&
        (major > prop->major || (major == prop->major && minor >= prop->minor)) &&
        attribute_or(info, cudaDevAttrMultiProcessorCount, 0) >= prop->multiProcessorCount) {
      *device = int(i);
      return cudaSuccess;
    }
  }
  return cudaSuccess;
}

// How the program waits is decided by the client's own policy; the flags are kept and told back.
int cudaSetDeviceFlags(Session&, unsigned int flags) {
  if ((flags & ~unsigned(cudaDeviceMask)) != 0) return cudaErrorInvalidValue;
  contexts().set_primary_flags(thread_state().device, flags);
  return cudaSuccess;
}

int cudaGetDeviceFlags(Session&, unsigned int* flags) {
  if (flags == nullptr) return cudaErrorInvalidValue;
  *flags = contexts().primary(thread_state().device).flags;
  return cudaSuccess;
}

int cudaDeviceReset(Session& session) {
  const int result = reset_primary_context(session, thread_state().device, /*wait=*/true);
  thread_state().last_error = cudaSuccess;
  return result;
}

// --- The driver beneath

int cudaGetDriverEntryPointByVersion(Session&, const char* symbol, void** funcPtr,
                                     unsigned int cudaVersion, unsigned long long flags,
                                     cudaDriverEntryPointQueryResult* driverStatus,
                                     bool per_thread_default) {
  if (symbol == nullptr || funcPtr == nullptr) return cudaErrorInvalidValue;
  // Our own libcuda.so.1, which lies beside this library; opened only by programs that ask for it.
  static void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  using GetProcAddress =
      CUresult (*)(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);
  const auto get = driver == nullptr
                       ? nullptr
                       : reinterpret_cast<GetProcAddress>(::dlsym(driver, "cuGetProcAddress_v2"));
  if (get == nullptr) return cudaErrorInsufficientDriver;
  constexpr unsigned long long kStreamFlags =
      cudaEnableLegacyStream | cudaEnablePerThreadDefaultStream;
  if (per_thread_default && (flags & kStreamFlags) == 0) flags |= cudaEnablePerThreadDefaultStream;
  CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
  const CUresult result = get(symbol, funcPtr, int(cudaVersion), flags, &status);
  if (driverStatus != nullptr) *driverStatus = cudaDriverEntryPointQueryResult(status);
  return result == CUDA_ERROR_NOT_FOUND && driverStatus != nullptr ? int(cudaSuccess) : int(result);
}

int cudaGetDriverEntryPoint(Session& session, const char* symbol, void** funcPtr,
                            unsigned long long flags, cudaDriverEntryPointQueryResult* driverStatus,
                            bool per_thread_default) {
  return cudaGetDriverEntryPointByVersion(session, symbol, funcPtr, CUDART_VERSION, flags,
                                          driverStatus, per_thread_default);
}

}  // namespace farcall::client::runtime
