// The program's own memory that it has registered with CUDA, once kernels see it. Its pages hold
// other things as well, so nothing is closed and no fault tells who wrote: a copy of what both
// sides last agreed on does. Before work the words that differ are sent; after progress all of it
// is read and the words that the device has changed are written. Good for small buffers; memory of
// cudaHostAlloc costs less.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "client/session.h"

namespace farcall::client {

class RegisteredMemory {
 public:
  void add(uint64_t address, size_t bytes);
  // Nothing uses it any more, here or there. False: it isn't registered.
  bool remove(Session& session, uint64_t address, int* result);
  bool any() const { return count_.load(std::memory_order_relaxed) > 0; }

  // From now on kernels see it; any address within it. INVALID_VALUE: it isn't registered.
  int make_visible(Session& session, uint64_t address);
  // Whatever of it these parameters of a kernel point to.
  int make_visible(Session& session, std::span<const std::byte> parameters);
  bool contains(uint64_t address) const;  // and kernels see it

  void before_work(Session& session);
  void after_progress(Session& session);
  void forget_context(uint64_t context);

 private:
  struct Range {
    uint64_t address = 0, bytes = 0;
    bool visible = false;
    uint64_t context = 0;
    std::vector<std::byte> agreed;  // empty: nothing was sent yet
  };
  Range* find(uint64_t address);  // mutex_ is held
  const Range* find(uint64_t address) const;

  std::atomic<size_t> count_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint64_t, Range> ranges_;
};
// The process's, leaked: see program.h.
RegisteredMemory& registered_memory();

}  // namespace farcall::client
