// cuGetExportTable: the undocumented function tables that NVIDIA's runtime and libraries expect of
// a libcuda.so.1. What each does is known from public sources and from watching calls arrive
// (docs/legal.md). A libcuda sets its Hooks once while it loads and forwards cuGetExportTable here.
// All state is leaked on purpose: the runtime calls back into these tables after static destructors
// have run. Every function may be called from any thread.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace farcall::driverabi {

struct DeviceIdentity {  // exactly what cuDeviceGetUuid and the PCI attributes answer
  CUuuid uuid;
  int32_t pci_domain, pci_bus, pci_device;
};

// What only the libcuda knows. All must be set; none may throw.
struct Hooks {
  int driver_version = 0;  // exactly what cuDriverGetVersion answers
  // The handle cuDevicePrimaryCtxRetain would return, without retaining; the same one across
  // resets.
  CUresult (*primary_context)(CUcontext* out, CUdevice device) = nullptr;
  CUresult (*current_context)(CUcontext* out) = nullptr;  // success and nullptr if there is none
  CUresult (*context_device)(CUcontext context, CUdevice* out) = nullptr;
  CUresult (*context_id)(CUcontext context, unsigned long long* out) = nullptr;  // cuCtxGetId
  CUresult (*stream_id)(CUcontext context, CUstream stream,
                        unsigned long long* out) = nullptr;  // cuStreamGetId
  // Every function of the module; may be called with `out` empty to learn the count.
  CUresult (*module_functions)(CUmodule module, std::span<CUfunction> out, size_t* count) = nullptr;
  // Runtimes before 12.0 load wrappers and containers this way; same meaning as cuModuleLoadData.
  CUresult (*load_module)(CUmodule* out, const void* code) = nullptr;
  // Fills `out` with as many devices as fit and returns how many devices there are.
  size_t (*device_identities)(std::span<DeviceIdentity> out) = nullptr;
};

void set_hooks(const Hooks& hooks);  // while the library loads, before anything else is called

// cuGetExportTable. A table we do not have gives CUDA_ERROR_INVALID_VALUE and *out = nullptr.
CUresult get_export_table(const void** out, const CUuuid* id);

// Context local storage: removes all that was stored for the context and runs the destructors that
// were given with it. Call it from cuDevicePrimaryCtxReset and cuCtxDestroy, before they return,
// with no lock held.
void destroy_context_storage(CUcontext context);

// From here on every table function that can fail returns CUDA_ERROR_DEINITIALIZED and takes no
// lock. Call it when the process exits and in the child of a fork.
void deinitialise();
bool deinitialised();

}  // namespace farcall::driverabi
