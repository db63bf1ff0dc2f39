// cudaGraphAddNode and its like: a node of any kind by one struct, which is what the calls for each
// kind do. Edges with data are made after the node, because those calls don't take any.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "client/runtime/graph_puts.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {
namespace {

bool has_data(const cudaGraphEdgeData& edge) {
  return edge.from_port != 0 || edge.to_port != 0 || edge.type != cudaGraphDependencyTypeDefault;
}

cudaKernelNodeParams older(const cudaKernelNodeParamsV2& params) {
  cudaKernelNodeParams out = {};
  out.func = params.func;
  out.gridDim = dim3(params.gridDim.x, params.gridDim.y, params.gridDim.z);
  out.blockDim = dim3(params.blockDim.x, params.blockDim.y, params.blockDim.z);
  out.sharedMemBytes = params.sharedMemBytes;
  out.kernelParams = params.kernelParams;
  out.extra = params.extra;
  return out;
}
cudaMemsetParams older(const cudaMemsetParamsV2& params) {
  return {params.dst, params.pitch, params.value, params.elementSize, params.width, params.height};
}

int put_conditional(Session& session, const NodePlace& at, cudaConditionalNodeParams& params) {
  CUDA_CONDITIONAL_NODE_PARAMS ours = {};
  ours.handle = params.handle;
  ours.type = CUgraphConditionalNodeType(params.type);
  ours.size = params.size;
  ours.ctx = handle_from<CUcontext>(thread_state().lane.context);
  const int result = put_conditional_node(session, at, &ours);
  if (result == cudaSuccess) params.phGraph_out = ours.phGraph_out;
  return result;
}

int add(Session& session, const NodePlace& at, cudaGraphNodeParams& params) {
  const auto& [added, graph, dependencies, count, exec, node] = at;
  switch (params.type) {
    case cudaGraphNodeTypeKernel: {
      const cudaKernelNodeParams kernel = older(params.kernel);
      return put_kernel(session, at, &kernel);
    }
    case cudaGraphNodeTypeMemcpy:
      return put_copy(session, at, &params.memcpy.copyParams);
    case cudaGraphNodeTypeHost:
      return put_host_node(session, at, {.function = params.host.fn, .data = params.host.userData});
    case cudaGraphNodeTypeMemAlloc:
      // The same struct by two names.
      static_assert(sizeof(cudaMemAllocNodeParamsV2) == sizeof(cudaMemAllocNodeParams));
      return put_allocation(session, at, reinterpret_cast<cudaMemAllocNodeParams*>(&params.alloc));
    case cudaGraphNodeTypeConditional:
      return put_conditional(session, at, params.conditional);
    case cudaGraphNodeTypeEmpty:
      return ::cudaGraphAddEmptyNode(added, graph, dependencies, count);
    case cudaGraphNodeTypeMemset: {
      const cudaMemsetParams memset = older(params.memset);
      return ::cudaGraphAddMemsetNode(added, graph, dependencies, count, &memset);
    }
    case cudaGraphNodeTypeGraph:
      if (params.graph.ownership != cudaGraphChildGraphOwnershipClone) {
        detail::log_not_supported("cudaGraphAddNode", "a child graph that moves to its parent");
        return cudaErrorNotSupported;
      }
      return ::cudaGraphAddChildGraphNode(added, graph, dependencies, count, params.graph.graph);
    case cudaGraphNodeTypeWaitEvent:
      return ::cudaGraphAddEventWaitNode(added, graph, dependencies, count, params.eventWait.event);
    case cudaGraphNodeTypeEventRecord:
      return ::cudaGraphAddEventRecordNode(added, graph, dependencies, count,
                                           params.eventRecord.event);
    case cudaGraphNodeTypeMemFree:
      return ::cudaGraphAddMemFreeNode(added, graph, dependencies, count, params.free.dptr);
    case cudaGraphNodeTypeExtSemaphoreSignal:
    case cudaGraphNodeTypeExtSemaphoreWait:
      return cudaErrorNotSupported;
    default:
      return cudaErrorInvalidValue;
  }
}

// In its graph, or in `exec` alone. What can't be changed later is no valid type here.
int change(Session& session, cudaGraphExec_t exec, cudaGraphNode_t node,
           cudaGraphNodeParams& params) {
  switch (params.type) {
    case cudaGraphNodeTypeKernel:
    case cudaGraphNodeTypeMemcpy:
    case cudaGraphNodeTypeHost:
      return add(session, NodePlace::existing(node, exec), params);
    case cudaGraphNodeTypeMemset: {
      const cudaMemsetParams memset = older(params.memset);
      return exec != nullptr ? ::cudaGraphExecMemsetNodeSetParams(exec, node, &memset)
                             : ::cudaGraphMemsetNodeSetParams(node, &memset);
    }
    case cudaGraphNodeTypeGraph:
      return exec != nullptr
                 ? ::cudaGraphExecChildGraphNodeSetParams(exec, node, params.graph.graph)
                 : cudaErrorInvalidValue;
    case cudaGraphNodeTypeWaitEvent:
      return exec != nullptr
                 ? ::cudaGraphExecEventWaitNodeSetEvent(exec, node, params.eventWait.event)
                 : ::cudaGraphEventWaitNodeSetEvent(node, params.eventWait.event);
    case cudaGraphNodeTypeEventRecord:
      return exec != nullptr
                 ? ::cudaGraphExecEventRecordNodeSetEvent(exec, node, params.eventRecord.event)
                 : ::cudaGraphEventRecordNodeSetEvent(node, params.eventRecord.event);
    case cudaGraphNodeTypeExtSemaphoreSignal:
    case cudaGraphNodeTypeExtSemaphoreWait:
      return cudaErrorNotSupported;
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

int cudaGraphAddNode(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                     const cudaGraphNode_t* pDependencies, const cudaGraphEdgeData* dependencyData,
                     size_t numDependencies, cudaGraphNodeParams* nodeParams) {
  if (pGraphNode == nullptr || nodeParams == nullptr || graph == nullptr)
    return cudaErrorInvalidValue;
  NodePlace at = NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies);
  const bool data = dependencyData != nullptr && pDependencies != nullptr &&
                    std::any_of(dependencyData, dependencyData + numDependencies, has_data);
  if (!data) return add(session, at, *nodeParams);
  NodePlace alone = at;
  alone.dependency_count = 0;
  if (const int failed = add(session, alone, *nodeParams)) return failed;
  static_assert(sizeof(cudaGraphEdgeData) == sizeof(CUgraphEdgeData));
  const int failed =
      add_edges(session, at, *pGraphNode, reinterpret_cast<const CUgraphEdgeData*>(dependencyData));
  if (failed != cudaSuccess) (void)::cudaGraphDestroyNode(*pGraphNode);
  return failed;
}

int cudaGraphNodeSetParams(Session& session, cudaGraphNode_t node,
                           cudaGraphNodeParams* nodeParams) {
  if (nodeParams == nullptr || node == nullptr) return cudaErrorInvalidValue;
  return change(session, nullptr, node, *nodeParams);
}

int cudaGraphExecNodeSetParams(Session& session, cudaGraphExec_t graphExec, cudaGraphNode_t node,
                               cudaGraphNodeParams* nodeParams) {
  if (nodeParams == nullptr || node == nullptr || graphExec == nullptr)
    return cudaErrorInvalidValue;
  return change(session, graphExec, node, *nodeParams);
}

}  // namespace farcall::client::runtime
