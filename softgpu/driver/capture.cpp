#include "softgpu/driver/capture.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/stream.h"
#include "softgpu/driver/thread_state.h"

namespace farcall::softgpu {
namespace {

std::mutex& captures_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

// Captures that have begun and not ended; guarded by captures_mutex().
std::vector<std::shared_ptr<Capture>>& captures() {
  static auto& list = *new std::vector<std::shared_ptr<Capture>>;
  return list;
}

// How many those are: so that calls outside of captures need no lock.
std::atomic<int> capture_count = 0;

void add_unique(std::vector<GraphNodeRef>* nodes, const std::vector<GraphNodeRef>& more) {
  for (const GraphNodeRef& node : more) {
    if (std::find(nodes->begin(), nodes->end(), node) == nodes->end()) nodes->push_back(node);
  }
}

}  // namespace

Capture::Capture(StreamRef origin, GraphRef graph, CUstreamCaptureMode mode)
    : origin_(std::move(origin)),
      graph_(std::move(graph)),
      mode_(mode),
      thread_(this_thread().number),
      id_(driver().next_id()) {}

CUresult Capture::begin(const StreamRef& origin, const GraphRef& graph,
                        std::vector<GraphNodeRef> first, CUstreamCaptureMode mode) {
  if (mode != CU_STREAM_CAPTURE_MODE_GLOBAL && mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL &&
      mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (origin->kind() == Stream::Kind::kLegacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  std::lock_guard lock(captures_mutex());
  if (origin->capture() != nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  std::shared_ptr<Capture> capture(new Capture(origin, graph, mode));
  capture->participants_[origin.get()] = {origin, std::move(first)};
  origin->set_capture(capture);
  captures().push_back(capture);
  ++capture_count;
  return CUDA_SUCCESS;
}

CUresult Capture::end(const StreamRef& origin, GraphRef* graph) {
  std::lock_guard lock(captures_mutex());
  std::shared_ptr<Capture> capture = origin->capture();
  if (capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin_ != origin) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode_ != CU_STREAM_CAPTURE_MODE_RELAXED &&
      capture->thread_ != this_thread().number) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  CUresult result = CUDA_SUCCESS;
  if (capture->invalid_) {
    result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  } else if (!capture->joined()) {
    result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  }
  capture->leave();
  if (result == CUDA_SUCCESS) *graph = capture->graph_;
  return result;
}

// Everything other streams did must come before what the origin would do next.
bool Capture::joined() const {
  const std::vector<GraphNodeRef>& last = participants_.at(origin_.get()).after;
  for (const auto& [stream, participant] : participants_) {
    for (const GraphNodeRef& node : participant.after) {
      if (!graph_->is_before(*node, last)) return false;
    }
  }
  return true;
}

void Capture::leave() {
  for (const auto& [stream, participant] : participants_) participant.stream->set_capture(nullptr);
  participants_.clear();
  std::erase_if(captures(), [this](const auto& one) { return one.get() == this; });
  --capture_count;
}

Capture::Participant* Capture::find(const Stream& stream) {
  auto found = participants_.find(&stream);
  return found == participants_.end() ? nullptr : &found->second;
}
const Capture::Participant* Capture::find(const Stream& stream) const {
  auto found = participants_.find(&stream);
  return found == participants_.end() ? nullptr : &found->second;
}

CUresult Capture::record(const Stream& stream, NodeContent content) {
  std::lock_guard lock(captures_mutex());
  if (invalid_) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  Participant* participant = find(stream);
  if (participant == nullptr) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;  // ended meanwhile
  GraphNodeRef node;
  if (CUresult error = graph_->add(std::move(content), participant->after, &node)) return error;
  participant->after = {node};
  return CUDA_SUCCESS;
}

CUresult Capture::position(const Stream& stream, std::vector<GraphNodeRef>* after) const {
  std::lock_guard lock(captures_mutex());
  const Participant* participant = find(stream);
  if (invalid_ || participant == nullptr) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  *after = participant->after;
  return CUDA_SUCCESS;
}

CUresult Capture::wait(const StreamRef& stream, const std::vector<GraphNodeRef>& position) {
  std::lock_guard lock(captures_mutex());
  if (invalid_) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (participants_.empty()) return CUDA_ERROR_CAPTURED_EVENT;  // that capture has ended
  if (stream->kind() == Stream::Kind::kLegacy) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  std::shared_ptr<Capture> other = stream->capture();
  if (other != nullptr && other.get() != this) {
    invalid_ = true;
    other->invalid_ = true;
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  }
  Participant* participant = find(*stream);
  if (participant == nullptr) {
    participant = &participants_[stream.get()];
    participant->stream = stream;
    stream->set_capture(shared_from_this());
  }
  add_unique(&participant->after, position);
  return CUDA_SUCCESS;
}

Capture::Info Capture::info(const Stream& stream) const {
  std::lock_guard lock(captures_mutex());
  Info info;
  const Participant* participant = find(stream);
  if (participant == nullptr) return info;
  info.status = invalid_ ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  info.id = id_;
  info.graph = graph_;
  info.after = participant->after;
  return info;
}

CUresult Capture::update_dependencies(const Stream& stream, std::vector<GraphNodeRef> nodes,
                                      bool add) {
  std::lock_guard lock(captures_mutex());
  Participant* participant = find(stream);
  if (invalid_ || participant == nullptr) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  for (const GraphNodeRef& node : nodes) {
    if (&node->graph != graph_.get()) return CUDA_ERROR_INVALID_VALUE;
  }
  if (!add) participant->after.clear();
  add_unique(&participant->after, nodes);
  return CUDA_SUCCESS;
}

void Capture::invalidate() {
  std::lock_guard lock(captures_mutex());
  invalid_ = true;
}

void Capture::stream_destroyed(const Stream& stream) {
  if (&stream == origin_.get()) invalidate();
}

CUresult check_unsafe_call() {
  if (capture_count.load(std::memory_order_acquire) == 0) return CUDA_SUCCESS;
  const ThreadState& thread = this_thread();
  if (thread.capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  std::lock_guard lock(captures_mutex());
  bool spoiled = false;
  for (const std::shared_ptr<Capture>& capture : captures()) {
    const bool own =
        capture->thread_ == thread.number && capture->mode_ != CU_STREAM_CAPTURE_MODE_RELAXED;
    const bool global = thread.capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                        capture->mode_ == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!own && !global) continue;
    capture->invalid_ = true;
    spoiled = true;
  }
  if (!spoiled) return CUDA_SUCCESS;
  log::debug("a call that stream capture forbids has spoiled a capture");
  return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult check_legacy_during_capture(const Stream& stream, bool only_looks) {
  if (capture_count.load(std::memory_order_acquire) == 0 ||
      stream.kind() != Stream::Kind::kLegacy) {
    return CUDA_SUCCESS;
  }
  std::lock_guard lock(captures_mutex());
  for (const std::shared_ptr<Capture>& capture : captures()) {
    for (const auto& [participant, unused] : capture->participants_) {
      if (participant->blocking() && &participant->context() == &stream.context()) {
        if (!only_looks) capture->invalid_ = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    }
  }
  return CUDA_SUCCESS;
}

CUresult check_not_capturing(const Stream& stream) {
  if (CUresult error = check_legacy_during_capture(stream)) return error;
  if (std::shared_ptr<Capture> capture = stream.capture()) {
    capture->invalidate();
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
