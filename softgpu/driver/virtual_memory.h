// Virtual memory management: reserved addresses, physical memory, and the mappings between them.
// Physical memory is a piece of a file without a name, so that it can be mapped twice and by other
// processes: of one file per device, or a file of its own if the program asked for a handle to
// share. Addresses come from a device's window, where its kernels are fast, or from anywhere else
// if the program asked for them. None of it belongs to a context.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "softgpu/driver/driver.h"
#include "softgpu/driver/range_allocator.h"
#include "softgpu/driver/shared_file.h"

namespace farcall::softgpu {

class Device;

class PhysicalMemory {
 public:
  static CUresult create(const CUmemAllocationProp& properties, size_t bytes,
                         std::shared_ptr<PhysicalMemory>* out);
  static CUresult import(int fd, std::shared_ptr<PhysicalMemory>* out);
  ~PhysicalMemory();

  const CUmemAllocationProp& properties() const { return properties_; }
  size_t bytes() const { return bytes_; }
  int device() const { return device_; }  // host memory: the first one
  int fd() const { return fd_; }
  uint64_t offset() const { return offset_; }
  bool shareable() const { return static_cast<bool>(own_); }

 private:
  friend class VirtualMemory;
  PhysicalMemory() = default;

  CUmemAllocationProp properties_ = {};
  size_t bytes_ = 0, charged_ = 0;
  int device_ = 0;
  SharedFile own_;
  int fd_ = -1;
  uint64_t offset_ = 0;
  bool in_pool_ = false;  // a piece of the device's file
  // Guarded by VirtualMemory's mutex: how often the program must call cuMemRelease.
  unsigned references_ = 0;
  CUmemGenericAllocationHandle handle_ = 0;
};

class VirtualMemory {
 public:
  // What NVIDIA's devices have: programs round to it.
  static constexpr size_t kGranularity = size_t{2} << 20;

  CUresult reserve(size_t bytes, size_t alignment, uint64_t wanted, uint64_t* out);
  CUresult free(uint64_t base, size_t bytes);

  CUmemGenericAllocationHandle insert(std::shared_ptr<PhysicalMemory> memory);
  CUresult find(CUmemGenericAllocationHandle handle, std::shared_ptr<PhysicalMemory>* out) const;
  CUresult release(CUmemGenericAllocationHandle handle);
  CUresult retain_at(uint64_t address, CUmemGenericAllocationHandle* out);

  CUresult map(uint64_t base, size_t bytes, const std::shared_ptr<PhysicalMemory>& memory);
  CUresult unmap(uint64_t base, size_t bytes);
  CUresult set_access(uint64_t base, size_t bytes, const CUmemAccessDesc* changes, size_t count);
  CUresult access(uint64_t address, const CUmemLocation& location, unsigned long long* flags) const;

  struct Range {
    uint64_t base;
    size_t bytes;
  };
  // The reservation that the address lies in.
  std::optional<Range> reservation(uint64_t address) const;
  // Of the memory mapped there.
  std::optional<CUmemAllocationProp> properties_at(uint64_t address) const;

 private:
  friend class PhysicalMemory;
  struct Reservation {
    size_t bytes;
    Device* window;  // whose; nullptr: addresses of its own
  };
  struct Mapping {
    size_t bytes;
    std::shared_ptr<PhysicalMemory> memory;
    std::map<std::pair<int, int>, CUmemAccess_flags> access;  // (location's type, id)
  };
  using Mappings = std::map<uint64_t, Mapping>;

  // The mappings that make up the range exactly and without gaps; mutex_ is held. False: it isn't
  // so.
  bool cover(uint64_t base, size_t bytes, Mappings::iterator* first, Mappings::iterator* last);
  const Mapping* mapping_at(uint64_t address) const;  // mutex_ is held
  void apply_access(uint64_t base, const Mapping& mapping);
  // A device's file, made when first needed; -1: the system won't.
  int backing(Device& device);
  CUresult take_backing(Device& device, size_t bytes, int* fd, uint64_t* offset);
  void give_backing(int device, uint64_t offset, size_t bytes);

  mutable std::mutex mutex_;  // guards what follows
  std::map<uint64_t, Reservation> reservations_;
  Mappings mappings_;
  std::unordered_map<CUmemGenericAllocationHandle, std::shared_ptr<PhysicalMemory>> handles_;
  uint64_t next_handle_ = 16;

  struct Backing {
    UniqueFd fd;
    RangeAllocator free;
  };
  std::mutex backing_mutex_;
  std::map<int, Backing> backings_;  // by device; guarded by backing_mutex_
};

}  // namespace farcall::softgpu
