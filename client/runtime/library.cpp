// Libraries of the runtime API: device code that the program loads by hand; see client/module.h.
#include <driver_types.h>

#include <cstdio>
#include <vector>

#include "client/file.h"
#include "client/module.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {
namespace {

int load(Session& session, const void* code, cudaJitOption* options, void** values, unsigned count,
         cudaLibrary_t* out) {
  if (out == nullptr) return cudaErrorInvalidValue;
  // cudaJitOption and CUjit_option are the same numbers.
  Module* module = nullptr;
  const int result =
      Module::load(session, code, rpc::HandleType::kLibrary,
                   {count, reinterpret_cast<CUjit_option*>(options), values}, &module);
  if (result == cudaSuccess) *out = handle_from<cudaLibrary_t>(module->id());
  return result;
}

Module* module_of(cudaLibrary_t library) { return Module::find(id_of(library)); }

}  // namespace

int cudaLibraryLoadData(Session& session, cudaLibrary_t* library, const void* code,
                        cudaJitOption* jitOptions, void** jitOptionsValues,
                        unsigned int numJitOptions, cudaLibraryOption*, void**, unsigned int) {
  return load(session, code, jitOptions, jitOptionsValues, numJitOptions, library);
}

int cudaLibraryLoadFromFile(Session& session, cudaLibrary_t* library, const char* fileName,
                            cudaJitOption* jitOptions, void** jitOptionsValues,
                            unsigned int numJitOptions, cudaLibraryOption*, void**, unsigned int) {
  std::vector<char> content;
  if (const int failed = read_file(fileName, &content)) return failed;
  return load(session, content.data(), jitOptions, jitOptionsValues, numJitOptions, library);
}

int cudaLibraryUnload(Session& session, cudaLibrary_t library) {
  Module* module = module_of(library);
  return module == nullptr ? int(cudaErrorInvalidResourceHandle) : Module::unload(session, module);
}

int cudaLibraryGetKernel(Session& session, cudaKernel_t* pKernel, cudaLibrary_t library,
                         const char* name) {
  Module* module = module_of(library);
  if (module == nullptr) return cudaErrorInvalidResourceHandle;
  if (pKernel == nullptr || name == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  const int result = module->kernel(session, name, &kernel);
  if (result == cudaSuccess) *pKernel = handle_from<cudaKernel_t>(kernel->id);
  return result;
}

namespace {

int variable(Session& session, cudaLibrary_t library, const char* name, bool managed, void** dptr,
             size_t* bytes) {
  Module* module = module_of(library);
  if (module == nullptr) return cudaErrorInvalidResourceHandle;
  if (name == nullptr || (dptr == nullptr && bytes == nullptr)) return cudaErrorInvalidValue;
  uint64_t address = 0, size = 0;
  const int result = module->variable(session, name, managed, &address, &size);
  if (result != cudaSuccess) return result;
  if (dptr != nullptr) *dptr = reinterpret_cast<void*>(address);
  if (bytes != nullptr) *bytes = size;
  return cudaSuccess;
}

}  // namespace

int cudaLibraryGetGlobal(Session& session, void** dptr, size_t* bytes, cudaLibrary_t library,
                         const char* name) {
  return variable(session, library, name, false, dptr, bytes);
}

int cudaLibraryGetManaged(Session& session, void** dptr, size_t* bytes, cudaLibrary_t library,
                          const char* name) {
  return variable(session, library, name, true, dptr, bytes);
}

int cudaLibraryGetKernelCount(Session&, unsigned int* count, cudaLibrary_t lib) {
  Module* module = module_of(lib);
  if (module == nullptr) return cudaErrorInvalidResourceHandle;
  if (count == nullptr) return cudaErrorInvalidValue;
  if (!module->symbols_known()) return cudaErrorNotSupported;
  *count = unsigned(module->symbols().kernels.size());
  return cudaSuccess;
}

int cudaLibraryEnumerateKernels(Session& session, cudaKernel_t* kernels, unsigned int numKernels,
                                cudaLibrary_t lib) {
  Module* module = module_of(lib);
  if (module == nullptr) return cudaErrorInvalidResourceHandle;
  if (kernels == nullptr && numKernels > 0) return cudaErrorInvalidValue;
  if (!module->symbols_known()) return cudaErrorNotSupported;
  unsigned next = 0;
  for (const auto& [name, layout] : module->symbols().kernels) {
    if (next == numKernels) break;
    Kernel* kernel = nullptr;
    if (const int failed = module->kernel(session, name, &kernel)) return failed;
    kernels[next++] = handle_from<cudaKernel_t>(kernel->id);
  }
  return cudaSuccess;
}

}  // namespace farcall::client::runtime
