// Nodes of the runtime API that copy and allocate memory, and user objects; see
// client/graph_nodes.h. A copy is described in three dimensions, as so many bytes, or with a
// variable of the program at one end; it is added, changed, or changed in an executable graph
// alone.
#include <cuda_runtime_api.h>

#include <cstring>

#include "client/runtime/copy_3d.h"
#include "client/runtime/copy_kind.h"
#include "client/runtime/graph_puts.h"
#include "client/runtime/registration.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"
#include "client/stub_args.h"

namespace farcall::client::runtime {

int put_copy(Session& session, const NodePlace& at, const cudaMemcpy3DParms* params) {
  if (params == nullptr) return cudaErrorInvalidValue;
  CopyNode copy;
  if (const int failed = read_copy(session, params, &copy)) return failed;
  return put_copy_node(session, at, copy, thread_state().lane.context);
}

namespace {

int put_bytes(Session& session, const NodePlace& at, uint64_t to, uint64_t from, size_t count,
              cudaMemcpyKind kind) {
  Direction direction;
  if (!direction_from(kind, to, from, &direction)) return cudaErrorInvalidMemcpyDirection;
  CopyNode copy;
  copy.to.address = to;
  copy.from.address = from;
  copy.to.pitch_bytes = copy.from.pitch_bytes = count;
  copy.to.slice_rows = copy.from.slice_rows = 1;
  copy.to_device = direction == Direction::kHostToDevice || direction == Direction::kDeviceToDevice;
  copy.from_device =
      direction == Direction::kDeviceToHost || direction == Direction::kDeviceToDevice;
  copy.extent = {count, 1, 1};
  return put_copy_node(session, at, copy, thread_state().lane.context);
}

// Where so many bytes of a variable are.
int part_of(Session& session, const void* symbol, size_t count, size_t offset, uint64_t* address) {
  uint64_t bytes = 0;
  if (const int failed = variable_of(session, symbol, address, &bytes)) return failed;
  if (offset > bytes || count > bytes - offset) return cudaErrorInvalidValue;
  *address += offset;
  return cudaSuccess;
}

int put_to_symbol(Session& session, const NodePlace& at, const void* symbol, const void* src,
                  size_t count, size_t offset, cudaMemcpyKind kind) {
  if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToDevice &&
      kind != cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  uint64_t address = 0;
  if (const int failed = part_of(session, symbol, count, offset, &address)) return failed;
  if (kind == cudaMemcpyDefault) {
    kind = classify(0, address_of(src)) == Direction::kDeviceToHost ? cudaMemcpyDeviceToDevice
                                                                    : cudaMemcpyHostToDevice;
  }
  return put_bytes(session, at, address, address_of(src), count, kind);
}

int put_from_symbol(Session& session, const NodePlace& at, void* dst, const void* symbol,
                    size_t count, size_t offset, cudaMemcpyKind kind) {
  if (kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice &&
      kind != cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  uint64_t address = 0;
  if (const int failed = part_of(session, symbol, count, offset, &address)) return failed;
  if (kind == cudaMemcpyDefault) {
    kind = classify(address_of(dst), 0) == Direction::kHostToDevice ? cudaMemcpyDeviceToDevice
                                                                    : cudaMemcpyDeviceToHost;
  }
  return put_bytes(session, at, address_of(dst), address, count, kind);
}

}  // namespace

// --- Added

int cudaGraphAddMemcpyNode(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                           const cudaGraphNode_t* pDependencies, size_t numDependencies,
                           const cudaMemcpy3DParms* pCopyParams) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_copy(session, NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies),
                  pCopyParams);
}

int cudaGraphAddMemcpyNode1D(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                             const cudaGraphNode_t* pDependencies, size_t numDependencies,
                             void* dst, const void* src, size_t count, cudaMemcpyKind kind) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_bytes(session, NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies),
                   address_of(dst), address_of(src), count, kind);
}

int cudaGraphAddMemcpyNodeToSymbol(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                                   const cudaGraphNode_t* pDependencies, size_t numDependencies,
                                   const void* symbol, const void* src, size_t count, size_t offset,
                                   cudaMemcpyKind kind) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_to_symbol(session,
                       NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies),
                       symbol, src, count, offset, kind);
}

int cudaGraphAddMemcpyNodeFromSymbol(Session& session, cudaGraphNode_t* pGraphNode,
                                     cudaGraph_t graph, const cudaGraphNode_t* pDependencies,
                                     size_t numDependencies, void* dst, const void* symbol,
                                     size_t count, size_t offset, cudaMemcpyKind kind) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_from_symbol(session,
                         NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies),
                         dst, symbol, count, offset, kind);
}

// --- Changed

int cudaGraphMemcpyNodeSetParams(Session& session, cudaGraphNode_t node,
                                 const cudaMemcpy3DParms* pNodeParams) {
  return put_copy(session, NodePlace::existing(node), pNodeParams);
}

int cudaGraphMemcpyNodeSetParams1D(Session& session, cudaGraphNode_t node, void* dst,
                                   const void* src, size_t count, cudaMemcpyKind kind) {
  return put_bytes(session, NodePlace::existing(node), address_of(dst), address_of(src), count,
                   kind);
}

int cudaGraphMemcpyNodeSetParamsToSymbol(Session& session, cudaGraphNode_t node, const void* symbol,
                                         const void* src, size_t count, size_t offset,
                                         cudaMemcpyKind kind) {
  return put_to_symbol(session, NodePlace::existing(node), symbol, src, count, offset, kind);
}

int cudaGraphMemcpyNodeSetParamsFromSymbol(Session& session, cudaGraphNode_t node, void* dst,
                                           const void* symbol, size_t count, size_t offset,
                                           cudaMemcpyKind kind) {
  return put_from_symbol(session, NodePlace::existing(node), dst, symbol, count, offset, kind);
}

int cudaGraphExecMemcpyNodeSetParams(Session& session, cudaGraphExec_t hGraphExec,
                                     cudaGraphNode_t node, const cudaMemcpy3DParms* pNodeParams) {
  if (hGraphExec == nullptr) return cudaErrorInvalidValue;
  return put_copy(session, NodePlace::existing(node, hGraphExec), pNodeParams);
}

int cudaGraphExecMemcpyNodeSetParams1D(Session& session, cudaGraphExec_t hGraphExec,
                                       cudaGraphNode_t node, void* dst, const void* src,
                                       size_t count, cudaMemcpyKind kind) {
  if (hGraphExec == nullptr) return cudaErrorInvalidValue;
  return put_bytes(session, NodePlace::existing(node, hGraphExec), address_of(dst), address_of(src),
                   count, kind);
}

int cudaGraphExecMemcpyNodeSetParamsToSymbol(Session& session, cudaGraphExec_t hGraphExec,
                                             cudaGraphNode_t node, const void* symbol,
                                             const void* src, size_t count, size_t offset,
                                             cudaMemcpyKind kind) {
  if (hGraphExec == nullptr) return cudaErrorInvalidValue;
  return put_to_symbol(session, NodePlace::existing(node, hGraphExec), symbol, src, count, offset,
                       kind);
}

int cudaGraphExecMemcpyNodeSetParamsFromSymbol(Session& session, cudaGraphExec_t hGraphExec,
                                               cudaGraphNode_t node, void* dst, const void* symbol,
                                               size_t count, size_t offset, cudaMemcpyKind kind) {
  if (hGraphExec == nullptr) return cudaErrorInvalidValue;
  return put_from_symbol(session, NodePlace::existing(node, hGraphExec), dst, symbol, count, offset,
                         kind);
}

// --- Asked for

int cudaGraphMemcpyNodeGetParams(Session& session, cudaGraphNode_t node,
                                 cudaMemcpy3DParms* pNodeParams) {
  if (pNodeParams == nullptr) return cudaErrorInvalidValue;
  CopyNode copy;
  if (const int failed = get_copy_node(session, node, &copy)) return failed;
  cudaMemcpy3DParms out = {};
  uint64_t unit = 1;
  const auto put = [&](const Side& side, cudaArray_t* array, cudaPos* position,
                       cudaPitchedPtr* memory) -> int {
    if (side.array == 0) {
      *memory = {reinterpret_cast<void*>(side.address), side.pitch_bytes, copy.extent.width_bytes,
                 side.slice_rows};
      *position = {side.x_bytes, side.y, side.z};
      return cudaSuccess;
    }
    *array = handle_from<cudaArray_t>(side.array);
    if (const int failed = element_bytes(session, *array, &unit)) return failed;
    *position = {side.x_bytes / unit, side.y, side.z};
    return cudaSuccess;
  };
  if (const int failed = put(copy.from, &out.srcArray, &out.srcPos, &out.srcPtr)) return failed;
  if (const int failed = put(copy.to, &out.dstArray, &out.dstPos, &out.dstPtr)) return failed;
  out.extent = {copy.extent.width_bytes / unit, copy.extent.height, copy.extent.depth};
  switch (direction_of(copy.to_device, copy.from_device)) {
    case Direction::kHostToHost:
      out.kind = cudaMemcpyHostToHost;
      break;
    case Direction::kHostToDevice:
      out.kind = cudaMemcpyHostToDevice;
      break;
    case Direction::kDeviceToHost:
      out.kind = cudaMemcpyDeviceToHost;
      break;
    case Direction::kDeviceToDevice:
      out.kind = cudaMemcpyDeviceToDevice;
      break;
  }
  *pNodeParams = out;
  return cudaSuccess;
}

// --- Allocations: the structs are the driver's

static_assert(sizeof(cudaMemAllocNodeParams) == sizeof(CUDA_MEM_ALLOC_NODE_PARAMS));

int put_allocation(Session& session, const NodePlace& at, cudaMemAllocNodeParams* params) {
  return put_allocation_node(session, at, reinterpret_cast<CUDA_MEM_ALLOC_NODE_PARAMS*>(params));
}

int cudaGraphAddMemAllocNode(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                             const cudaGraphNode_t* pDependencies, size_t numDependencies,
                             cudaMemAllocNodeParams* nodeParams) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_allocation(
      session, NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies), nodeParams);
}

int cudaGraphMemAllocNodeGetParams(Session& session, cudaGraphNode_t node,
                                   cudaMemAllocNodeParams* params_out) {
  return get_allocation_node(session, node,
                             reinterpret_cast<CUDA_MEM_ALLOC_NODE_PARAMS*>(params_out));
}

// --- User objects

int cudaUserObjectCreate(Session& session, cudaUserObject_t* object_out, void* ptr,
                         cudaHostFn_t destroy, unsigned int initialRefcount, unsigned int flags) {
  return create_user_object(session, object_out, ptr, destroy, initialRefcount, flags);
}

}  // namespace farcall::client::runtime
