#include "softgpu/driver/virtual_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/thread_state.h"

namespace farcall::softgpu {
namespace {

constexpr uint64_t kPage = 4096;

bool is_multiple(uint64_t value, uint64_t unit) { return value % unit == 0; }

// Reserved again: the addresses stay ours, without memory.
void close_range(uint64_t base, size_t bytes) {
  void* closed = mmap(reinterpret_cast<void*>(base), bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (closed == MAP_FAILED) log::error("cannot close a range: {}", std::strerror(errno));
}

// Addresses outside of the windows. `wanted` 0: any.
uint64_t reserve_anywhere(size_t bytes, size_t alignment, uint64_t wanted) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (wanted != 0) {
    void* start = mmap(reinterpret_cast<void*>(wanted), bytes, PROT_NONE,
                       kFlags | MAP_FIXED_NOREPLACE, -1, 0);
    if (start == MAP_FAILED) return 0;
    if (reinterpret_cast<uint64_t>(start) == wanted) return wanted;
    munmap(start, bytes);  // a kernel that does not know the flag
    return 0;
  }
  const size_t more = bytes + alignment;
  void* start = more < bytes ? MAP_FAILED : mmap(nullptr, more, PROT_NONE, kFlags, -1, 0);
  if (start == MAP_FAILED) return 0;
  const uint64_t low = reinterpret_cast<uint64_t>(start);
  const uint64_t base = (low + alignment - 1) & ~(alignment - 1);
  if (base > low) munmap(start, base - low);
  munmap(reinterpret_cast<void*>(base + bytes), low + more - base - bytes);
  return base;
}

bool overlaps_a_window(uint64_t base, size_t bytes) {
  for (int i = 0; i < driver().device_count(); ++i) {
    const DeviceMemory& memory = driver().device(i)->memory;
    const uint64_t start = memory.window_base(), end = start + memory.window_bytes();
    if (base < end && start < base + bytes) return true;
  }
  return false;
}

}  // namespace

// ------------------------------------------------------------------ physical memory

CUresult PhysicalMemory::create(const CUmemAllocationProp& properties, size_t bytes,
                                std::shared_ptr<PhysicalMemory>* out) {
  std::shared_ptr<PhysicalMemory> memory(new PhysicalMemory);
  memory->properties_ = properties;
  memory->bytes_ = bytes;
  const bool on_device = properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE;
  memory->device_ = on_device ? properties.location.id : 0;
  Device& device = *driver().device(memory->device_);
  if (on_device) {
    if (!device.memory.charge(bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    memory->charged_ = bytes;
  }
  if (properties.requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE) {
    SharedFile::Label label;
    label.kind = SharedFile::Kind::kAllocation;
    label.device = memory->device_;
    label.bytes = bytes;
    if (CUresult error = SharedFile::create(label, bytes, &memory->own_)) return error;
    memory->fd_ = memory->own_.fd();
  } else {
    if (CUresult error =
            driver().virtual_memory.take_backing(device, bytes, &memory->fd_, &memory->offset_)) {
      return error;
    }
    memory->in_pool_ = true;
  }
  *out = std::move(memory);
  return CUDA_SUCCESS;
}

CUresult PhysicalMemory::import(int fd, std::shared_ptr<PhysicalMemory>* out) {
  std::shared_ptr<PhysicalMemory> memory(new PhysicalMemory);
  if (CUresult error = SharedFile::adopt(fd, SharedFile::Kind::kAllocation, &memory->own_)) {
    return error;
  }
  const SharedFile::Label& label = memory->own_.label();
  if (driver().device(label.device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (label.start != 0 || label.bytes != memory->own_.pages()) return CUDA_ERROR_INVALID_VALUE;
  memory->device_ = label.device;
  memory->bytes_ = label.bytes;
  memory->fd_ = memory->own_.fd();
  memory->properties_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  memory->properties_.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  memory->properties_.location = {CU_MEM_LOCATION_TYPE_DEVICE, label.device};
  *out = std::move(memory);
  return CUDA_SUCCESS;
}

PhysicalMemory::~PhysicalMemory() {
  if (in_pool_) driver().virtual_memory.give_backing(device_, offset_, bytes_);
  if (charged_ != 0) driver().device(device_)->memory.uncharge(charged_);
}

int VirtualMemory::backing(Device& device) {
  Backing& backing = backings_[device.ordinal];
  if (backing.fd) return backing.fd.get();
  UniqueFd fd(memfd_create("farcall-softgpu-device", MFD_CLOEXEC));
  // Sparse: only what is used takes memory. Twice the capacity leaves room for gaps.
  const uint64_t bytes =
      (2 * device.memory.capacity() + kGranularity - 1) & ~(uint64_t{kGranularity} - 1);
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    log::error("cannot make memory for cuMemCreate: {}", std::strerror(errno));
    return -1;
  }
  backing.fd = std::move(fd);
  backing.free.give(0, bytes);
  return backing.fd.get();
}

CUresult VirtualMemory::take_backing(Device& device, size_t bytes, int* fd, uint64_t* offset) {
  std::lock_guard lock(backing_mutex_);
  *fd = backing(device);
  if (*fd < 0) return CUDA_ERROR_OPERATING_SYSTEM;
  std::optional<uint64_t> start = backings_[device.ordinal].free.take(bytes, kGranularity);
  if (!start) return CUDA_ERROR_OUT_OF_MEMORY;
  *offset = *start;
  return CUDA_SUCCESS;
}

void VirtualMemory::give_backing(int device, uint64_t offset, size_t bytes) {
  std::lock_guard lock(backing_mutex_);
  Backing& backing = backings_[device];
  if (fallocate(backing.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
    log::error("cannot give memory back: {}", std::strerror(errno));
  }
  backing.free.give(offset, bytes);
}

// ------------------------------------------------------------------ handles

CUmemGenericAllocationHandle VirtualMemory::insert(std::shared_ptr<PhysicalMemory> memory) {
  std::lock_guard lock(mutex_);
  memory->handle_ =
      uint64_t{static_cast<uint8_t>(HandleKind::kPhysicalMemory)} << 40 | next_handle_;
  next_handle_ += 16;
  memory->references_ = 1;
  const CUmemGenericAllocationHandle handle = memory->handle_;
  handles_.emplace(handle, std::move(memory));
  return handle;
}

CUresult VirtualMemory::find(CUmemGenericAllocationHandle handle,
                             std::shared_ptr<PhysicalMemory>* out) const {
  std::lock_guard lock(mutex_);
  auto found = handles_.find(handle);
  if (found == handles_.end()) return CUDA_ERROR_INVALID_VALUE;
  *out = found->second;
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::release(CUmemGenericAllocationHandle handle) {
  std::shared_ptr<PhysicalMemory> last;  // given back after the lock is released
  std::lock_guard lock(mutex_);
  auto found = handles_.find(handle);
  if (found == handles_.end()) return CUDA_ERROR_INVALID_VALUE;
  if (--found->second->references_ > 0) return CUDA_SUCCESS;
  last = std::move(found->second);
  handles_.erase(found);
  return CUDA_SUCCESS;
}

// The same handle again, also when the program has released it meanwhile.
CUresult VirtualMemory::retain_at(uint64_t address, CUmemGenericAllocationHandle* out) {
  std::lock_guard lock(mutex_);
  const Mapping* mapping = mapping_at(address);
  if (mapping == nullptr) return CUDA_ERROR_INVALID_VALUE;
  PhysicalMemory& memory = *mapping->memory;
  ++memory.references_;
  handles_.emplace(memory.handle_, mapping->memory);
  *out = memory.handle_;
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ addresses

CUresult VirtualMemory::reserve(size_t bytes, size_t alignment, uint64_t wanted, uint64_t* out) {
  alignment = std::max(alignment, kGranularity);
  const std::vector<ContextRef>& stack = this_thread().contexts;
  Device* device = stack.empty() ? driver().device(0) : &stack.back()->device();
  Device* window = nullptr;
  uint64_t base = 0;
  if (wanted != 0 && is_multiple(wanted, alignment) && bytes <= UINT64_MAX - wanted) {
    for (int i = 0; i < driver().device_count() && window == nullptr; ++i) {
      if (driver().device(i)->memory.owns(wanted)) window = driver().device(i);
    }
    if (window != nullptr) {
      base = window->memory.reserve_range(bytes, alignment, wanted);
    } else if (!overlaps_a_window(wanted, bytes)) {
      base = reserve_anywhere(bytes, alignment, wanted);
    }
  }
  // The address was a wish.
  if (base == 0) {
    window = device;
    base = device->memory.reserve_range(bytes, alignment, 0);
  }
  if (base == 0) {
    window = nullptr;
    base = reserve_anywhere(bytes, alignment, 0);
  }
  if (base == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  std::lock_guard lock(mutex_);
  reservations_.emplace(base, Reservation{bytes, window});
  *out = base;
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::free(uint64_t base, size_t bytes) {
  std::lock_guard lock(mutex_);
  auto found = reservations_.find(base);
  if (found == reservations_.end() || found->second.bytes != bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto mapping = mappings_.lower_bound(base);
  if (mapping != mappings_.end() && mapping->first - base < bytes) return CUDA_ERROR_INVALID_VALUE;
  if (found->second.window != nullptr) {
    found->second.window->memory.return_range(base, bytes);
  } else {
    munmap(reinterpret_cast<void*>(base), bytes);
  }
  reservations_.erase(found);
  return CUDA_SUCCESS;
}

std::optional<VirtualMemory::Range> VirtualMemory::reservation(uint64_t address) const {
  std::lock_guard lock(mutex_);
  auto after = reservations_.upper_bound(address);
  if (after == reservations_.begin()) return std::nullopt;
  const auto& [base, found] = *std::prev(after);
  if (address - base >= found.bytes) return std::nullopt;
  return Range{base, found.bytes};
}

// ------------------------------------------------------------------ mappings

const VirtualMemory::Mapping* VirtualMemory::mapping_at(uint64_t address) const {
  auto after = mappings_.upper_bound(address);
  if (after == mappings_.begin()) return nullptr;
  const auto& [base, mapping] = *std::prev(after);
  return address - base < mapping.bytes ? &mapping : nullptr;
}

std::optional<CUmemAllocationProp> VirtualMemory::properties_at(uint64_t address) const {
  std::lock_guard lock(mutex_);
  const Mapping* mapping = mapping_at(address);
  return mapping == nullptr ? std::nullopt : std::optional(mapping->memory->properties());
}

bool VirtualMemory::cover(uint64_t base, size_t bytes, Mappings::iterator* first,
                          Mappings::iterator* last) {
  *first = *last = mappings_.find(base);
  uint64_t at = base;
  while (bytes > 0) {
    if (*last == mappings_.end() || (*last)->first != at || (*last)->second.bytes > bytes) {
      return false;
    }
    at += (*last)->second.bytes;
    bytes -= (*last)->second.bytes;
    ++*last;
  }
  return true;
}

CUresult VirtualMemory::map(uint64_t base, size_t bytes,
                            const std::shared_ptr<PhysicalMemory>& memory) {
  if (bytes > memory->bytes()) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(mutex_);
  auto after = reservations_.upper_bound(base);
  if (after == reservations_.begin()) return CUDA_ERROR_INVALID_VALUE;
  const auto& [start, reserved] = *std::prev(after);
  if (base - start >= reserved.bytes || bytes > reserved.bytes - (base - start)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto next = mappings_.lower_bound(base);
  if (mapping_at(base) != nullptr || (next != mappings_.end() && next->first - base < bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // Not accessible before cuMemSetAccess says for whom.
  if (mmap(reinterpret_cast<void*>(base), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, memory->fd(),
           static_cast<off_t>(memory->offset())) == MAP_FAILED) {
    log::error("cannot map memory: {}", std::strerror(errno));
    close_range(base, bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  Region region;
  region.base = base;
  region.bytes = bytes;
  region.kind = Region::Kind::kMapped;
  region.device = memory->device();
  if (!driver().memory_map.insert(region)) {
    close_range(base, bytes);
    return CUDA_ERROR_INVALID_VALUE;
  }
  mappings_.emplace(base, Mapping{bytes, memory, {}});
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::unmap(uint64_t base, size_t bytes) {
  Mappings gone;  // destroyed after the lock is released
  std::lock_guard lock(mutex_);
  Mappings::iterator first, last;
  if (bytes == 0 || !cover(base, bytes, &first, &last)) return CUDA_ERROR_INVALID_VALUE;
  while (first != last) {
    driver().memory_map.remove(first->first);
    close_range(first->first, first->second.bytes);
    auto next = std::next(first);
    gone.insert(mappings_.extract(first));
    first = next;
  }
  return CUDA_SUCCESS;
}

void VirtualMemory::apply_access(uint64_t base, const Mapping& mapping) {
  uint32_t writers = 0, readers = 0;
  int protection = PROT_NONE;
  for (const auto& [location, flags] : mapping.access) {
    const bool writes = flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    const bool reads = flags == CU_MEM_ACCESS_FLAGS_PROT_READ;
    if (writes) protection = PROT_READ | PROT_WRITE;
    if (reads) protection |= PROT_READ;
    if (location.first != CU_MEM_LOCATION_TYPE_DEVICE) continue;
    if (writes) writers |= uint32_t{1} << location.second;
    if (reads) readers |= uint32_t{1} << location.second;
  }
  // First what kernels and copies are told, then what the pages do, when less is allowed than
  // before; programs that still use the memory then fault.
  driver().memory_map.update(base, [&](Region& region) {
    region.shared_with = writers;
    region.readable_by = readers;
  });
  if (mprotect(reinterpret_cast<void*>(base), mapping.bytes, protection) != 0) {
    log::error("cannot protect mapped memory: {}", std::strerror(errno));
  }
}

CUresult VirtualMemory::set_access(uint64_t base, size_t bytes, const CUmemAccessDesc* changes,
                                   size_t count) {
  std::lock_guard lock(mutex_);
  Mappings::iterator first, last;
  if (bytes == 0 || !cover(base, bytes, &first, &last)) return CUDA_ERROR_INVALID_VALUE;
  for (; first != last; ++first) {
    for (size_t i = 0; i < count; ++i) {
      const CUmemLocation& location = changes[i].location;
      const int id = location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : 0;
      first->second.access[{location.type, id}] = changes[i].flags;
    }
    apply_access(first->first, first->second);
  }
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::access(uint64_t address, const CUmemLocation& location,
                               unsigned long long* flags) const {
  std::lock_guard lock(mutex_);
  const Mapping* mapping = mapping_at(address);
  if (mapping == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const int id = location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : 0;
  auto found = mapping->access.find({location.type, id});
  *flags = found == mapping->access.end() ? CU_MEM_ACCESS_FLAGS_PROT_NONE : found->second;
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
