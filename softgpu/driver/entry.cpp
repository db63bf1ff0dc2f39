// The front door: cuInit, what the driver says of itself, and how programs and NVIDIA's runtime
// find the rest.
#include <cstring>

#include "driverabi/error_names.h"
#include "driverabi/private_tables.h"
#include "driverabi/proc_address.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/stream.h"

// How the remoting worker, and anybody else, tells this driver from NVIDIA's.
extern "C" __attribute__((visibility("default"))) const char* farcallSoftgpuVersion() {
  return FARCALL_SOFTGPU_VERSION;
}

namespace farcall::softgpu {
namespace {

// What the private tables ask of a driver. They may be called before cuInit(), and from threads
// that never made a CUDA call; none of these throws.

bool initialised() { return Driver::get() != nullptr; }

CUresult hook_primary_context(CUcontext* out, CUdevice ordinal) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  *out = device->primary()->handle();
  return CUDA_SUCCESS;
}

CUresult hook_current_context(CUcontext* out) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  return api::cuCtxGetCurrent(out);
}

CUresult hook_context_device(CUcontext context, CUdevice* out) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  return api::cuCtxGetDevice_v2(out, context);
}

CUresult hook_context_id(CUcontext context, unsigned long long* out) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  return api::cuCtxGetId(context, out);
}

CUresult hook_stream_id(CUcontext, CUstream stream, unsigned long long* out) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  return api::cuStreamGetId(stream, out);
}

CUresult hook_module_functions(CUmodule handle, std::span<CUfunction> out, size_t* count) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  unsigned available = 0;
  if (CUresult error = api::cuModuleGetFunctionCount(&available, handle)) return error;
  *count = available;
  if (out.empty()) return CUDA_SUCCESS;
  return api::cuModuleEnumerateFunctions(out.data(), static_cast<unsigned>(out.size()), handle);
}

CUresult hook_load_module(CUmodule* out, const void* code) {
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  return api::cuModuleLoadData(out, code);
}

size_t hook_device_identities(std::span<driverabi::DeviceIdentity> out) {
  if (!initialised()) return 0;
  const size_t count = static_cast<size_t>(driver().device_count());
  for (size_t i = 0; i < std::min(count, out.size()); ++i) {
    const Device& device = *driver().device(static_cast<CUdevice>(i));
    out[i] = {device.uuid, Device::kPciDomain, device.pci_bus(), Device::kPciDevice};
  }
  return count;
}

void provide_hooks() {
  static const bool once = [] {
    driverabi::Hooks hooks;
    hooks.driver_version = kDriverVersion;
    hooks.primary_context = hook_primary_context;
    hooks.current_context = hook_current_context;
    hooks.context_device = hook_context_device;
    hooks.context_id = hook_context_id;
    hooks.stream_id = hook_stream_id;
    hooks.module_functions = hook_module_functions;
    hooks.load_module = hook_load_module;
    hooks.device_identities = hook_device_identities;
    driverabi::set_hooks(hooks);
    return true;
  }();
  (void)once;
}

}  // namespace

CUresult api::cuInit(unsigned flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  provide_hooks();
  return Driver::initialise();
}

CUresult api::cuDriverGetVersion(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = kDriverVersion;
  return CUDA_SUCCESS;
}

CUresult api::cuGetErrorName(CUresult result, const char** out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return driverabi::get_error_name(result, out);
}
CUresult api::cuGetErrorString(CUresult result, const char** out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return driverabi::get_error_string(result, out);
}

CUresult api::cuGetProcAddress_v2(const char* symbol, void** pointer, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult* status) {
  return driverabi::get_proc_address(driverabi::proc_table(), symbol, pointer, version, flags,
                                     status);
}
CUresult api::cuGetProcAddress(const char* symbol, void** pointer, int version, cuuint64_t flags) {
  return api::cuGetProcAddress_v2(symbol, pointer, version, flags, nullptr);
}

CUresult api::cuGetExportTable(const void** out, const CUuuid* id) {
  provide_hooks();
  return driverabi::get_export_table(out, id);
}

// Nothing collects profiles, so starting and stopping has no effect to miss.
CUresult api::cuProfilerStart() { return CUDA_SUCCESS; }
CUresult api::cuProfilerStop() { return CUDA_SUCCESS; }

}  // namespace farcall::softgpu
