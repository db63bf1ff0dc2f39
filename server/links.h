// The link states of a session (cuLink*). Each keeps the arrays and logs that the driver writes to
// until it is destroyed.
#pragma once

#include <cuda.h>

#include <memory>
#include <mutex>
#include <unordered_map>

#include "rpc/handle_id.h"
#include "server/handlers/jit_options.h"

namespace farcall::server {

struct Link {
  std::mutex mutex;  // of all that follows: one call at a time
  handlers::JitOptions options;
  CUlinkState state = nullptr;
  // What was linked; the driver's.
  const std::byte* linked = nullptr;
  size_t linked_bytes = 0;
};

// Any thread: inputs are added, and linked, by calls that the worker does not wait for.
class Links {
 public:
  // False: the id is in use.
  bool add(rpc::HandleId id, std::shared_ptr<Link> link) {
    const std::lock_guard lock(mutex_);
    return by_id_.emplace(id, std::move(link)).second;
  }
  std::shared_ptr<Link> find(rpc::HandleId id) {
    const std::lock_guard lock(mutex_);
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Link> remove(rpc::HandleId id) {
    const std::lock_guard lock(mutex_);
    const auto node = by_id_.extract(id);
    return node.empty() ? nullptr : std::move(node.mapped());
  }

 private:
  std::mutex mutex_;
  std::unordered_map<rpc::HandleId, std::shared_ptr<Link>> by_id_;
};

}  // namespace farcall::server
