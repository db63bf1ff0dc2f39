// cuGraphAddNode and its like: a node of any kind by one struct, which is what the calls for each
// kind do. Edges with data are made after the node, because those calls don't take any.
#include <cuda.h>

#include <algorithm>

#include "client/driver/graph_puts.h"
#include "client/driver_bodies.h"
#include "client/stub.h"

namespace farcall::client::driver {
namespace {

bool has_data(const CUgraphEdgeData& edge) {
  return edge.from_port != 0 || edge.to_port != 0 || edge.type != CU_GRAPH_DEPENDENCY_TYPE_DEFAULT;
}

int add(Session& session, const NodePlace& at, CUgraphNodeParams& params) {
  const auto& [added, graph, dependencies, count, exec, node] = at;
  // The newest struct of a kind is the one that the call for it takes, by another name.
  switch (params.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      static_assert(sizeof(CUDA_KERNEL_NODE_PARAMS_v3) == sizeof(CUDA_KERNEL_NODE_PARAMS));
      return put_kernel(session, at,
                        reinterpret_cast<const CUDA_KERNEL_NODE_PARAMS*>(&params.kernel));
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return put_copy(session, at, &params.memcpy.copyParams, params.memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_HOST:
      return put_host_node(session, at, {.function = params.host.fn, .data = params.host.userData});
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
      static_assert(sizeof(CUDA_MEM_ALLOC_NODE_PARAMS_v2) == sizeof(CUDA_MEM_ALLOC_NODE_PARAMS));
      return put_allocation_node(session, at,
                                 reinterpret_cast<CUDA_MEM_ALLOC_NODE_PARAMS*>(&params.alloc));
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
      static_assert(sizeof(CUDA_BATCH_MEM_OP_NODE_PARAMS_v2) ==
                    sizeof(CUDA_BATCH_MEM_OP_NODE_PARAMS));
      return put_memory_operations_node(
          session, at, reinterpret_cast<const CUDA_BATCH_MEM_OP_NODE_PARAMS*>(&params.memOp));
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
      return put_conditional_node(session, at, &params.conditional);
    case CU_GRAPH_NODE_TYPE_EMPTY:
      return ::cuGraphAddEmptyNode(added, graph, dependencies, count);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto& from = params.memset;
      const CUDA_MEMSET_NODE_PARAMS memset{from.dst,         from.pitch, from.value,
                                           from.elementSize, from.width, from.height};
      return ::cuGraphAddMemsetNode(added, graph, dependencies, count, &memset, from.ctx);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH:
      if (params.graph.ownership != CU_GRAPH_CHILD_GRAPH_OWNERSHIP_CLONE) {
        detail::log_not_supported("cuGraphAddNode", "a child graph that moves to its parent");
        return CUDA_ERROR_NOT_SUPPORTED;
      }
      return ::cuGraphAddChildGraphNode(added, graph, dependencies, count, params.graph.graph);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return ::cuGraphAddEventWaitNode(added, graph, dependencies, count, params.eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return ::cuGraphAddEventRecordNode(added, graph, dependencies, count,
                                         params.eventRecord.event);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
      return ::cuGraphAddMemFreeNode(added, graph, dependencies, count, params.free.dptr);
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL:
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT:
      return CUDA_ERROR_NOT_SUPPORTED;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// In its graph, or in `exec` alone. What can't be changed later is no valid type here.
int change(Session& session, CUgraphExec exec, CUgraphNode node, CUgraphNodeParams& params) {
  const NodePlace at = NodePlace::existing(node, exec);
  switch (params.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
    case CU_GRAPH_NODE_TYPE_MEMCPY:
    case CU_GRAPH_NODE_TYPE_HOST:
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
      return add(session, at, params);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto& from = params.memset;
      const CUDA_MEMSET_NODE_PARAMS memset{from.dst,         from.pitch, from.value,
                                           from.elementSize, from.width, from.height};
      return exec != nullptr ? ::cuGraphExecMemsetNodeSetParams(exec, node, &memset, from.ctx)
                             : ::cuGraphMemsetNodeSetParams(node, &memset);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return exec != nullptr ? ::cuGraphExecChildGraphNodeSetParams(exec, node, params.graph.graph)
                             : CUDA_ERROR_INVALID_VALUE;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return exec != nullptr
                 ? ::cuGraphExecEventWaitNodeSetEvent(exec, node, params.eventWait.event)
                 : ::cuGraphEventWaitNodeSetEvent(node, params.eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return exec != nullptr
                 ? ::cuGraphExecEventRecordNodeSetEvent(exec, node, params.eventRecord.event)
                 : ::cuGraphEventRecordNodeSetEvent(node, params.eventRecord.event);
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL:
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT:
      return CUDA_ERROR_NOT_SUPPORTED;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

}  // namespace

int cuGraphAddNode_v2(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                      const CUgraphNode* dependencies, const CUgraphEdgeData* dependencyData,
                      size_t numDependencies, CUgraphNodeParams* nodeParams) {
  if (phGraphNode == nullptr || nodeParams == nullptr || hGraph == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  NodePlace at = NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies);
  const bool data = dependencyData != nullptr && dependencies != nullptr &&
                    std::any_of(dependencyData, dependencyData + numDependencies, has_data);
  if (!data) return add(session, at, *nodeParams);
  NodePlace alone = at;
  alone.dependency_count = 0;
  if (const int failed = add(session, alone, *nodeParams)) return failed;
  const int failed = add_edges(session, at, *phGraphNode, dependencyData);
  if (failed != CUDA_SUCCESS) (void)::cuGraphDestroyNode(*phGraphNode);
  return failed;
}

int cuGraphAddNode(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                   const CUgraphNode* dependencies, size_t numDependencies,
                   CUgraphNodeParams* nodeParams) {
  return cuGraphAddNode_v2(session, phGraphNode, hGraph, dependencies, nullptr, numDependencies,
                           nodeParams);
}

int cuGraphNodeSetParams(Session& session, CUgraphNode hNode, CUgraphNodeParams* nodeParams) {
  if (nodeParams == nullptr || hNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return change(session, nullptr, hNode, *nodeParams);
}

int cuGraphExecNodeSetParams(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                             CUgraphNodeParams* nodeParams) {
  if (nodeParams == nullptr || hNode == nullptr || hGraphExec == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  return change(session, hGraphExec, hNode, *nodeParams);
}

}  // namespace farcall::client::driver
