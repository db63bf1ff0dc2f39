// cuFunc* and cuKernel*: what a kernel is like and what the program sets of it.
#include "softgpu/driver/function.h"

#include <algorithm>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {

int max_threads(const Function& function) {
  return std::min(static_cast<int>(function.info().max_threads),
                  function.context().device().limits.threads_per_block);
}

size_t dynamic_shared_max(const Function& function) {
  if (std::optional<int> set = function.setting(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)) {
    return static_cast<size_t>(*set);
  }
  const size_t limit = static_cast<size_t>(function.context().device().limits.shared_per_block);
  const size_t fixed = function.info().static_shared_bytes;
  return fixed < limit ? limit - fixed : 0;
}

namespace {

CUresult get_attribute(const Function& function, CUfunction_attribute attribute, int* value) {
  const KernelInfo& info = function.info();
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = max_threads(function);
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(info.static_shared_bytes);
      break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      *value = static_cast<int>(info.constant_bytes);
      break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = static_cast<int>(info.local_bytes);
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = static_cast<int>(info.registers);
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
      *value = info.target_sm;
      break;
    // What NVIDIA's driver reports is the code it compiled the PTX to: this device's.
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = function.context().device().sm;
      break;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
      *value = 0;
      break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(dynamic_shared_max(function));
      break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = function.setting(attribute).value_or(-1);
      break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
      *value = function.setting(attribute).value_or(static_cast<int>(info.cluster.x));
      break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
      *value = function.setting(attribute).value_or(static_cast<int>(info.cluster.y));
      break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      *value = function.setting(attribute).value_or(static_cast<int>(info.cluster.z));
      break;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      *value = function.setting(attribute).value_or(0);
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult check_setting(const Function& function, CUfunction_attribute attribute, int value) {
  const Limits& limits = function.context().device().limits;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: {
      const int room =
          limits.shared_per_block_optin - static_cast<int>(function.info().static_shared_bytes);
      return value >= 0 && value <= room ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      return value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      // What the kernel was compiled with stays.
      if (function.info().cluster.x != 0) return CUDA_ERROR_NOT_PERMITTED;
      return value >= 0 && value <= 16 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult param_info(const std::vector<ParamInfo>& params, size_t index, size_t* offset,
                    size_t* bytes) {
  if (offset == nullptr || index >= params.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = params[index].offset;
  if (bytes != nullptr) *bytes = params[index].size;
  return CUDA_SUCCESS;
}

CUresult find_kernel(CUkernel handle, std::shared_ptr<LibraryKernel>* out) {
  *out = driver().kernels.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// The kernel as a function on that device: in the current context if that is there, else in the
// primary one.
CUresult function_on(CUkernel handle, CUdevice ordinal, std::shared_ptr<LibraryKernel>* kernel,
                     Device** device, FunctionRef* function) {
  if (CUresult error = find_kernel(handle, kernel)) return error;
  if (CUresult error = find_device(ordinal, device)) return error;
  ContextRef context;
  if (current_context(&context) != CUDA_SUCCESS || &context->device() != *device) {
    context = (*device)->primary();
  }
  return (*kernel)->function(context, function);
}

}  // namespace

// ------------------------------------------------------------------ functions

CUresult api::cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  return get_attribute(*function, attribute, value);
}

CUresult api::cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (CUresult error = check_setting(*function, attribute, value)) return error;
  function->settings.set(attribute, value);
  return CUDA_SUCCESS;
}

// There is no cache to configure.
CUresult api::cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  return config >= CU_FUNC_CACHE_PREFER_NONE && config <= CU_FUNC_CACHE_PREFER_EQUAL
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}
CUresult api::cuFuncSetSharedMemConfig(CUfunction handle, CUsharedconfig config) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  return config >= CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE &&
                 config <= CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}

CUresult api::cuFuncGetModule(CUmodule* out, CUfunction handle) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = function->module()->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuFuncGetName(const char** name, CUfunction handle) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *name = function->info().name.c_str();  // good until the module is unloaded
  return CUDA_SUCCESS;
}

CUresult api::cuFuncGetParamInfo(CUfunction handle, size_t index, size_t* offset, size_t* bytes) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  return param_info(function->info().params, index, offset, bytes);
}

CUresult api::cuFuncIsLoaded(CUfunctionLoadingState* state, CUfunction handle) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (state == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *state =
      function->decoded() ? CU_FUNCTION_LOADING_STATE_LOADED : CU_FUNCTION_LOADING_STATE_UNLOADED;
  return CUDA_SUCCESS;
}

CUresult api::cuFuncLoad(CUfunction handle) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  const Kernel* code;
  return function->code(&code);
}

// ------------------------------------------------------------------ kernels of libraries

CUresult api::cuKernelGetFunction(CUfunction* out, CUkernel handle) {
  std::shared_ptr<LibraryKernel> kernel;
  if (CUresult error = find_kernel(handle, &kernel)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  FunctionRef function;
  if (CUresult error = kernel->function(context, &function)) return error;
  *out = function->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuKernelGetLibrary(CUlibrary* out, CUkernel handle) {
  std::shared_ptr<LibraryKernel> kernel;
  if (CUresult error = find_kernel(handle, &kernel)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = kernel->library()->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuKernelGetName(const char** name, CUkernel handle) {
  std::shared_ptr<LibraryKernel> kernel;
  if (CUresult error = find_kernel(handle, &kernel)) return error;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *name = kernel->name().c_str();
  return CUDA_SUCCESS;
}

CUresult api::cuKernelGetParamInfo(CUkernel handle, size_t index, size_t* offset, size_t* bytes) {
  std::shared_ptr<LibraryKernel> kernel;
  if (CUresult error = find_kernel(handle, &kernel)) return error;
  return param_info(kernel->params(), index, offset, bytes);
}

CUresult api::cuKernelGetAttribute(int* value, CUfunction_attribute attribute, CUkernel handle,
                                   CUdevice ordinal) {
  std::shared_ptr<LibraryKernel> kernel;
  Device* device;
  FunctionRef function;
  if (CUresult error = function_on(handle, ordinal, &kernel, &device, &function)) return error;
  return get_attribute(*function, attribute, value);
}

CUresult api::cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle,
                                   CUdevice ordinal) {
  std::shared_ptr<LibraryKernel> kernel;
  Device* device;
  FunctionRef function;
  if (CUresult error = function_on(handle, ordinal, &kernel, &device, &function)) return error;
  if (CUresult error = check_setting(*function, attribute, value)) return error;
  kernel->settings(*device)->set(attribute, value);
  return CUDA_SUCCESS;
}

CUresult api::cuKernelSetCacheConfig(CUkernel handle, CUfunc_cache config, CUdevice ordinal) {
  std::shared_ptr<LibraryKernel> kernel;
  if (CUresult error = find_kernel(handle, &kernel)) return error;
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  return config >= CU_FUNC_CACHE_PREFER_NONE && config <= CU_FUNC_CACHE_PREFER_EQUAL
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace farcall::softgpu
