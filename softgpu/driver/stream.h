// A stream: a queue of operations on its context's device. Only its end is remembered; the
// scheduler has the rest.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "softgpu/driver/driver.h"

namespace farcall::softgpu {

class Capture;

class Stream {
 public:
  enum class Kind : uint8_t { kLegacy, kPerThread, kUser };
  // `keep`: the context again, except for its legacy stream, which is part of it.
  Stream(Context& context, ContextRef keep, Kind kind, unsigned flags, int priority);

  Context& context() const { return context_; }
  Kind kind() const { return kind_; }
  unsigned flags() const { return flags_; }
  int priority() const { return priority_; }
  uint64_t id() const { return id_; }
  CUstream handle = nullptr;  // CU_STREAM_LEGACY and CU_STREAM_PER_THREAD for those
  // Does the legacy stream wait for it, and it for the legacy stream?
  bool blocking() const {
    return kind_ == Kind::kPerThread ||
           (kind_ == Kind::kUser && (flags_ & CU_STREAM_NON_BLOCKING) == 0);
  }

  OperationRef tail;  // guarded by Context::order_mutex_; nullptr or done: idle

  // The capture this stream takes part in, or nullptr.
  std::shared_ptr<Capture> capture() const;
  void set_capture(std::shared_ptr<Capture> capture);

  // Handles of the nodes, in an array that is good until the next call.
  const CUgraphNode* show_dependencies(const std::vector<std::shared_ptr<GraphNode>>& nodes);

  void set_attribute(CUstreamAttrID attribute, const CUstreamAttrValue& value);
  CUstreamAttrValue attribute(CUstreamAttrID attribute) const;
  void copy_attributes(const Stream& from);

 private:
  Context& context_;
  const ContextRef keep_;
  const Kind kind_;
  const unsigned flags_;
  const int priority_;
  const uint64_t id_;
  mutable std::mutex mutex_;
  std::shared_ptr<Capture> capture_;                        // guarded by mutex_
  std::map<CUstreamAttrID, CUstreamAttrValue> attributes_;  // guarded by mutex_
  std::vector<CUgraphNode> shown_dependencies_;             // guarded by mutex_
  std::atomic<bool> capturing_ = false;                     // capture_ != nullptr
};

}  // namespace farcall::softgpu
