// Memory pools: where stream-ordered allocations come from. Memory freed in a stream is free when
// the stream gets there: then it goes back to the device, or waits in the pool for an allocation of
// its size if the program has set a release threshold. Memory that waits is closed, so that a stale
// pointer faults.
//
// A pool that other processes may use has its memory in a file (SharedFile); one that was imported
// has the file and makes no memory of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "softgpu/driver/driver.h"
#include "softgpu/driver/range_allocator.h"
#include "softgpu/driver/shared_file.h"

namespace farcall::softgpu {

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  static std::shared_ptr<Pool> create(Device& device, size_t bytes_max);  // 0: no limit
  static CUresult create_shareable(Device& device, size_t bytes_max, std::shared_ptr<Pool>* out);
  static CUresult import(int fd, std::shared_ptr<Pool>* out);
  ~Pool();

  Device& device() const { return device_; }
  CUmemoryPool handle() const { return handle_; }
  const SharedFile& file() const { return file_; }
  bool imported() const { return imported_; }

  CUresult allocate(size_t bytes, Context& context, uint64_t* address);
  CUresult get(CUmemPool_attribute attribute, void* value) const;
  CUresult set(CUmemPool_attribute attribute, const void* value);
  // Gives back what waits for reuse, until no more than `keep` bytes are reserved.
  void trim(uint64_t keep);

  // A place in the pool's file, for another process.
  struct Place {
    uint64_t offset, pages, start, bytes;
  };
  CUresult place_of(uint64_t address, Place* out) const;
  CUresult map(const Place& place, Context& context, uint64_t* address);

  // Which devices may use the pool's memory, beside its own.
  void share_with(int device, bool shared);
  bool shared_with(int device) const;

  // Of an address that allocate() gave. The first says that a free is under way, once; the second
  // that it is done: the memory is the pool's again.
  static bool releasing(uint64_t address);
  static void released(uint64_t address);
  static CUmemoryPool handle_of(uint64_t address);  // nullptr: not of a pool

 private:
  explicit Pool(Device& device) : device_(device) {}
  CUresult allocate_now(size_t bytes, const Region& region, uint64_t* address, Place* place);
  void own(uint64_t address, size_t bytes, const Place& place);
  void give_back(uint64_t address, size_t bytes, const Place& place);

  Device& device_;
  CUmemoryPool handle_ = nullptr;
  size_t bytes_max_ = 0;
  SharedFile file_;
  bool imported_ = false;
  mutable std::mutex mutex_;  // guards what follows
  RangeAllocator offsets_;    // of the file
  uint64_t used_ = 0, used_high_ = 0;
  uint64_t reserved_ = 0, reserved_high_ = 0;
  std::map<size_t, std::vector<uint64_t>> parked_;  // by size
  uint32_t shared_with_ = 0;                        // bit n: device n
  uint64_t release_threshold_ = 0;
  int reuse_follow_events_ = 1, reuse_opportunistic_ = 1, reuse_internal_ = 1;
};

}  // namespace farcall::softgpu
