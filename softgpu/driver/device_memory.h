// The memory of one device: host memory inside a window of addresses that is reserved when the
// driver starts, so that whether an address is the device's is one comparison.
//
// An allocation is whole pages of its own with an inaccessible page behind it, and it ends as close
// to that page as the alignment of 512 bytes allows: a kernel that runs past the end of a buffer
// faults. (Once there are very many allocations, which the kernel of the host limits, new ones
// share chunks and lose that.) Freed pages go back to the host at once. What is charged against the
// device's capacity is the size, rounded up to that alignment. Managed and pinned host memory also
// lies in a window, at no charge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "softgpu/driver/memory_map.h"
#include "softgpu/driver/range_allocator.h"
#include "softgpu/driver/shared_file.h"
#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

class DeviceMemory final : public AddressSpace {
 public:
  static constexpr size_t kAlignment =
      512;  // of every allocation: fit for textures, as CUDA promises

  // Each guarded allocation costs two of the 65530 mappings Linux grants a process by default.
  static constexpr size_t kGuardedMax = 16384;

  // Reserves the window; capacity() is 0 if the host won't give the addresses.
  DeviceMemory(MemoryMap& map, int device, size_t capacity);

  // 0: out of memory. `region` says everything but base and bytes. Alignment: a power of two.
  uint64_t allocate_region(size_t bytes, Region region, size_t alignment = kAlignment);
  // False: no region starts there.
  bool free_region(uint64_t base);

  // Addresses without memory, for cuMemAddressReserve, with a closed page behind them. 0: none of
  // that kind are left. `wanted`, if not 0, is taken or nothing.
  uint64_t reserve_range(uint64_t bytes, uint64_t alignment, uint64_t wanted);
  void return_range(uint64_t base, uint64_t bytes);
  // A region of `bytes` that lies `start` bytes behind the first of these pages of a file. 0: out
  // of memory.
  uint64_t map_region(int fd, uint64_t offset, uint64_t pages, uint64_t start, size_t bytes,
                      size_t charged, Region region);
  // Moves the memory of a region into a file, so that other processes can map it; nothing may write
  // there meanwhile (Driver::memory_moves). The file lives as long as the region. NOT_SUPPORTED:
  // the region shares its pages with others.
  CUresult share(uint64_t base, std::shared_ptr<const SharedFile>* out);
  // Takes the region away and keeps its memory, closed, for one of the same size. False: not
  // possible for this one. free_region() gives parked memory back, too.
  bool park(uint64_t base);
  bool unpark(uint64_t base, size_t bytes, Region region);
  // Memory that does not lie in the window; false: beyond the capacity.
  bool charge(size_t bytes);
  void uncharge(size_t bytes);

  size_t capacity() const { return capacity_; }
  size_t used() const;  // bytes charged
  bool owns(uint64_t address) const { return address - window_base_ < window_bytes_; }

  // AddressSpace, for the engine. Variables belong to the context that is loading a module on this
  // thread.
  uint64_t window_base() const override { return window_base_; }
  uint64_t window_bytes() const override { return window_bytes_; }
  bool host_visible(uint64_t address, size_t bytes) const override;
  void* allocate(size_t bytes, size_t alignment) override;
  void deallocate(void* address) override;
  bool allocated(uint64_t address, size_t bytes) const override {
    return map_.kernel_visible(device_, address, bytes);
  }
  std::string describe(uint64_t address) const override { return map_.describe(device_, address); }
  UnwrittenBytes* unwritten() override { return unwritten_; }
  // From now on it is kept track of what was written; before the first allocation.
  void track_unwritten(UnwrittenBytes& bytes);
  std::shared_ptr<const Texture> texture(uint64_t number) const override;
  std::shared_ptr<const Surface> surface(uint64_t number) const override;

  // While one lives, variables that the engine allocates on this thread are the context's.
  class VariablesOf {
   public:
    explicit VariablesOf(Context* context);
    ~VariablesOf();

   private:
    Context* const before_;
  };

 private:
  struct Block {
    uint64_t start = 0, bytes = 0;  // of the range taken, guard included
    size_t charged = 0;
    bool dense = false;                                // in a chunk
    std::shared_ptr<const SharedFile> file = nullptr;  // after share()
  };
  bool take(size_t bytes, size_t alignment, uint64_t* base, Block* block);
  bool take_dense(size_t bytes, size_t alignment, uint64_t* base, Block* block);

  MemoryMap& map_;
  const int device_;
  size_t capacity_;
  uint64_t window_base_ = 0, window_bytes_ = 0;

  UnwrittenBytes* unwritten_ = nullptr;
  mutable std::mutex mutex_;  // guards what follows
  size_t used_ = 0;
  std::map<uint64_t, Block> blocks_;  // by base
  RangeAllocator pages_;
  RangeAllocator dense_;  // of the chunks, which are never given back
};

}  // namespace farcall::softgpu
