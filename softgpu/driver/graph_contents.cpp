// What nodes do, from the parameters that programs give.
#include <algorithm>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/copy.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/launch.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/memset.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/words.h"

namespace farcall::softgpu {

CUDA_KERNEL_NODE_PARAMS as_v2(const CUDA_KERNEL_NODE_PARAMS_v1& params) {
  CUDA_KERNEL_NODE_PARAMS newer = {};
  newer.func = params.func;
  newer.gridDimX = params.gridDimX;
  newer.gridDimY = params.gridDimY;
  newer.gridDimZ = params.gridDimZ;
  newer.blockDimX = params.blockDimX;
  newer.blockDimY = params.blockDimY;
  newer.blockDimZ = params.blockDimZ;
  newer.sharedMemBytes = params.sharedMemBytes;
  newer.kernelParams = params.kernelParams;
  newer.extra = params.extra;
  return newer;
}

// ------------------------------------------------------------------ from parameters to contents

CUresult make_kernel_content(const CUDA_KERNEL_NODE_PARAMS* params, NodeContent* out) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  FunctionRef function;
  out->function = params->func;
  if (params->func != nullptr) {
    if (CUresult error = find_function(params->func, &function)) return error;
  } else {
    std::shared_ptr<LibraryKernel> kernel = driver().kernels.find(params->kern);
    if (kernel == nullptr) return CUDA_ERROR_INVALID_VALUE;
    ContextRef context;
    if (CUresult error = find_context(params->ctx, &context)) return error;
    if (CUresult error = kernel->function(context, &function)) return error;
    out->function = reinterpret_cast<CUfunction>(params->kern);
  }
  const LaunchRequest request{{params->gridDimX, params->gridDimY, params->gridDimZ},
                              {params->blockDimX, params->blockDimY, params->blockDimZ},
                              params->sharedMemBytes,
                              false,
                              params->kernelParams,
                              params->extra};
  KernelWork work;
  if (CUresult error = make_kernel(function, request, &work)) return error;
  out->type = CU_GRAPH_NODE_TYPE_KERNEL;
  out->work = std::move(work);
  out->context = function->context().shared_from_this();
  return CUDA_SUCCESS;
}

CUresult make_memcpy_content(const CUDA_MEMCPY3D* shape, CUcontext context, NodeContent* out) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out->context == nullptr || context != nullptr) {
    if (CUresult error = find_context(context, &out->context)) return error;
  }
  Copy copy;
  if (CUresult error = make_copy(*shape, &copy)) return error;
  out->type = CU_GRAPH_NODE_TYPE_MEMCPY;
  out->work = std::move(copy.work);
  out->memcpy = *shape;
  return CUDA_SUCCESS;
}

CUresult make_memset_content(const CUDA_MEMSET_NODE_PARAMS* shape, CUcontext context,
                             NodeContent* out) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out->context == nullptr || context != nullptr) {
    if (CUresult error = find_context(context, &out->context)) return error;
  }
  MemsetWork work;
  if (CUresult error = make_memset(*shape, &work, nullptr)) return error;
  out->type = CU_GRAPH_NODE_TYPE_MEMSET;
  out->work = work;
  out->memset = *shape;
  return CUDA_SUCCESS;
}

CUresult make_host_content(const CUDA_HOST_NODE_PARAMS* params, NodeContent* out) {
  if (params == nullptr || params->fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  out->type = CU_GRAPH_NODE_TYPE_HOST;
  out->work = HostWork{params->fn, params->userData};
  return CUDA_SUCCESS;
}

CUresult make_event_content(CUgraphNodeType type, CUevent handle, NodeContent* out) {
  out->event = driver().events.find(handle);
  if (out->event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  out->type = type;
  return CUDA_SUCCESS;
}

CUresult make_allocation_content(CUDA_MEM_ALLOC_NODE_PARAMS* params, NodeContent* out) {
  if (params == nullptr || params->bytesize == 0 ||
      params->poolProps.allocType != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (params->poolProps.handleTypes != CU_MEM_HANDLE_TYPE_NONE ||
      params->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  Device* device;
  if (CUresult error = find_device(params->poolProps.location.id, &device)) return error;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (&context->device() != device) context = device->primary();
  if (CUresult error = GraphMemory::create(*context, params->bytesize, &out->memory)) return error;
  params->dptr = out->memory->address();
  out->type = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
  out->context = context;
  out->allocation = *params;
  out->allocation.accessDescs = nullptr;  // the program's array; every device may access it
  out->allocation.accessDescCount = 0;
  return CUDA_SUCCESS;
}

CUresult make_free_content(CUdeviceptr address, NodeContent* out) {
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region || region->base != address || region->kind != Region::Kind::kGraph) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  out->type = CU_GRAPH_NODE_TYPE_MEM_FREE;
  out->freed = address;  // the memory goes with the graphs that have it
  return CUDA_SUCCESS;
}

CUresult make_child_content(CUgraph handle, NodeContent* out) {
  GraphRef child;
  if (CUresult error = find_graph(handle, &child)) return error;
  out->type = CU_GRAPH_NODE_TYPE_GRAPH;
  out->child = child->clone();
  return CUDA_SUCCESS;
}

CUresult make_words_content(const CUDA_BATCH_MEM_OP_NODE_PARAMS* params, NodeContent* out) {
  if (params == nullptr || params->count == 0) return CUDA_ERROR_INVALID_VALUE;
  if (out->context == nullptr || params->ctx != nullptr) {
    if (CUresult error = find_context(params->ctx, &out->context)) return error;
  }
  WordsWork work;
  if (CUresult error = make_words(params->paramArray, params->count, params->flags, &work)) {
    return error;
  }
  out->type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
  out->work = std::move(work);
  out->words.assign(params->paramArray, params->paramArray + params->count);
  return CUDA_SUCCESS;
}

CUresult make_conditional_content(CUDA_CONDITIONAL_NODE_PARAMS* params, NodeContent* out) {
  std::shared_ptr<Condition> condition = Condition::find(params->handle);
  if (condition == nullptr || params->size == 0) return CUDA_ERROR_INVALID_VALUE;
  switch (params->type) {
    case CU_GRAPH_COND_TYPE_IF:
      if (params->size > 2) return CUDA_ERROR_INVALID_VALUE;
      break;
    case CU_GRAPH_COND_TYPE_WHILE:
      if (params->size != 1) return CUDA_ERROR_INVALID_VALUE;
      break;
    case CU_GRAPH_COND_TYPE_SWITCH:
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  ContextRef context;
  if (CUresult error = find_context(params->ctx, &context)) return error;
  if (context != condition->context || condition->has_node.exchange(true)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto conditional = std::make_shared<Conditional>();
  conditional->condition = std::move(condition);
  conditional->handle = params->handle;
  conditional->type = params->type;
  for (unsigned i = 0; i < params->size; ++i) {
    conditional->bodies.push_back(Graph::create());
    conditional->shown.push_back(conditional->bodies.back()->handle());
  }
  params->phGraph_out = conditional->shown.data();
  out->type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
  out->context = std::move(context);
  out->conditional = std::move(conditional);
  return CUDA_SUCCESS;
}

CUresult make_content(CUgraphNodeParams* params, NodeContent* out) {
  switch (params->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const CUDA_KERNEL_NODE_PARAMS_v3& kernel = params->kernel;
      const CUDA_KERNEL_NODE_PARAMS older = {
          kernel.func,         kernel.gridDimX,  kernel.gridDimY,  kernel.gridDimZ,
          kernel.blockDimX,    kernel.blockDimY, kernel.blockDimZ, kernel.sharedMemBytes,
          kernel.kernelParams, kernel.extra,     kernel.kern,      kernel.ctx};
      return make_kernel_content(&older, out);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return make_memcpy_content(&params->memcpy.copyParams, params->memcpy.copyCtx, out);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const CUDA_MEMSET_NODE_PARAMS_v2& memset = params->memset;
      const CUDA_MEMSET_NODE_PARAMS older = {memset.dst,         memset.pitch, memset.value,
                                             memset.elementSize, memset.width, memset.height};
      return make_memset_content(&older, memset.ctx, out);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS older = {params->host.fn, params->host.userData};
      return make_host_content(&older, out);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return make_child_content(params->graph.graph, out);
    case CU_GRAPH_NODE_TYPE_EMPTY:
      return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return make_event_content(params->type, params->eventWait.event, out);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return make_event_content(params->type, params->eventRecord.event, out);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC: {
      CUDA_MEM_ALLOC_NODE_PARAMS older = {};
      older.poolProps = params->alloc.poolProps;
      older.bytesize = params->alloc.bytesize;
      if (CUresult error = make_allocation_content(&older, out)) return error;
      params->alloc.dptr = older.dptr;
      return CUDA_SUCCESS;
    }
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
      return make_free_content(params->free.dptr, out);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: {
      const CUDA_BATCH_MEM_OP_NODE_PARAMS older = {params->memOp.ctx, params->memOp.count,
                                                   params->memOp.paramArray, params->memOp.flags};
      return make_words_content(&older, out);
    }
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
      return make_conditional_content(&params->conditional, out);
    default:
      log::warning("graph nodes of type {} are not supported by softgpu",
                   static_cast<int>(params->type));
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

}  // namespace farcall::softgpu
