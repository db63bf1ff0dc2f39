// cuCtx* and cuDevicePrimaryCtx*.
#include <algorithm>

#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/thread_state.h"

namespace farcall::softgpu {
namespace {

constexpr unsigned kContextFlags = CU_CTX_SCHED_MASK | CU_CTX_MAP_HOST | CU_CTX_LMEM_RESIZE_TO_MAX |
                                   CU_CTX_COREDUMP_ENABLE | CU_CTX_USER_COREDUMP_ENABLE |
                                   CU_CTX_SYNC_MEMOPS;
constexpr unsigned kApiVersion = 3020;  // what every context answers since CUDA 4.0

// Of the scheduling flags at most one may be set.
bool are_context_flags(unsigned flags) {
  const unsigned sched = flags & CU_CTX_SCHED_MASK;
  return (flags & ~kContextFlags) == 0 && (sched & (sched - 1)) == 0;
}

}  // namespace

// ------------------------------------------------------------------ primary contexts

CUresult api::cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = device->primary()->retain()) return error;
  *out = device->primary()->handle();
  return CUDA_SUCCESS;
}

CUresult api::cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  return device->primary()->release();
}
CUresult api::cuDevicePrimaryCtxRelease(CUdevice ordinal) {
  return api::cuDevicePrimaryCtxRelease_v2(ordinal);
}

CUresult api::cuDevicePrimaryCtxReset_v2(CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  device->primary()->shut_down();
  device->primary()->flags = 0;
  return CUDA_SUCCESS;
}
CUresult api::cuDevicePrimaryCtxReset(CUdevice ordinal) {
  return api::cuDevicePrimaryCtxReset_v2(ordinal);
}

CUresult api::cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned flags) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (!are_context_flags(flags)) return CUDA_ERROR_INVALID_VALUE;
  device->primary()->flags = flags;
  return CUDA_SUCCESS;
}
CUresult api::cuDevicePrimaryCtxSetFlags(CUdevice ordinal, unsigned flags) {
  return api::cuDevicePrimaryCtxSetFlags_v2(ordinal, flags);
}

CUresult api::cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned* flags, int* active) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (flags != nullptr) *flags = device->primary()->flags;
  if (active != nullptr) *active = device->primary()->retained() > 0;
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ contexts of the program

CUresult api::cuCtxCreate_v4(CUcontext* out, CUctxCreateParams* params, unsigned flags,
                             CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (out == nullptr || !are_context_flags(flags)) return CUDA_ERROR_INVALID_VALUE;
  if (params != nullptr && (params->numExecAffinityParams != 0 || params->cigParams != nullptr)) {
    return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
  }
  ContextRef context = Context::create(*device, false, flags);
  *out = context->handle();
  this_thread().contexts.push_back(std::move(context));
  return CUDA_SUCCESS;
}
CUresult api::cuCtxCreate_v3(CUcontext* out, CUexecAffinityParam* params, int count, unsigned flags,
                             CUdevice ordinal) {
  if (params != nullptr && count != 0) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
  return api::cuCtxCreate_v4(out, nullptr, flags, ordinal);
}
CUresult api::cuCtxCreate_v2(CUcontext* out, unsigned flags, CUdevice ordinal) {
  return api::cuCtxCreate_v4(out, nullptr, flags, ordinal);
}
CUresult api::cuCtxCreate(CUcontext* out, unsigned flags, CUdevice ordinal) {
  return api::cuCtxCreate_v4(out, nullptr, flags, ordinal);
}

CUresult api::cuCtxDestroy_v2(CUcontext handle) {
  ContextRef context = driver().contexts.find(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (context->primary()) return CUDA_ERROR_INVALID_CONTEXT;
  std::vector<ContextRef>& stack = this_thread().contexts;
  if (!stack.empty() && stack.back() == context) stack.pop_back();
  context->shut_down();
  driver().contexts.remove(handle);
  return CUDA_SUCCESS;
}
CUresult api::cuCtxDestroy(CUcontext handle) { return api::cuCtxDestroy_v2(handle); }

// ------------------------------------------------------------------ which one is current

CUresult api::cuCtxGetCurrent(CUcontext* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const std::vector<ContextRef>& stack = this_thread().contexts;
  *out = stack.empty() ? nullptr : stack.back()->handle();
  return CUDA_SUCCESS;
}

CUresult api::cuCtxSetCurrent(CUcontext handle) {
  std::vector<ContextRef>& stack = this_thread().contexts;
  if (handle == nullptr) {
    if (!stack.empty()) stack.pop_back();
    return CUDA_SUCCESS;
  }
  ContextRef context = driver().contexts.find(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (!stack.empty()) stack.pop_back();
  stack.push_back(std::move(context));
  return CUDA_SUCCESS;
}

CUresult api::cuCtxPushCurrent_v2(CUcontext handle) {
  ContextRef context = driver().contexts.find(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  this_thread().contexts.push_back(std::move(context));
  return CUDA_SUCCESS;
}
CUresult api::cuCtxPushCurrent(CUcontext handle) { return api::cuCtxPushCurrent_v2(handle); }

CUresult api::cuCtxPopCurrent_v2(CUcontext* out) {
  std::vector<ContextRef>& stack = this_thread().contexts;
  if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (out != nullptr) *out = stack.back()->handle();
  stack.pop_back();
  return CUDA_SUCCESS;
}
CUresult api::cuCtxPopCurrent(CUcontext* out) { return api::cuCtxPopCurrent_v2(out); }

// ------------------------------------------------------------------ questions and settings

CUresult api::cuCtxGetDevice_v2(CUdevice* out, CUcontext handle) {
  ContextRef context;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (handle == nullptr) {
    if (this_thread().contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    context = this_thread().contexts.back();
  } else if (CUresult error = find_context(handle, &context)) {
    return error;
  }
  *out = context->device().ordinal;
  return CUDA_SUCCESS;
}
CUresult api::cuCtxGetDevice(CUdevice* out) { return api::cuCtxGetDevice_v2(out, nullptr); }

CUresult api::cuCtxGetId(CUcontext handle, unsigned long long* id) {
  ContextRef context;
  if (CUresult error = find_context(handle, &context)) return error;
  if (id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *id = context->id();
  return CUDA_SUCCESS;
}

CUresult api::cuCtxGetApiVersion(CUcontext handle, unsigned* version) {
  ContextRef context;
  if (CUresult error = find_context(handle, &context)) return error;
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = kApiVersion;
  return CUDA_SUCCESS;
}

CUresult api::cuCtxGetFlags(unsigned* flags) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = context->flags;
  return CUDA_SUCCESS;
}

CUresult api::cuCtxSetFlags(unsigned flags) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (!are_context_flags(flags)) return CUDA_ERROR_INVALID_VALUE;
  context->flags = flags;
  return CUDA_SUCCESS;
}

CUresult api::cuCtxGetLimit(size_t* value, CUlimit limit) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (limit < 0 || static_cast<size_t>(limit) >= Context::kLimits) {
    return CUDA_ERROR_UNSUPPORTED_LIMIT;
  }
  *value = context->limits[limit];
  return CUDA_SUCCESS;
}

CUresult api::cuCtxSetLimit(CUlimit limit, size_t value) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  switch (limit) {
    case CU_LIMIT_MALLOC_HEAP_SIZE:
      return context->set_heap_bytes(value);
    case CU_LIMIT_PRINTF_FIFO_SIZE:
      context->device().output.set_limit(value);
      context->limits[limit] = value;
      return CUDA_SUCCESS;
    case CU_LIMIT_STACK_SIZE:
    case CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH:
    case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT:
    case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
      context->limits[limit] = value;
      return CUDA_SUCCESS;
    case CU_LIMIT_PERSISTING_L2_CACHE_SIZE:  // none can be set aside
      return value == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    default:
      return CUDA_ERROR_UNSUPPORTED_LIMIT;
  }
}

CUresult api::cuCtxResetPersistingL2Cache() {
  ContextRef context;
  return current_context(&context);
}

CUresult api::cuCtxGetCacheConfig(CUfunc_cache* config) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *config = context->cache_config;
  return CUDA_SUCCESS;
}
CUresult api::cuCtxSetCacheConfig(CUfunc_cache config) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (config < CU_FUNC_CACHE_PREFER_NONE || config > CU_FUNC_CACHE_PREFER_EQUAL) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  context->cache_config = config;
  return CUDA_SUCCESS;
}

CUresult api::cuCtxGetSharedMemConfig(CUsharedconfig* config) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *config = context->shared_config;
  return CUDA_SUCCESS;
}
CUresult api::cuCtxSetSharedMemConfig(CUsharedconfig config) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (config < CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE ||
      config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;  // banks are four bytes wide on every device since compute capability 5.0
}

// ------------------------------------------------------------------ waiting

CUresult api::cuCtxSynchronize_v2(CUcontext handle) {
  ContextRef context;
  if (CUresult error = find_context(handle, &context)) return error;
  if (!context->active()) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  if (CUresult error = check_unsafe_call()) return error;
  return context->synchronize();
}
CUresult api::cuCtxSynchronize() { return api::cuCtxSynchronize_v2(nullptr); }

// An event for all the work of a context there is.
CUresult api::cuCtxRecordEvent(CUcontext handle, CUevent event_handle) {
  ContextRef context;
  if (CUresult error = find_context(handle, &context)) return error;
  std::shared_ptr<Event> event = driver().events.find(event_handle);
  if (event == nullptr || &event->context() != context.get()) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = check_unsafe_call()) return error;
  event->record({context->join(), context, nullptr, {}});
  return CUDA_SUCCESS;
}

// All the context does from now on comes after the event, which may be another context's.
CUresult api::cuCtxWaitEvent(CUcontext handle, CUevent event_handle) {
  ContextRef context;
  if (CUresult error = find_context(handle, &context)) return error;
  std::shared_ptr<Event> event = driver().events.find(event_handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (event->state().capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  if (CUresult error = check_unsafe_call()) return error;
  const OperationRef recorded = event->to_wait_for();
  if (recorded != nullptr && !recorded->done()) context->wait_everywhere(recorded);
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ peers

CUresult api::cuCtxEnablePeerAccess(CUcontext handle, unsigned flags) {
  ContextRef context, peer;
  if (CUresult error = current_context(&context)) return error;
  peer = driver().contexts.find(handle);
  if (peer == nullptr || &peer->device() == &context->device()) return CUDA_ERROR_INVALID_CONTEXT;
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(context->peers_mutex);
  if (std::find(context->peers.begin(), context->peers.end(), peer.get()) != context->peers.end()) {
    return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  }
  context->peers.push_back(peer.get());
  driver().memory_map.enable_peer(context->device().ordinal, peer->device().ordinal, true);
  return CUDA_SUCCESS;
}

CUresult api::cuCtxDisablePeerAccess(CUcontext handle) {
  ContextRef context, peer;
  if (CUresult error = current_context(&context)) return error;
  peer = driver().contexts.find(handle);
  if (peer == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  std::lock_guard lock(context->peers_mutex);
  if (std::erase(context->peers, peer.get()) == 0) return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  driver().memory_map.enable_peer(context->device().ordinal, peer->device().ordinal, false);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
