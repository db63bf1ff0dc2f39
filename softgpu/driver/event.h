// An event: a mark in the work of a stream. It stands for the operation that was last in the stream
// when it was recorded, or, recorded while the stream was captured, for nodes of that graph.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "softgpu/driver/capture.h"
#include "softgpu/driver/driver.h"

namespace farcall::softgpu {

class Event {
 public:
  Event(ContextRef context, unsigned flags) : context_(std::move(context)), flags_(flags) {}

  CUevent handle = nullptr;
  Context& context() const { return *context_; }
  bool timed() const { return (flags_ & CU_EVENT_DISABLE_TIMING) == 0; }

  struct State {
    OperationRef operation;  // nullptr: never recorded, which counts as done
    ContextRef recorded_in;
    std::shared_ptr<Capture> capture;  // recorded in a capture, then `position` says where
    std::vector<GraphNodeRef> position;
  };
  State state() const {
    std::lock_guard lock(mutex_);
    return state_;
  }
  void record(State state) {
    std::lock_guard lock(mutex_);
    state_ = std::move(state);
  }

 private:
  const ContextRef context_;
  const unsigned flags_;
  mutable std::mutex mutex_;
  State state_;  // guarded by mutex_
};

}  // namespace farcall::softgpu
