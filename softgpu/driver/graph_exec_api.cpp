// cuGraphInstantiate*, cuGraphLaunch and cuGraphExec*.
#include <algorithm>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/graph_exec.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

CUresult find_exec(CUgraphExec handle, std::shared_ptr<GraphExec>* out) {
  *out = driver().graph_execs.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult instantiate(CUgraphExec* out, CUgraph handle, unsigned long long flags,
                     CUgraphInstantiateResult* result, CUgraphNode* failed) {
  *result = CUDA_GRAPH_INSTANTIATE_ERROR;
  *failed = nullptr;
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  constexpr unsigned long long kKnown =
      CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
      CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  if (out == nullptr || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) {
    log::warning("graphs that kernels launch are not supported by softgpu");
    *result = CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  std::shared_ptr<GraphExec> exec;
  switch (CUresult error = GraphExec::instantiate(*graph, flags, &exec, failed)) {
    case CUDA_SUCCESS:
      break;
    case CUDA_ERROR_NOT_SUPPORTED:
      *result = CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
      return error;
    default:
      *result = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
      return error;
  }
  *result = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  *out = driver().graph_execs.insert(std::move(exec));
  return CUDA_SUCCESS;
}

}  // namespace

CUresult api::cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph graph,
                                          unsigned long long flags) {
  CUgraphInstantiateResult result;
  CUgraphNode failed;
  return instantiate(out, graph, flags, &result, &failed);
}

CUresult api::cuGraphInstantiateWithParams(CUgraphExec* out, CUgraph graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  StreamRef upload;
  if ((params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) != 0) {
    if (CUresult error = find_stream(params->hUploadStream, &upload)) return error;
  }
  return instantiate(out, graph, params->flags, &params->result_out, &params->hErrNode_out);
}

CUresult api::cuGraphInstantiate_v2(CUgraphExec* out, CUgraph graph, CUgraphNode* error_node,
                                    char* log, size_t log_bytes) {
  if (log != nullptr && log_bytes > 0) *log = '\0';
  CUgraphInstantiateResult result;
  CUgraphNode failed;
  const CUresult instantiated = instantiate(out, graph, 0, &result, &failed);
  if (error_node != nullptr) *error_node = failed;
  return instantiated;
}
CUresult api::cuGraphInstantiate(CUgraphExec* out, CUgraph graph, CUgraphNode* error_node,
                                 char* log, size_t log_bytes) {
  return api::cuGraphInstantiate_v2(out, graph, error_node, log, log_bytes);
}

CUresult api::cuGraphExecGetFlags(CUgraphExec handle, cuuint64_t* flags) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = exec->flags();
  return CUDA_SUCCESS;
}

// There is nothing to upload to.
CUresult api::cuGraphUpload(CUgraphExec handle, CUstream stream_handle) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  StreamRef stream;
  return find_stream(stream_handle, &stream);
}

CUresult api::cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  StreamRef stream;
  if (CUresult error = find_stream(stream_handle, &stream)) return error;
  if (CUresult error = check_legacy_during_capture(*stream)) return error;
  if (std::shared_ptr<Capture> capture = stream->capture()) {
    NodeContent content;
    content.type = CU_GRAPH_NODE_TYPE_GRAPH;
    content.child = exec->as_graph();
    return capture->record(*stream, std::move(content));
  }
  return exec->launch(stream);
}

// What was launched goes on.
CUresult api::cuGraphExecDestroy(CUgraphExec handle) {
  return driver().graph_execs.remove(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult api::cuGraphExecUpdate_v2(CUgraphExec handle, CUgraph graph_handle,
                                   CUgraphExecUpdateResultInfo* info) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  if (info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return exec->update(*graph, info);
}

CUresult api::cuGraphExecUpdate(CUgraphExec handle, CUgraph graph, CUgraphNode* error_node,
                                CUgraphExecUpdateResult* result) {
  CUgraphExecUpdateResultInfo info = {};
  const CUresult updated = api::cuGraphExecUpdate_v2(handle, graph, &info);
  if (error_node != nullptr) *error_node = info.errorNode;
  if (result != nullptr) *result = info.result;
  return updated;
}

CUresult api::cuGraphNodeSetEnabled(CUgraphExec handle, CUgraphNode node_handle, unsigned enabled) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  return exec->set_enabled(*node, enabled != 0);
}

CUresult api::cuGraphNodeGetEnabled(CUgraphExec handle, CUgraphNode node_handle,
                                    unsigned* enabled) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  if (enabled == nullptr) return CUDA_ERROR_INVALID_VALUE;
  bool is_enabled;
  if (CUresult error = exec->is_enabled(*node, &is_enabled)) return error;
  *enabled = is_enabled;
  return CUDA_SUCCESS;
}

namespace {

// The exec's node gets new contents, which `make` writes.
CUresult set_in_exec(CUgraphExec handle, CUgraphNode node_handle, CUgraphNodeType type,
                     const std::function<CUresult(NodeContent*)>& make) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  NodeContent content;
  {
    std::lock_guard lock(node->graph.mutex);
    if (node->content.type != type) return CUDA_ERROR_INVALID_VALUE;
    content.context = node->content.context;
  }
  if (CUresult error = make(&content)) return error;
  return exec->set_content(*node, content);
}

}  // namespace

CUresult api::cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                                const CUDA_KERNEL_NODE_PARAMS* params) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_KERNEL,
                     [&](NodeContent* content) { return make_kernel_content(params, content); });
}
CUresult api::cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS newer = as_v2(*params);
  return api::cuGraphExecKernelNodeSetParams_v2(exec, node, &newer);
}
CUresult api::cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_MEMCPY3D* shape, CUcontext context) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, [&](NodeContent* content) {
    return make_memcpy_content(shape, context, content);
  });
}
CUresult api::cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_MEMSET_NODE_PARAMS* shape,
                                             CUcontext context) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, [&](NodeContent* content) {
    return make_memset_content(shape, context, content);
  });
}
CUresult api::cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_HOST_NODE_PARAMS* params) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_HOST,
                     [&](NodeContent* content) { return make_host_content(params, content); });
}
CUresult api::cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node,
                                                 CUevent event) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, [&](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_EVENT_RECORD, event, content);
  });
}
CUresult api::cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, [&](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_WAIT_EVENT, event, content);
  });
}

CUresult api::cuGraphExecBatchMemOpNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                 const CUDA_BATCH_MEM_OP_NODE_PARAMS* params) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                     [&](NodeContent* content) { return make_words_content(params, content); });
}

CUresult api::cuGraphExecChildGraphNodeSetParams(CUgraphExec handle, CUgraphNode node_handle,
                                                 CUgraph child_handle) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  GraphRef child;
  if (CUresult error = find_graph(child_handle, &child)) return error;
  return exec->set_child(*node, *child);
}

CUresult api::cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                       CUgraphNodeParams* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (params->type == CU_GRAPH_NODE_TYPE_CONDITIONAL) return CUDA_ERROR_INVALID_VALUE;
  if (params->type == CU_GRAPH_NODE_TYPE_GRAPH) {
    return api::cuGraphExecChildGraphNodeSetParams(exec, node, params->graph.graph);
  }
  return set_in_exec(exec, node, params->type,
                     [&](NodeContent* content) { return make_content(params, content); });
}

}  // namespace farcall::softgpu
