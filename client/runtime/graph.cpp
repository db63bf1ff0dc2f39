// Captures and executable graphs of the runtime API; its handles and numbers are the driver's. See
// client/graphs.h.
#include <cuda_runtime_api.h>

#include "client/graphs.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {

int cudaThreadExchangeStreamCaptureMode(Session& session, cudaStreamCaptureMode* mode) {
  if (mode == nullptr) return cudaErrorInvalidValue;
  int exchanged = int(*mode);
  const int result = exchange_capture_mode(session, &exchanged);
  if (result == cudaSuccess) *mode = cudaStreamCaptureMode(exchanged);
  return result;
}

int cudaStreamBeginCapture(Session& session, cudaStream_t stream, cudaStreamCaptureMode mode,
                           bool per_thread_default) {
  return begin_capture(session, stream_id(session, stream, per_thread_default), int(mode));
}

int cudaStreamBeginCaptureToGraph(Session& session, cudaStream_t stream, cudaGraph_t graph,
                                  const cudaGraphNode_t* dependencies,
                                  const cudaGraphEdgeData* dependencyData, size_t numDependencies,
                                  cudaStreamCaptureMode mode, bool per_thread_default) {
  static_assert(sizeof(cudaGraphEdgeData) == sizeof(CUgraphEdgeData));
  return begin_capture_to_graph(
      session, stream_id(session, stream, per_thread_default), graph, dependencies,
      reinterpret_cast<const CUgraphEdgeData*>(dependencyData), numDependencies, int(mode));
}

int cudaStreamEndCapture(Session& session, cudaStream_t stream, cudaGraph_t* pGraph,
                         bool per_thread_default) {
  return end_capture(session, stream_id(session, stream, per_thread_default), pGraph);
}

int cudaGraphInstantiate(Session& session, cudaGraphExec_t* pGraphExec, cudaGraph_t graph,
                         unsigned long long flags) {
  return instantiate_graph(session, pGraphExec, graph, flags);
}

int cudaGraphInstantiateWithFlags(Session& session, cudaGraphExec_t* pGraphExec, cudaGraph_t graph,
                                  unsigned long long flags) {
  return instantiate_graph(session, pGraphExec, graph, flags);
}

int cudaGraphInstantiateWithParams(Session& session, cudaGraphExec_t* pGraphExec, cudaGraph_t graph,
                                   cudaGraphInstantiateParams* instantiateParams,
                                   bool per_thread_default) {
  // The same struct but for the names.
  static_assert(sizeof(cudaGraphInstantiateParams) == sizeof(CUDA_GRAPH_INSTANTIATE_PARAMS));
  if (instantiateParams == nullptr) return cudaErrorInvalidValue;
  return instantiate_graph_with_params(
      session, pGraphExec, graph,
      reinterpret_cast<CUDA_GRAPH_INSTANTIATE_PARAMS*>(instantiateParams),
      stream_id(session, instantiateParams->uploadStream, per_thread_default));
}

int cudaGraphExecUpdate(Session& session, cudaGraphExec_t hGraphExec, cudaGraph_t hGraph,
                        cudaGraphExecUpdateResultInfo* resultInfo) {
  if (resultInfo == nullptr) return cudaErrorInvalidValue;
  CUgraphExecUpdateResultInfo info = {};
  const int result = update_exec(session, hGraphExec, hGraph, &info);
  resultInfo->result = static_cast<cudaGraphExecUpdateResult>(info.result);
  resultInfo->errorNode = info.errorNode;
  resultInfo->errorFromNode = info.errorFromNode;
  return result;
}

int cudaGraphLaunch(Session& session, cudaGraphExec_t graphExec, cudaStream_t stream,
                    bool per_thread_default) {
  return launch_graph(session, graphExec, stream_id(session, stream, per_thread_default));
}

int cudaGraphExecDestroy(Session& session, cudaGraphExec_t graphExec) {
  return destroy_exec(session, graphExec);
}

int cudaGraphNodeSetEnabled(Session& session, cudaGraphExec_t hGraphExec, cudaGraphNode_t hNode,
                            unsigned int isEnabled) {
  return set_node_enabled(session, hGraphExec, hNode, isEnabled);
}

int cudaGraphExecChildGraphNodeSetParams(Session& session, cudaGraphExec_t hGraphExec,
                                         cudaGraphNode_t node, cudaGraph_t childGraph) {
  return set_child_graph(session, hGraphExec, node, childGraph);
}

// cudaGraphDebugDotFlags and CUgraphDebugDot_flags are the same numbers.
int cudaGraphDebugDotPrint(Session& session, cudaGraph_t graph, const char* path,
                           unsigned int flags) {
  return print_graph(session, graph, path, flags | CU_GRAPH_DEBUG_DOT_FLAGS_RUNTIME_TYPES);
}

}  // namespace farcall::client::runtime
