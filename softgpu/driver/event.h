// An event: a mark in the work of a stream. It stands for the operation that was last in the stream
// when it was recorded, or, recorded while the stream was captured, for nodes of that graph.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "softgpu/driver/capture.h"
#include "softgpu/driver/driver.h"

namespace farcall::softgpu {

class SharedEvent;

class Event {
 public:
  Event(ContextRef context, unsigned flags) : context_(std::move(context)), flags_(flags) {}

  CUevent handle = nullptr;
  Context& context() const { return *context_; }
  bool timed() const { return (flags_ & CU_EVENT_DISABLE_TIMING) == 0; }

  struct State {
    OperationRef operation;  // nullptr: never recorded here, which counts as done
    ContextRef recorded_in;
    std::shared_ptr<Capture> capture;  // recorded in a capture, then `position` says where
    std::vector<GraphNodeRef> position;
  };
  State state() const {
    std::lock_guard lock(mutex_);
    return state_;
  }
  void record(State state);
  // What the last record stands for: is it done, and the operation to wait for (nullptr: none).
  bool done() const;
  OperationRef to_wait_for() const;

  // Events that other processes share: set before the event is the program's.
  std::shared_ptr<SharedEvent> shared;

 private:
  // The last record was another process's: its ticket.
  bool foreign(uint64_t* ticket) const;
  const ContextRef context_;
  const unsigned flags_;
  mutable std::mutex mutex_;
  State state_;              // guarded by mutex_
  uint64_t own_ticket_ = 0;  // guarded by mutex_: of the last record here
};

}  // namespace farcall::softgpu
