// cuStream...Capture*.
#include <utility>

#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/stream.h"
#include "softgpu/driver/thread_state.h"

namespace farcall::softgpu {

CUresult api::cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  GraphRef graph = Graph::create();
  const CUresult result = Capture::begin(stream, graph, {}, mode);
  if (result != CUDA_SUCCESS) graph->retire();
  return result;
}
CUresult api::cuStreamBeginCapture(CUstream handle) {
  return api::cuStreamBeginCapture_v2(handle, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult api::cuStreamBeginCaptureToGraph(CUstream handle, CUgraph graph_handle,
                                          const CUgraphNode* dependencies, const CUgraphEdgeData*,
                                          size_t count, CUstreamCaptureMode mode) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  std::vector<GraphNodeRef> after;
  if (CUresult error = find_nodes(dependencies, count, &after)) return error;
  return Capture::begin(stream, graph, std::move(after), mode);
}

CUresult api::cuStreamEndCapture(CUstream handle, CUgraph* out) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (out != nullptr) *out = nullptr;
  GraphRef graph;
  if (CUresult error = Capture::end(stream, &graph)) return error;
  if (out != nullptr) *out = graph->handle();  // who has captured to a graph of theirs knows it
  return CUDA_SUCCESS;
}

CUresult api::cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = check_legacy_during_capture(*stream, true)) return error;
  std::shared_ptr<Capture> capture = stream->capture();
  *status = capture == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE : capture->info(*stream).status;
  return CUDA_SUCCESS;
}

CUresult api::cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus* status,
                                        cuuint64_t* id, CUgraph* graph,
                                        const CUgraphNode** dependencies,
                                        const CUgraphEdgeData** edges, size_t* count) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = check_legacy_during_capture(*stream, true)) return error;
  Capture::Info info;
  if (std::shared_ptr<Capture> capture = stream->capture()) info = capture->info(*stream);
  *status = info.status;
  if (info.status != CU_STREAM_CAPTURE_STATUS_ACTIVE) return CUDA_SUCCESS;
  if (id != nullptr) *id = info.id;
  if (graph != nullptr) *graph = info.graph->handle();
  if (edges != nullptr) *edges = nullptr;  // all are ordinary
  if (dependencies != nullptr) {
    // CUDA says: good until the next call about this stream.
    *dependencies = stream->show_dependencies(info.after);
  }
  if (count != nullptr) *count = info.after.size();
  return CUDA_SUCCESS;
}
CUresult api::cuStreamGetCaptureInfo_v2(CUstream handle, CUstreamCaptureStatus* status,
                                        cuuint64_t* id, CUgraph* graph,
                                        const CUgraphNode** dependencies, size_t* count) {
  return api::cuStreamGetCaptureInfo_v3(handle, status, id, graph, dependencies, nullptr, count);
}
CUresult api::cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus* status,
                                     cuuint64_t* id) {
  return api::cuStreamGetCaptureInfo_v3(handle, status, id, nullptr, nullptr, nullptr, nullptr);
}

CUresult api::cuStreamUpdateCaptureDependencies_v2(CUstream handle, CUgraphNode* dependencies,
                                                   const CUgraphEdgeData*, size_t count,
                                                   unsigned flags) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (flags != CU_STREAM_ADD_CAPTURE_DEPENDENCIES && flags != CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::shared_ptr<Capture> capture = stream->capture();
  if (capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  std::vector<GraphNodeRef> nodes;
  if (CUresult error = find_nodes(dependencies, count, &nodes)) return error;
  return capture->update_dependencies(*stream, std::move(nodes),
                                      flags == CU_STREAM_ADD_CAPTURE_DEPENDENCIES);
}
CUresult api::cuStreamUpdateCaptureDependencies(CUstream handle, CUgraphNode* dependencies,
                                                size_t count, unsigned flags) {
  return api::cuStreamUpdateCaptureDependencies_v2(handle, dependencies, nullptr, count, flags);
}

CUresult api::cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  if (mode == nullptr ||
      (*mode != CU_STREAM_CAPTURE_MODE_GLOBAL && *mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL &&
       *mode != CU_STREAM_CAPTURE_MODE_RELAXED)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::swap(*mode, this_thread().capture_mode);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
