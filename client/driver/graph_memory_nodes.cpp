// Nodes of the driver API that copy, allocate and wait for words in memory, and user objects; see
// client/graph_nodes.h.
#include <cuda.h>

#include "client/driver/copy_3d.h"
#include "client/driver/graph_puts.h"
#include "client/driver_bodies.h"
#include "client/graph_nodes.h"
#include "client/stub.h"

namespace farcall::client::driver {

int put_copy(Session& session, const NodePlace& at, const CUDA_MEMCPY3D* params,
             CUcontext context) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CopySide to, from;
  if (!read_sides(*params, &to, &from)) return CUDA_ERROR_INVALID_VALUE;
  const CopyNode copy{to.side,
                      from.side,
                      to.device,
                      from.device,
                      {params->WidthInBytes, params->Height, params->Depth}};
  return put_copy_node(session, at, copy, id_of(context));
}

// --- Copies

int cuGraphAddMemcpyNode(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                         const CUgraphNode* dependencies, size_t numDependencies,
                         const CUDA_MEMCPY3D* copyParams, CUcontext ctx) {
  if (phGraphNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_copy(session, NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies),
                  copyParams, ctx);
}

int cuGraphMemcpyNodeSetParams(Session& session, CUgraphNode hNode,
                               const CUDA_MEMCPY3D* nodeParams) {
  return put_copy(session, NodePlace::existing(hNode), nodeParams, nullptr);
}

int cuGraphExecMemcpyNodeSetParams(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                                   const CUDA_MEMCPY3D* copyParams, CUcontext ctx) {
  if (hGraphExec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_copy(session, NodePlace::existing(hNode, hGraphExec), copyParams, ctx);
}

int cuGraphMemcpyNodeGetParams(Session& session, CUgraphNode hNode, CUDA_MEMCPY3D* nodeParams) {
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CopyNode copy;
  if (const int failed = get_copy_node(session, hNode, &copy)) return failed;
  const auto type = [](const Side& side, bool device) {
    if (side.array != 0) return CU_MEMORYTYPE_ARRAY;
    return device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  };
  CUDA_MEMCPY3D out = {};
  out.srcMemoryType = type(copy.from, copy.from_device);
  if (copy.from_device) {
    out.srcDevice = copy.from.address;
  } else {
    out.srcHost = reinterpret_cast<const void*>(copy.from.address);
  }
  out.srcArray = handle_from<CUarray>(copy.from.array);
  out.srcXInBytes = copy.from.x_bytes;
  out.srcY = copy.from.y;
  out.srcZ = copy.from.z;
  out.srcPitch = copy.from.pitch_bytes;
  out.srcHeight = copy.from.slice_rows;
  out.dstMemoryType = type(copy.to, copy.to_device);
  if (copy.to_device) {
    out.dstDevice = copy.to.address;
  } else {
    out.dstHost = reinterpret_cast<void*>(copy.to.address);
  }
  out.dstArray = handle_from<CUarray>(copy.to.array);
  out.dstXInBytes = copy.to.x_bytes;
  out.dstY = copy.to.y;
  out.dstZ = copy.to.z;
  out.dstPitch = copy.to.pitch_bytes;
  out.dstHeight = copy.to.slice_rows;
  out.WidthInBytes = copy.extent.width_bytes;
  out.Height = copy.extent.height;
  out.Depth = copy.extent.depth;
  *nodeParams = out;
  return CUDA_SUCCESS;
}

// --- Allocations

int cuGraphAddMemAllocNode(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                           const CUgraphNode* dependencies, size_t numDependencies,
                           CUDA_MEM_ALLOC_NODE_PARAMS* nodeParams) {
  if (phGraphNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_allocation_node(
      session, NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies), nodeParams);
}

int cuGraphMemAllocNodeGetParams(Session& session, CUgraphNode hNode,
                                 CUDA_MEM_ALLOC_NODE_PARAMS* params_out) {
  return get_allocation_node(session, hNode, params_out);
}

// --- Operations on words

int cuGraphAddBatchMemOpNode(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                             const CUgraphNode* dependencies, size_t numDependencies,
                             const CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams) {
  if (phGraphNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_memory_operations_node(
      session, NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies), nodeParams);
}

int cuGraphBatchMemOpNodeGetParams(Session& session, CUgraphNode hNode,
                                   CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams_out) {
  return get_memory_operations_node(session, hNode, nodeParams_out);
}

int cuGraphBatchMemOpNodeSetParams(Session& session, CUgraphNode hNode,
                                   const CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams) {
  return put_memory_operations_node(session, NodePlace::existing(hNode), nodeParams);
}

int cuGraphExecBatchMemOpNodeSetParams(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                                       const CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams) {
  if (hGraphExec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_memory_operations_node(session, NodePlace::existing(hNode, hGraphExec), nodeParams);
}

// --- User objects

int cuUserObjectCreate(Session& session, CUuserObject* object_out, void* ptr, CUhostFn destroy,
                       unsigned int initialRefcount, unsigned int flags) {
  return create_user_object(session, object_out, ptr, destroy, initialRefcount, flags);
}

}  // namespace farcall::client::driver
