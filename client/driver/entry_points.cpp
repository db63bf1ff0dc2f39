// How programs find the rest of the driver: cuGetProcAddress, NVIDIA's private tables and the names
// of errors. None of it needs a server. See driverabi/.
#include <cuda.h>

#include <cstring>

#include "client/contexts.h"
#include "client/driver_bodies.h"
#include "client/module.h"
#include "client/stub.h"
#include "driverabi/error_names.h"
#include "driverabi/private_tables.h"
#include "driverabi/proc_address.h"

namespace farcall::client::driver {
namespace {

// The private tables ask these; each answers from what the client holds.
int attribute(const DeviceInfo& info, CUdevice_attribute id) {
  const auto found = info.attributes.find(id);
  return found == info.attributes.end() ? 0 : found->second;
}

CUresult primary_context(CUcontext* out, CUdevice device) {
  *out = handle_from<CUcontext>(rpc::primary_context_id(device));
  return CUDA_SUCCESS;
}

CUresult current_context(CUcontext* out) {
  *out = handle_from<CUcontext>(thread_state().lane.context);
  return CUDA_SUCCESS;
}

CUresult context_device(CUcontext context, CUdevice* out) {
  int error = 0;
  Session* session = client::session(&error);
  if (session == nullptr) return CUresult(error);
  const auto device = contexts().device(
      *session, context == nullptr ? thread_state().lane.context : id_of(context));
  if (!device) return CUDA_ERROR_INVALID_CONTEXT;
  *out = *device;
  return CUDA_SUCCESS;
}

CUresult context_id(CUcontext context, unsigned long long* out) {
  *out = context == nullptr ? thread_state().lane.context : id_of(context);
  return CUDA_SUCCESS;
}

CUresult stream_identity(CUcontext, CUstream stream, unsigned long long* out) {
  *out = id_of(stream);
  return CUDA_SUCCESS;
}

CUresult module_functions(CUmodule handle, std::span<CUfunction> out, size_t* count) {
  int error = 0;
  Session* session = client::session(&error);
  if (session == nullptr) return CUresult(error);
  Module* module = Module::find(id_of(handle));
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *count = module->symbols().kernels.size();
  size_t next = 0;
  for (const auto& [name, layout] : module->symbols().kernels) {
    if (next == out.size()) break;
    Kernel* kernel = nullptr;
    if (const int failed = module->kernel(*session, name, &kernel)) return CUresult(failed);
    out[next++] = handle_from<CUfunction>(kernel->id);
  }
  return CUDA_SUCCESS;
}

CUresult load_module(CUmodule* out, const void* code) {
  int error = 0;
  Session* session = client::session(&error);
  if (session == nullptr) return CUresult(error);
  return CUresult(driver::cuModuleLoadData(*session, out, code));
}

size_t device_identities(std::span<driverabi::DeviceIdentity> out) {
  int error = 0;
  Session* session = client::session(&error);
  if (session == nullptr) return 0;
  const auto& devices = session->devices();
  for (size_t i = 0; i < devices.size() && i < out.size(); ++i) {
    std::memcpy(out[i].uuid.bytes, devices[i].uuid, sizeof out[i].uuid.bytes);
    out[i].pci_domain = attribute(devices[i], CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
    out[i].pci_bus = attribute(devices[i], CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
    out[i].pci_device = attribute(devices[i], CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
  }
  return devices.size();
}

void install_hooks() {
  static const bool installed = [] {
    driverabi::Hooks hooks;
    int error = 0;
    const Session* session = client::session(&error);
    hooks.driver_version = session == nullptr ? CUDA_VERSION : session->driver_version();
    hooks.primary_context = primary_context;
    hooks.current_context = current_context;
    hooks.context_device = context_device;
    hooks.context_id = context_id;
    hooks.stream_id = stream_identity;
    hooks.module_functions = module_functions;
    hooks.load_module = load_module;
    hooks.device_identities = device_identities;
    driverabi::set_hooks(hooks);
    return true;
  }();
  static_cast<void>(installed);
}

}  // namespace

CUresult cuGetExportTable(const void** ppExportTable, const CUuuid* pExportTableId) {
  install_hooks();
  return driverabi::get_export_table(ppExportTable, pExportTableId);
}

CUresult cuGetProcAddress_v2(const char* symbol, void** pfn, int cudaVersion, cuuint64_t flags,
                             CUdriverProcAddressQueryResult* symbolStatus) {
  return driverabi::get_proc_address(driverabi::proc_table(), symbol, pfn, cudaVersion, flags,
                                     symbolStatus);
}

CUresult cuGetProcAddress(const char* symbol, void** pfn, int cudaVersion, cuuint64_t flags) {
  return driverabi::get_proc_address(driverabi::proc_table(), symbol, pfn, cudaVersion, flags,
                                     nullptr);
}

CUresult cuGetErrorName(CUresult error, const char** pStr) {
  return driverabi::get_error_name(error, pStr);
}
CUresult cuGetErrorString(CUresult error, const char** pStr) {
  return driverabi::get_error_string(error, pStr);
}

}  // namespace farcall::client::driver
