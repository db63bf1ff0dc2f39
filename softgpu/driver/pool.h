// Memory pools: where stream-ordered allocations come from. Memory freed in a stream goes back to
// the device when the stream gets there; a pool keeps nothing, so what it has reserved is what is
// used.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "softgpu/driver/driver.h"

namespace farcall::softgpu {

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  static std::shared_ptr<Pool> create(Device& device);

  Device& device() const { return device_; }
  CUmemoryPool handle() const { return handle_; }

  CUresult allocate(size_t bytes, Context& context, uint64_t* address);
  CUresult get(CUmemPool_attribute attribute, void* value) const;
  CUresult set(CUmemPool_attribute attribute, const void* value);

  // Which devices may use the pool's memory, beside its own.
  void share_with(int device, bool shared);
  bool shared_with(int device) const;

  // Of an address that allocate() gave. The first says that a free is under way, once; the second
  // that it is done.
  static bool releasing(uint64_t address);
  static void released(uint64_t address);
  // Gives the memory back, when its stream has got there.
  static void free(uint64_t address);
  static CUmemoryPool handle_of(uint64_t address);  // nullptr: not of a pool

 private:
  explicit Pool(Device& device) : device_(device) {}

  Device& device_;
  CUmemoryPool handle_ = nullptr;
  mutable std::mutex mutex_;  // guards what follows
  uint64_t used_ = 0, used_high_ = 0;
  uint32_t shared_with_ = 0;  // bit n: device n
  uint64_t release_threshold_ = 0;
  int reuse_follow_events_ = 1, reuse_opportunistic_ = 1, reuse_internal_ = 1;
};

}  // namespace farcall::softgpu
