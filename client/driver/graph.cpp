// Captures and executable graphs of the driver API; see client/graphs.h.
#include <cuda.h>

#include "client/driver_bodies.h"
#include "client/graphs.h"
#include "client/stub.h"

namespace farcall::client::driver {

// Before CUDA 10.1 there was one mode.
int cuStreamBeginCapture(Session& session, CUstream hStream, bool per_thread_default) {
  return begin_capture(session, stream_id(session, hStream, per_thread_default),
                       CU_STREAM_CAPTURE_MODE_GLOBAL);
}

int cuThreadExchangeStreamCaptureMode(Session& session, CUstreamCaptureMode* mode) {
  if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  int exchanged = int(*mode);
  const int result = exchange_capture_mode(session, &exchanged);
  if (result == CUDA_SUCCESS) *mode = CUstreamCaptureMode(exchanged);
  return result;
}

int cuStreamBeginCapture_v2(Session& session, CUstream hStream, CUstreamCaptureMode mode,
                            bool per_thread_default) {
  return begin_capture(session, stream_id(session, hStream, per_thread_default), int(mode));
}

int cuStreamBeginCaptureToGraph(Session& session, CUstream hStream, CUgraph hGraph,
                                const CUgraphNode* dependencies,
                                const CUgraphEdgeData* dependencyData, size_t numDependencies,
                                CUstreamCaptureMode mode, bool per_thread_default) {
  return begin_capture_to_graph(session, stream_id(session, hStream, per_thread_default), hGraph,
                                dependencies, dependencyData, numDependencies, int(mode));
}

int cuStreamEndCapture(Session& session, CUstream hStream, CUgraph* phGraph,
                       bool per_thread_default) {
  return end_capture(session, stream_id(session, hStream, per_thread_default), phGraph);
}

int cuGraphInstantiateWithFlags(Session& session, CUgraphExec* phGraphExec, CUgraph hGraph,
                                unsigned long long flags) {
  return instantiate_graph(session, phGraphExec, hGraph, flags);
}

int cuGraphInstantiateWithParams(Session& session, CUgraphExec* phGraphExec, CUgraph hGraph,
                                 CUDA_GRAPH_INSTANTIATE_PARAMS* instantiateParams,
                                 bool per_thread_default) {
  if (instantiateParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return instantiate_graph_with_params(
      session, phGraphExec, hGraph, instantiateParams,
      stream_id(session, instantiateParams->hUploadStream, per_thread_default));
}

// CUDA says that a failure "may" name a node and leave diagnostics: this one never does.
int cuGraphInstantiate_v2(Session& session, CUgraphExec* phGraphExec, CUgraph hGraph,
                          CUgraphNode* phErrorNode, char* logBuffer, size_t bufferSize) {
  if (phErrorNode != nullptr) *phErrorNode = nullptr;
  if (logBuffer != nullptr && bufferSize > 0) logBuffer[0] = '\0';
  return instantiate_graph(session, phGraphExec, hGraph, 0);
}

int cuGraphExecUpdate_v2(Session& session, CUgraphExec hGraphExec, CUgraph hGraph,
                         CUgraphExecUpdateResultInfo* resultInfo) {
  return update_exec(session, hGraphExec, hGraph, resultInfo);
}

int cuGraphExecUpdate(Session& session, CUgraphExec hGraphExec, CUgraph hGraph,
                      CUgraphNode* hErrorNode_out, CUgraphExecUpdateResult* updateResult_out) {
  CUgraphExecUpdateResultInfo info = {};
  const int result = update_exec(session, hGraphExec, hGraph, &info);
  if (hErrorNode_out != nullptr) *hErrorNode_out = info.errorNode;
  if (updateResult_out != nullptr) *updateResult_out = info.result;
  return result;
}

int cuGraphLaunch(Session& session, CUgraphExec hGraph, CUstream hStream, bool per_thread_default) {
  return launch_graph(session, hGraph, stream_id(session, hStream, per_thread_default));
}

int cuGraphExecDestroy(Session& session, CUgraphExec hGraphExec) {
  return destroy_exec(session, hGraphExec);
}

int cuGraphNodeSetEnabled(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                          unsigned int isEnabled) {
  return set_node_enabled(session, hGraphExec, hNode, isEnabled);
}

int cuGraphExecChildGraphNodeSetParams(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                                       CUgraph childGraph) {
  return set_child_graph(session, hGraphExec, hNode, childGraph);
}

int cuGraphDebugDotPrint(Session& session, CUgraph hGraph, const char* path, unsigned int flags) {
  return print_graph(session, hGraph, path, flags);
}

}  // namespace farcall::client::driver
