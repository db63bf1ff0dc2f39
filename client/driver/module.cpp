// Modules, libraries, kernels and their variables of the driver API; see client/module.h.
#include <cuda.h>

#include <string>
#include <vector>

#include "base/log.h"
#include "client/driver_bodies.h"
#include "client/file.h"
#include "client/link.h"
#include "client/module.h"
#include "client/stub.h"
#include "driverabi/loading_mode.h"

namespace farcall::client::driver {
namespace {

using rpc::HandleType;

int load(Session& session, const void* code, const JitOptions& jit, CUmodule* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Module* module = nullptr;
  const int result = Module::load(session, code, HandleType::kModule, jit, &module);
  if (result == CUDA_SUCCESS) *out = handle_from<CUmodule>(module->id());
  return result;
}

int load_library(Session& session, const void* code, const JitOptions& jit, CUlibrary* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Module* module = nullptr;
  const int result = Module::load(session, code, HandleType::kLibrary, jit, &module);
  if (result == CUDA_SUCCESS) *out = handle_from<CUlibrary>(module->id());
  return result;
}

template <class Handle>
Module* module_of(Handle handle) {
  return Module::find(id_of(handle));
}

int variable(Session& session, Module* module, const char* name, bool managed, CUdeviceptr* dptr,
             size_t* bytes) {
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (name == nullptr || (dptr == nullptr && bytes == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0, size = 0;
  const int result = module->variable(session, name, managed, &address, &size);
  if (result != CUDA_SUCCESS) return result;
  if (dptr != nullptr) *dptr = address;
  if (bytes != nullptr) *bytes = size;
  return CUDA_SUCCESS;
}

// The first `room` kernels, by name, as CUfunction or CUkernel.
template <class Handle>
int enumerate(Session& session, Module* module, Handle* out, unsigned room) {
  if (out == nullptr && room > 0) return CUDA_ERROR_INVALID_VALUE;
  if (!module->symbols_known()) return CUDA_ERROR_NOT_SUPPORTED;
  unsigned next = 0;
  for (const auto& [name, layout] : module->symbols().kernels) {
    if (next == room) break;
    Kernel* kernel = nullptr;
    if (const int failed = module->kernel(session, name, &kernel)) return failed;
    out[next++] = handle_from<Handle>(kernel->id);
  }
  return CUDA_SUCCESS;
}

int param_info(const Kernel* kernel, size_t index, size_t* offset, size_t* size) {
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (offset == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (kernel->layout == nullptr || !kernel->layout->params_known) return CUDA_ERROR_NOT_SUPPORTED;
  if (index >= kernel->layout->params.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = kernel->layout->params[index].offset;
  if (size != nullptr) *size = kernel->layout->params[index].size;
  return CUDA_SUCCESS;
}

int kernel_name(const Kernel* kernel, const char** name) {
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (kernel->layout == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  *name = kernel->layout->name.c_str();
  return CUDA_SUCCESS;
}

}  // namespace

// --- Modules

int cuModuleLoadData(Session& session, CUmodule* module, const void* image) {
  return load(session, image, {}, module);
}

int cuModuleLoadDataEx(Session& session, CUmodule* module, const void* image,
                       unsigned int numOptions, CUjit_option* options, void** optionValues) {
  if (numOptions > 0 && options == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return load(session, image, {numOptions, options, optionValues}, module);
}

int cuModuleLoadFatBinary(Session& session, CUmodule* module, const void* fatCubin) {
  return load(session, fatCubin, {}, module);
}

int cuModuleLoad(Session& session, CUmodule* module, const char* fname) {
  std::vector<char> content;
  if (const int failed = read_file(fname, &content)) return failed;
  return load(session, content.data(), {}, module);
}

int cuModuleUnload(Session& session, CUmodule hmod) {
  Module* module = module_of(hmod);
  // A module that is a library's goes with it.
  return module == nullptr || rpc::handle_type(module->id()) != HandleType::kModule
             ? CUDA_ERROR_INVALID_HANDLE
             : Module::unload(session, module);
}

int cuModuleEnumerateFunctions(Session& session, CUfunction* functions, unsigned int numFunctions,
                               CUmodule mod) {
  Module* module = module_of(mod);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return enumerate(session, module, functions, numFunctions);
}

int cuModuleGetFunction(Session& session, CUfunction* hfunc, CUmodule hmod, const char* name) {
  Module* module = module_of(hmod);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (hfunc == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Kernel* kernel = nullptr;
  const int result = module->kernel(session, name, &kernel);
  if (result == CUDA_SUCCESS) *hfunc = handle_from<CUfunction>(kernel->id);
  return result;
}

int cuModuleGetGlobal_v2(Session& session, CUdeviceptr* dptr, size_t* bytes, CUmodule hmod,
                         const char* name) {
  return variable(session, module_of(hmod), name, false, dptr, bytes);
}

int cuModuleGetFunctionCount(Session&, unsigned int* count, CUmodule mod) {
  Module* module = module_of(mod);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!module->symbols_known()) return CUDA_ERROR_NOT_SUPPORTED;
  *count = unsigned(module->symbols().kernels.size());
  return CUDA_SUCCESS;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *mode = driverabi::loading_mode();
  return CUDA_SUCCESS;
}

// --- Libraries
// ---------------------------------------------------------------------------------------------- Of
// the library options NVIDIA's runtime passes CU_LIBRARY_BINARY_IS_PRESERVED, some libraries with a
// null value array: the image is read here and now either way, so library options need no look.

int cuLibraryLoadData(Session& session, CUlibrary* library, const void* code,
                      CUjit_option* jitOptions, void** jitOptionsValues, unsigned int numJitOptions,
                      CUlibraryOption*, void**, unsigned int) {
  return load_library(session, code, {numJitOptions, jitOptions, jitOptionsValues}, library);
}

int cuLibraryLoadFromFile(Session& session, CUlibrary* library, const char* fileName,
                          CUjit_option* jitOptions, void** jitOptionsValues,
                          unsigned int numJitOptions, CUlibraryOption*, void**, unsigned int) {
  std::vector<char> content;
  if (const int failed = read_file(fileName, &content)) return failed;
  return load_library(session, content.data(), {numJitOptions, jitOptions, jitOptionsValues},
                      library);
}

int cuLibraryUnload(Session& session, CUlibrary library) {
  Module* module = module_of(library);
  return module == nullptr ? CUDA_ERROR_INVALID_HANDLE : Module::unload(session, module);
}

int cuLibraryGetKernel(Session& session, CUkernel* pKernel, CUlibrary library, const char* name) {
  Module* module = module_of(library);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (pKernel == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Kernel* kernel = nullptr;
  const int result = module->kernel(session, name, &kernel);
  if (result == CUDA_SUCCESS) *pKernel = handle_from<CUkernel>(kernel->id);
  return result;
}

int cuLibraryGetGlobal(Session& session, CUdeviceptr* dptr, size_t* bytes, CUlibrary library,
                       const char* name) {
  return variable(session, module_of(library), name, false, dptr, bytes);
}

int cuLibraryGetManaged(Session& session, CUdeviceptr* dptr, size_t* bytes, CUlibrary library,
                        const char* name) {
  return variable(session, module_of(library), name, true, dptr, bytes);
}

// The library's own handle serves as its module, as a kernel's does as its function.
int cuLibraryGetModule(Session&, CUmodule* pMod, CUlibrary library) {
  Module* module = module_of(library);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (pMod == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (thread_state().lane.context == 0) return CUDA_ERROR_INVALID_CONTEXT;
  *pMod = handle_from<CUmodule>(module->id());
  return CUDA_SUCCESS;
}

int cuLibraryGetKernelCount(Session&, unsigned int* count, CUlibrary lib) {
  Module* module = module_of(lib);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!module->symbols_known()) return CUDA_ERROR_NOT_SUPPORTED;
  *count = unsigned(module->symbols().kernels.size());
  return CUDA_SUCCESS;
}

int cuLibraryEnumerateKernels(Session& session, CUkernel* kernels, unsigned int numKernels,
                              CUlibrary lib) {
  Module* module = module_of(lib);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return enumerate(session, module, kernels, numKernels);
}

// --- Kernels and functions

// Calls that take a function accept a kernel, here as in the driver, so the kernel's handle serves
// as both.
int cuKernelGetFunction(Session&, CUfunction* pFunc, CUkernel kernel) {
  if (pFunc == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (find_kernel(id_of(kernel)) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *pFunc = handle_from<CUfunction>(id_of(kernel));
  return CUDA_SUCCESS;
}

int cuKernelGetLibrary(Session&, CUlibrary* pLib, CUkernel kernel) {
  const Kernel* known = find_kernel(id_of(kernel));
  if (known == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (pLib == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pLib = handle_from<CUlibrary>(known->module->id());
  return CUDA_SUCCESS;
}

int cuKernelGetName(Session&, const char** name, CUkernel hfunc) {
  return kernel_name(find_kernel(id_of(hfunc)), name);
}
int cuFuncGetName(Session&, const char** name, CUfunction hfunc) {
  return kernel_name(find_kernel(id_of(hfunc)), name);
}
int cuKernelGetParamInfo(Session&, CUkernel kernel, size_t paramIndex, size_t* paramOffset,
                         size_t* paramSize) {
  return param_info(find_kernel(id_of(kernel)), paramIndex, paramOffset, paramSize);
}
int cuFuncGetParamInfo(Session&, CUfunction func, size_t paramIndex, size_t* paramOffset,
                       size_t* paramSize) {
  return param_info(find_kernel(id_of(func)), paramIndex, paramOffset, paramSize);
}

int cuFuncGetModule(Session&, CUmodule* hmod, CUfunction hfunc) {
  const Kernel* known = find_kernel(id_of(hfunc));
  if (known == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (hmod == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *hmod = handle_from<CUmodule>(known->module->id());
  return CUDA_SUCCESS;
}

// --- Linking

int cuLinkCreate_v2(Session& session, unsigned int numOptions, CUjit_option* options,
                    void** optionValues, CUlinkState* stateOut) {
  if (numOptions > 0 && (options == nullptr || optionValues == nullptr))
    return CUDA_ERROR_INVALID_VALUE;
  return create_link(session, {numOptions, options, optionValues}, stateOut);
}

int cuLinkAddData_v2(Session& session, CUlinkState state, CUjitInputType type, void* data,
                     size_t size, const char* name, unsigned int numOptions, CUjit_option* options,
                     void** optionValues) {
  if (numOptions > 0 && options == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return add_to_link(session, state, type, data, size, name, {numOptions, options, optionValues});
}

int cuLinkAddFile_v2(Session& session, CUlinkState state, CUjitInputType type, const char* path,
                     unsigned int numOptions, CUjit_option* options, void** optionValues) {
  std::vector<char> content;
  if (const int failed = read_file(path, &content)) return failed;
  if (numOptions > 0 && options == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return add_to_link(session, state, type, content.data(), content.size() - 1, path,
                     {numOptions, options, optionValues});
}

int cuLinkComplete(Session& session, CUlinkState state, void** cubinOut, size_t* sizeOut) {
  return complete_link(session, state, cubinOut, sizeOut);
}

int cuLinkDestroy(Session& session, CUlinkState state) { return destroy_link(session, state); }

}  // namespace farcall::client::driver
