#include "softgpu/driver/device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/driver.h"
#include "softgpu/driver/texture.h"
#include "softgpu/exec/unwritten.h"

namespace farcall::softgpu {
namespace {

constexpr uint64_t kPage = 4096;
// Gaps, guard pages and managed memory need addresses beyond the capacity; addresses cost nothing.
constexpr uint64_t kWindowMin = uint64_t{64} << 30;
constexpr uint64_t kWindowFactor = 4;
constexpr uint64_t kWindowAlignment = uint64_t{1} << 30;
constexpr uint64_t kChunkBytes = uint64_t{32} << 20;
// Twice a huge page, so that at least one fits in.
constexpr uint64_t kHugeBytesMin = uint64_t{4} << 20;
constexpr uint64_t kDenseBytesMax = uint64_t{1} << 20;  // larger ones stay guarded

thread_local Context* variables_of = nullptr;

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) & ~(unit - 1);
}

void* reserve(uint64_t bytes) {
  void* start = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return start == MAP_FAILED ? nullptr : start;
}

bool open_pages(uint64_t start, uint64_t bytes) {
  void* const pages = reinterpret_cast<void*>(start);
  if (mmap(pages, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    return false;
  }
  // Kernels walk through large arrays in strides that miss in the table of small pages at every
  // step. Advice only: without huge pages it is slower.
  if (bytes >= kHugeBytesMin) madvise(pages, bytes, MADV_HUGEPAGE);
  return true;
}

// Gives the memory back to the host; the addresses stay reserved.
void close_pages(uint64_t start, uint64_t bytes) {
  void* closed = mmap(reinterpret_cast<void*>(start), bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (closed == MAP_FAILED) log::error("cannot close device pages: {}", std::strerror(errno));
}

}  // namespace

DeviceMemory::DeviceMemory(MemoryMap& map, int device, size_t capacity)
    : map_(map), device_(device), capacity_(capacity) {
  uint64_t bytes = round_up(std::max(kWindowMin, kWindowFactor * capacity), kWindowAlignment);
  void* start = nullptr;
  // Under a limit on addresses (ulimit -v) a tighter window still does.
  while ((start = reserve(bytes + kWindowAlignment)) == nullptr && bytes > capacity) bytes /= 2;
  if (start == nullptr) {
    log::error("cannot reserve addresses for device {}: {}", device, std::strerror(errno));
    capacity_ = 0;
    return;
  }
  window_base_ = round_up(reinterpret_cast<uint64_t>(start), kWindowAlignment);
  window_bytes_ = bytes;
  // The first page stays closed: it separates this window from the one below.
  pages_.give(window_base_ + kPage, window_bytes_ - kPage);
}

bool DeviceMemory::take(size_t bytes, size_t alignment, uint64_t* base, Block* block) {
  if (blocks_.size() >= kGuardedMax && bytes <= kDenseBytesMax) {
    return take_dense(bytes, alignment, base, block);
  }
  const uint64_t open =
      round_up(bytes + (alignment > kAlignment ? alignment - kAlignment : 0), kPage);
  std::optional<uint64_t> start = pages_.take(open + kPage, kPage);
  if (!start) return false;
  if (!open_pages(*start, open)) {
    pages_.give(*start, open + kPage);
    return false;
  }
  *base = (*start + open - bytes) & ~(alignment - 1);
  *block = {*start, open + kPage, 0, false};
  return true;
}

bool DeviceMemory::take_dense(size_t bytes, size_t alignment, uint64_t* base, Block* block) {
  std::optional<uint64_t> start = dense_.take(bytes, alignment);
  if (!start) {
    std::optional<uint64_t> chunk = pages_.take(kChunkBytes + kPage, kPage);
    if (!chunk) return false;
    if (!open_pages(*chunk, kChunkBytes)) {
      pages_.give(*chunk, kChunkBytes + kPage);
      return false;
    }
    dense_.give(*chunk, kChunkBytes);
    start = dense_.take(bytes, alignment);
    if (!start) return false;
  }
  *base = *start;
  *block = {*start, bytes, 0, true};
  return true;
}

uint64_t DeviceMemory::allocate_region(size_t bytes, Region region, size_t alignment) {
  assert((alignment & (alignment - 1)) == 0);
  if (bytes == 0 || bytes > window_bytes_) return 0;
  alignment = std::max(alignment, kAlignment);
  const uint64_t rounded = round_up(bytes, kAlignment);
  const size_t charged = region.on_host() ? 0 : rounded;
  uint64_t base = 0;
  {
    std::lock_guard lock(mutex_);
    if (charged > capacity_ - used_) return 0;
    Block block;
    if (!take(rounded, alignment, &base, &block)) return 0;
    block.charged = charged;
    used_ += charged;
    blocks_.emplace(base, block);
  }
  region.base = base;
  region.bytes = bytes;
  region.device = device_;
  const bool inserted = map_.insert(region);
  assert(inserted && "the window's addresses are only handed out here");
  (void)inserted;
  // Others are written by the program, the linker, or through textures and surfaces.
  const bool tracked = region.kind == Region::Kind::kDevice || region.kind == Region::Kind::kPool ||
                       region.kind == Region::Kind::kGraph;
  if (unwritten_ != nullptr && tracked) unwritten_->set_unwritten(base, bytes);
  return base;
}

bool DeviceMemory::free_region(uint64_t base) {
  std::lock_guard lock(mutex_);
  auto found = blocks_.find(base);
  if (found == blocks_.end()) return false;
  const Block block = found->second;
  const std::optional<Region> region = map_.remove(base);
  if (unwritten_ != nullptr && region) unwritten_->set_written(base, region->bytes);
  if (block.dense) {
    dense_.give(block.start, block.bytes);
  } else {
    close_pages(block.start, block.bytes);
    pages_.give(block.start, block.bytes);
  }
  used_ -= block.charged;
  blocks_.erase(found);
  return true;
}

uint64_t DeviceMemory::reserve_range(uint64_t bytes, uint64_t alignment, uint64_t wanted) {
  std::lock_guard lock(mutex_);
  if (wanted != 0) return pages_.take_at(wanted, bytes + kPage) ? wanted : 0;
  return pages_.take(bytes + kPage, alignment).value_or(0);
}

void DeviceMemory::return_range(uint64_t base, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  pages_.give(base, bytes + kPage);
}

uint64_t DeviceMemory::map_region(int fd, uint64_t offset, uint64_t pages, uint64_t start,
                                  size_t bytes, size_t charged, Region region) {
  {
    std::lock_guard lock(mutex_);
    if (charged > capacity_ - used_) return 0;
    std::optional<uint64_t> range = pages_.take(pages + kPage, kPage);
    if (!range) return 0;
    if (mmap(reinterpret_cast<void*>(*range), pages, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             fd, static_cast<off_t>(offset)) == MAP_FAILED) {
      close_pages(*range, pages);
      pages_.give(*range, pages + kPage);
      return 0;
    }
    region.base = *range + start;
    used_ += charged;
    blocks_.emplace(region.base, Block{*range, pages + kPage, charged, false});
  }
  region.bytes = bytes;
  region.device = device_;
  const bool inserted = map_.insert(region);
  assert(inserted && "the window's addresses are only handed out here");
  (void)inserted;
  return region.base;
}

CUresult DeviceMemory::share(uint64_t base, std::shared_ptr<const SharedFile>* out) {
  const std::optional<Region> region = map_.find(base);
  std::lock_guard lock(mutex_);
  auto found = blocks_.find(base);
  if (!region || found == blocks_.end()) return CUDA_ERROR_INVALID_VALUE;
  Block& block = found->second;
  if (block.dense) return CUDA_ERROR_NOT_SUPPORTED;
  if (block.file == nullptr) {
    const uint64_t pages = block.bytes - kPage;
    SharedFile file;
    SharedFile::Label label;
    label.kind = SharedFile::Kind::kMemory;
    label.device = device_;
    label.bytes = region->bytes;
    label.start = base - block.start;
    if (CUresult error = SharedFile::create(label, pages, &file)) return error;
    void* copy = mmap(nullptr, pages, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
    if (copy == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    static const char zeros[kPage] = {};
    for (uint64_t at = 0; at < pages; at += kPage) {  // what was never written stays no memory
      const void* page = reinterpret_cast<const void*>(block.start + at);
      if (std::memcmp(page, zeros, kPage) != 0) {
        std::memcpy(static_cast<char*>(copy) + at, page, kPage);
      }
    }
    if (mremap(copy, pages, pages, MREMAP_MAYMOVE | MREMAP_FIXED,
               reinterpret_cast<void*>(block.start)) == MAP_FAILED) {
      log::error("cannot move device memory: {}", std::strerror(errno));
      munmap(copy, pages);
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    block.file = std::make_shared<const SharedFile>(std::move(file));
  }
  *out = block.file;
  return CUDA_SUCCESS;
}

bool DeviceMemory::park(uint64_t base) {
  std::lock_guard lock(mutex_);
  auto found = blocks_.find(base);
  if (found == blocks_.end() || found->second.dense || found->second.file != nullptr) return false;
  const Block& block = found->second;
  if (mprotect(reinterpret_cast<void*>(block.start), block.bytes - kPage, PROT_NONE) != 0) {
    return false;
  }
  map_.remove(base);
  return true;
}

bool DeviceMemory::unpark(uint64_t base, size_t bytes, Region region) {
  std::lock_guard lock(mutex_);
  auto found = blocks_.find(base);
  if (found == blocks_.end()) return false;
  const Block& block = found->second;
  if (mprotect(reinterpret_cast<void*>(block.start), block.bytes - kPage, PROT_READ | PROT_WRITE) !=
      0) {
    return false;
  }
  region.base = base;
  region.bytes = bytes;
  region.device = device_;
  if (unwritten_ != nullptr) unwritten_->set_unwritten(base, bytes);
  return map_.insert(region);
}

bool DeviceMemory::charge(size_t bytes) {
  std::lock_guard lock(mutex_);
  if (bytes > capacity_ - used_) return false;
  used_ += bytes;
  return true;
}

void DeviceMemory::uncharge(size_t bytes) {
  std::lock_guard lock(mutex_);
  used_ -= bytes;
}

void DeviceMemory::track_unwritten(UnwrittenBytes& bytes) {
  if (capacity_ == 0) return;
  if (bytes.add_window(window_base_, window_bytes_))
    unwritten_ = &bytes;
  else
    log::error("initcheck: no addresses left to keep track of device {}", device_);
}

size_t DeviceMemory::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

bool DeviceMemory::host_visible(uint64_t address, size_t bytes) const {
  return map_.kernel_visible(device_, address, bytes);
}

void* DeviceMemory::allocate(size_t bytes, size_t alignment) {
  Region region;
  region.kind = Region::Kind::kVariable;
  region.context = variables_of;
  return reinterpret_cast<void*>(allocate_region(std::max<size_t>(bytes, 1), region, alignment));
}

void DeviceMemory::deallocate(void* address) {
  const bool freed = free_region(reinterpret_cast<uint64_t>(address));
  assert(freed);
  (void)freed;
}

std::shared_ptr<const Texture> DeviceMemory::texture(uint64_t number) const {
  return find_texture(*driver().device(device_), number);
}
std::shared_ptr<const Surface> DeviceMemory::surface(uint64_t number) const {
  return find_surface(*driver().device(device_), number);
}

DeviceMemory::VariablesOf::VariablesOf(Context* context) : before_(variables_of) {
  variables_of = context;
}
DeviceMemory::VariablesOf::~VariablesOf() { variables_of = before_; }

}  // namespace farcall::softgpu
