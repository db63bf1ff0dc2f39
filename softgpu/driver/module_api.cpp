// cuModule*, cuLibrary* and cuLink*: loading code and looking things up in it.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <span>

#include "base/log.h"
#include "driverabi/loading_mode.h"
#include "softgpu/decode/symbols.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/link_state.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/select_ptx.h"

namespace farcall::softgpu {
namespace {

CUresult load_module(const void* code, const JitOptions& options, CUmodule* out) {
  if (out == nullptr || code == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (CUresult error = check_unsafe_call()) return error;
  SelectedPtx selected;
  if (CUresult error = select_ptx(code, context->device().sm, &selected)) {
    if (driver().says_first(selected.why)) {
      log::warning("cannot load a module: {}", selected.why);
    }
    options.write_error(selected.why);
    return error;
  }
  ModuleRef module;
  const auto decode = selected.plain_text ? Module::Decode::kAllNow : Module::Decode::kWhenLaunched;
  if (CUresult error = Module::load(context, selected.texts, decode, options, &module)) {
    return error;
  }
  *out = module->handle;
  return CUDA_SUCCESS;
}

// The whole file, with a NUL behind it: PTX in files has none.
CUresult read_file(const char* name, std::string* out) {
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::ifstream file(name, std::ios::binary);
  if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
  out->assign(std::istreambuf_iterator<char>(file), {});
  out->push_back('\0');
  return CUDA_SUCCESS;
}

CUresult find_module(CUmodule handle, ModuleRef* out) {
  *out = driver().modules.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_library(CUlibrary handle, std::shared_ptr<Library>* out) {
  *out = driver().libraries.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_variable(const ModuleRef& module, const char* name, bool managed, CUdeviceptr* out,
                       size_t* bytes) {
  if (name == nullptr || (out == nullptr && bytes == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  std::optional<VariableInfo> variable = module->variable(name);
  if (!variable || (managed && !variable->managed) || variable->texture || variable->surface)
    return CUDA_ERROR_NOT_FOUND;
  if (out != nullptr) *out = reinterpret_cast<CUdeviceptr>(variable->address);
  if (bytes != nullptr) *bytes = variable->bytes;
  return CUDA_SUCCESS;
}

}  // namespace

// ------------------------------------------------------------------ modules

CUresult api::cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *mode = driverabi::loading_mode();
  return CUDA_SUCCESS;
}

CUresult api::cuModuleLoadDataEx(CUmodule* out, const void* code, unsigned count,
                                 CUjit_option* names, void** values) {
  JitOptions options;
  if (CUresult error = JitOptions::parse(count, names, values, &options)) return error;
  return load_module(code, options, out);
}
CUresult api::cuModuleLoadData(CUmodule* out, const void* code) {
  return load_module(code, {}, out);
}
CUresult api::cuModuleLoadFatBinary(CUmodule* out, const void* code) {
  return load_module(code, {}, out);
}
CUresult api::cuModuleLoad(CUmodule* out, const char* name) {
  std::string file;
  if (CUresult error = read_file(name, &file)) return error;
  return load_module(file.data(), {}, out);
}

CUresult api::cuModuleUnload(CUmodule handle) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  if (CUresult error = check_unsafe_call()) return error;
  const CUresult result = module->context().synchronize();
  module->retire();
  return result;
}

CUresult api::cuModuleGetFunction(CUfunction* out, CUmodule handle, const char* name) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  FunctionRef function;
  if (CUresult error = module->function(name, &function)) return error;
  *out = function->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuModuleGetFunctionCount(unsigned* count, CUmodule handle) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = static_cast<unsigned>(module->function_names().size());
  return CUDA_SUCCESS;
}

CUresult api::cuModuleEnumerateFunctions(CUfunction* out, unsigned count, CUmodule handle) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const std::string& name : module->function_names()) {
    if (count-- == 0) break;
    FunctionRef function;
    if (CUresult error = module->function(name, &function)) return error;
    *out++ = function->handle;
  }
  return CUDA_SUCCESS;
}

CUresult api::cuModuleGetGlobal_v2(CUdeviceptr* out, size_t* bytes, CUmodule handle,
                                   const char* name) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  return find_variable(module, name, false, out, bytes);
}

// ------------------------------------------------------------------ libraries

// Needs no context, and succeeds for an image that has no code for this device: programs load fat
// binaries they may never use. Asking for a kernel then fails.
CUresult api::cuLibraryLoadData(CUlibrary* out, const void* code, CUjit_option* names,
                                void** values, unsigned count, CUlibraryOption*, void**, unsigned) {
  if (out == nullptr || code == nullptr) return CUDA_ERROR_INVALID_VALUE;
  JitOptions options;
  if (CUresult error = JitOptions::parse(count, names, values, &options)) return error;
  SelectedPtx selected;
  // All devices have the same compute capability.
  const CUresult result = select_ptx(code, driver().config.sm, &selected);
  if (result != CUDA_SUCCESS && result != CUDA_ERROR_NO_BINARY_FOR_GPU) {
    log::error("cannot load a library: {}", selected.why);
    options.write_error(selected.why);
    return result;
  }
  auto library =
      std::make_shared<Library>(std::move(selected.texts), result, std::move(selected.why));
  // Who gives buffers for logs wants to know now: they are only good during this call.
  ContextRef context;
  if (options.has_logs() && result == CUDA_SUCCESS && current_context(&context) == CUDA_SUCCESS) {
    ModuleRef module;
    if (CUresult error = library->module(context, Module::Decode::kAllNow, options, &module)) {
      return error;
    }
  }
  library->handle = driver().libraries.insert(library);
  *out = library->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuLibraryLoadFromFile(CUlibrary* out, const char* name, CUjit_option* jit_names,
                                    void** jit_values, unsigned jit_count, CUlibraryOption* names,
                                    void** values, unsigned count) {
  std::string file;
  if (CUresult error = read_file(name, &file)) return error;
  return api::cuLibraryLoadData(out, file.data(), jit_names, jit_values, jit_count, names, values,
                                count);
}

CUresult api::cuLibraryUnload(CUlibrary handle) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  // What the runtime does when the program ends must not wait for kernels that do not.
  if (driver().exiting()) return CUDA_SUCCESS;
  for (const ContextRef& context : driver().live_contexts()) {
    if (context->active()) context->synchronize();
  }
  library->retire();
  return CUDA_SUCCESS;
}

CUresult api::cuLibraryGetKernel(CUkernel* out, CUlibrary handle, const char* name) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return library->kernel(name, out);
}

CUresult api::cuLibraryGetKernelCount(unsigned* count, CUlibrary handle) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::string> names;
  if (CUresult error = library->kernel_names(&names)) return error;
  *count = static_cast<unsigned>(names.size());
  return CUDA_SUCCESS;
}

CUresult api::cuLibraryEnumerateKernels(CUkernel* out, unsigned count, CUlibrary handle) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::string> names;
  if (CUresult error = library->kernel_names(&names)) return error;
  for (const std::string& name : names) {
    if (count-- == 0) break;
    if (CUresult error = library->kernel(name, out++)) return error;
  }
  return CUDA_SUCCESS;
}

namespace {

// The library's module in the current context.
CUresult module_here(CUlibrary handle, ModuleRef* out) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  return library->module(context, out);
}

}  // namespace

CUresult api::cuLibraryGetModule(CUmodule* out, CUlibrary handle) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ModuleRef module;
  if (CUresult error = module_here(handle, &module)) return error;
  *out = module->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuLibraryGetGlobal(CUdeviceptr* out, size_t* bytes, CUlibrary handle,
                                 const char* name) {
  ModuleRef module;
  if (CUresult error = module_here(handle, &module)) return error;
  return find_variable(module, name, false, out, bytes);
}

// The runtime asks when the program starts, before it has made a context current: the variables
// then live with the first device's primary context, and outlive its resets, since the program
// keeps the address.
CUresult api::cuLibraryGetManaged(CUdeviceptr* out, size_t* bytes, CUlibrary handle,
                                  const char* name) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  ContextRef context;
  if (current_context(&context) != CUDA_SUCCESS) context = driver().device(0)->primary();
  ModuleRef module;
  if (CUresult error = library->module(context, &module)) return error;
  if (CUresult error = find_variable(module, name, true, out, bytes)) return error;
  module->keep_across_resets();
  return CUDA_SUCCESS;
}

// Functions that host and device call by one pointer: no device says it has them
// (CU_DEVICE_ATTRIBUTE_UNIFIED_FUNCTION_POINTERS), so none is found.
CUresult api::cuLibraryGetUnifiedFunction(void** out, CUlibrary handle, const char* name) {
  std::shared_ptr<Library> library;
  if (CUresult error = find_library(handle, &library)) return error;
  return out == nullptr || name == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_FOUND;
}

// ------------------------------------------------------------------ linking PTX

CUresult api::cuLinkCreate_v2(unsigned count, CUjit_option* names, void** values,
                              CUlinkState* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  auto state = std::make_shared<LinkState>();
  state->context = context;
  if (CUresult error = JitOptions::parse(count, names, values, &state->options)) return error;
  *out = driver().link_states.insert(std::move(state));
  return CUDA_SUCCESS;
}
CUresult api::cuLinkCreate(unsigned count, CUjit_option* names, void** values, CUlinkState* out) {
  return api::cuLinkCreate_v2(count, names, values, out);
}

CUresult api::cuLinkAddData_v2(CUlinkState handle, CUjitInputType type, void* data, size_t bytes,
                               const char* name, unsigned, CUjit_option*, void**) {
  std::shared_ptr<LinkState> state = driver().link_states.find(handle);
  if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (data == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  switch (type) {
    case CU_JIT_INPUT_PTX: {
      std::string_view text(static_cast<const char*>(data), bytes);
      state->texts.emplace_back(text.substr(0, text.find('\0')));
      return CUDA_SUCCESS;
    }
    case CU_JIT_INPUT_FATBINARY: {
      SelectedPtx selected;
      if (CUresult error = select_ptx(data, state->context->device().sm, &selected)) {
        state->options.write_error(selected.why);
        return error;
      }
      for (std::string& text : selected.texts) state->texts.push_back(std::move(text));
      return CUDA_SUCCESS;
    }
    case CU_JIT_INPUT_OBJECT:
    case CU_JIT_INPUT_LIBRARY: {
      std::vector<std::vector<std::string>> objects;
      std::string why;
      const std::span file(static_cast<const std::byte*>(data), bytes);
      if (CUresult error = select_object_ptx(file, state->context->device().sm, &objects, &why)) {
        log::warning("cannot link with {}: {}", name == nullptr ? "an object" : name, why);
        state->options.write_error(why);
        return error;
      }
      auto& to = state->members;
      if (type == CU_JIT_INPUT_LIBRARY) {
        std::move(objects.begin(), objects.end(), std::back_inserter(to));
        return CUDA_SUCCESS;
      }
      for (auto& texts : objects)
        std::move(texts.begin(), texts.end(), std::back_inserter(state->texts));
      return CUDA_SUCCESS;
    }
    case CU_JIT_INPUT_CUBIN:
      log::warning("softgpu links PTX only, not cubins");
      state->options.write_error("softgpu links PTX only");
      return CUDA_ERROR_NO_BINARY_FOR_GPU;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult api::cuLinkAddData(CUlinkState handle, CUjitInputType type, void* data, size_t bytes,
                            const char* name, unsigned count, CUjit_option* names, void** values) {
  return api::cuLinkAddData_v2(handle, type, data, bytes, name, count, names, values);
}

CUresult api::cuLinkAddFile_v2(CUlinkState handle, CUjitInputType type, const char* path,
                               unsigned count, CUjit_option* names, void** values) {
  std::string file;
  if (CUresult error = read_file(path, &file)) return error;
  return api::cuLinkAddData_v2(handle, type, file.data(), file.size(), path, count, names, values);
}
CUresult api::cuLinkAddFile(CUlinkState handle, CUjitInputType type, const char* path,
                            unsigned count, CUjit_option* names, void** values) {
  return api::cuLinkAddFile_v2(handle, type, path, count, names, values);
}

// What comes out is for cuModuleLoadData and is owned by the state.
CUresult api::cuLinkComplete(CUlinkState handle, void** out, size_t* bytes) {
  std::shared_ptr<LinkState> state = driver().link_states.find(handle);
  if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  add_wanted_members(std::move(state->members), &state->texts);
  state->members.clear();
  // Loading is how errors are found; the module itself is of no use.
  ModuleRef module;
  if (CUresult error = Module::load(state->context, state->texts, Module::Decode::kAllNow,
                                    state->options, &module)) {
    return error;
  }
  module->retire();
  state->linked = join_ptx(state->texts);
  *out = state->linked.data();
  if (bytes != nullptr) *bytes = state->linked.size() + 1;
  return CUDA_SUCCESS;
}

CUresult api::cuLinkDestroy(CUlinkState handle) {
  return driver().link_states.remove(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace farcall::softgpu
