// Stream capture: while it lasts, what is submitted to a stream becomes nodes of a graph instead of
// running. A capture begins in one stream, its origin. A stream that waits for an event recorded in
// a capture joins it, and must be joined back (by an event the other way) before the capture ends
// in the origin.
//
// All captures of the process share one mutex: they are rare and short, and their rules are about
// each other.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "softgpu/driver/driver.h"
#include "softgpu/driver/work.h"

namespace farcall::softgpu {

using GraphRef = std::shared_ptr<Graph>;
using GraphNodeRef = std::shared_ptr<GraphNode>;

struct NodeContent;

class Capture : public std::enable_shared_from_this<Capture> {
 public:
  // The functions named like CUDA's do what CUDA's do.
  static CUresult begin(const StreamRef& origin, const GraphRef& graph,
                        std::vector<GraphNodeRef> first, CUstreamCaptureMode mode);
  static CUresult end(const StreamRef& origin, GraphRef* graph);

  // Adds a node after all that the stream has to wait for; it is then what the stream waits for.
  CUresult record(const Stream& stream, NodeContent content);
  // What an event recorded now in the stream stands for.
  CUresult position(const Stream& stream, std::vector<GraphNodeRef>* after) const;
  // cuStreamWaitEvent on an event recorded in this capture at `position`: the stream joins if it
  // has not.
  CUresult wait(const StreamRef& stream, const std::vector<GraphNodeRef>& position);

  struct Info {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    uint64_t id = 0;
    GraphRef graph;
    std::vector<GraphNodeRef> after;
  };
  Info info(const Stream& stream) const;
  CUresult update_dependencies(const Stream& stream, std::vector<GraphNodeRef> nodes, bool add);

  // Something the capture can't hold was asked of one of its streams: it can only be ended now.
  void invalidate();
  // Without its origin a capture can't end; others that were joined are not missed.
  void stream_destroyed(const Stream& stream);

 private:
  Capture(StreamRef origin, GraphRef graph, CUstreamCaptureMode mode);
  friend CUresult check_unsafe_call();
  friend CUresult check_legacy_during_capture(const Stream& stream, bool only_looks);

  struct Participant {
    StreamRef stream;
    std::vector<GraphNodeRef> after;
  };
  Participant* find(const Stream& stream);
  const Participant* find(const Stream& stream) const;
  bool joined() const;
  void leave();

  const StreamRef origin_;
  const GraphRef graph_;
  const CUstreamCaptureMode mode_;
  const uint64_t thread_;  // that began it
  const uint64_t id_;
  bool invalid_ = false;  // guarded by the captures' mutex, as is what follows
  std::map<const Stream*, Participant> participants_;
};

// For a call that is not ordered by streams (cuMemAlloc, cuMemFree, cuCtxSynchronize...): CUDA
// forbids it while a capture might be spoiled by it, by the rules of
// cuThreadExchangeStreamCaptureMode.
CUresult check_unsafe_call();
// For work submitted to the stream: work in the legacy stream would wait for streams that are
// being captured, which spoils the captures. A call that only looks gets the error and spoils none.
CUresult check_legacy_during_capture(const Stream& stream, bool only_looks = false);
// For a call that waits for the stream: impossible while it is captured; that spoils the capture.
CUresult check_not_capturing(const Stream& stream);

}  // namespace farcall::softgpu
