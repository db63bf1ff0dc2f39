// Context functions from before CUDA 4, and questions about what these devices never have: affinity
// to some multiprocessors, green contexts.
#include <map>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {
namespace {

// How often contexts were attached beyond their creation.
struct Usage {
  std::mutex mutex;
  std::map<uint64_t, int> by_id;  // guarded by mutex
};
Usage& usage() {
  static Usage& instance = *new Usage;
  return instance;
}

}  // namespace

CUresult api::cuCtxAttach(CUcontext* out, unsigned flags) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(usage().mutex);
  ++usage().by_id[context->id()];
  *out = context->handle();
  return CUDA_SUCCESS;
}

// The last one destroys it; the context must be current, as CUDA documents.
CUresult api::cuCtxDetach(CUcontext handle) {
  ContextRef context;
  if (CUresult error = current_context_even_failed(&context)) return error;
  if (context->handle() != handle || context->primary()) return CUDA_ERROR_INVALID_CONTEXT;
  {
    std::lock_guard lock(usage().mutex);
    auto attached = usage().by_id.find(context->id());
    if (attached != usage().by_id.end()) {
      if (--attached->second == 0) usage().by_id.erase(attached);
      return CUDA_SUCCESS;
    }
  }
  return api::cuCtxDestroy_v2(handle);
}

CUresult api::cuCtxGetExecAffinity(CUexecAffinityParam* out, CUexecAffinityType type) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (out == nullptr || type < 0 || type >= CU_EXEC_AFFINITY_TYPE_MAX) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
}

CUresult api::cuStreamGetGreenCtx(CUstream handle, CUgreenCtx* out) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = nullptr;  // no stream is of one
  return CUDA_SUCCESS;
}

// Memory is coherent: what another device wrote can be seen.
CUresult api::cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget target,
                                         CUflushGPUDirectRDMAWritesScope scope) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (target != CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX ||
      (scope != CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER &&
       scope != CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_ALL_DEVICES)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
