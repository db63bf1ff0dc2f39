#include "softgpu/driver/pool.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

// What NVIDIA's driver rounds to.
constexpr size_t kUnit = DeviceMemory::kAlignment;
constexpr uint64_t kPage = 4096;

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Who owns an address; a pool lives as long as memory of it.
struct Owned {
  std::shared_ptr<Pool> pool;
  size_t bytes;
  Pool::Place place;  // pages 0: not in a file
  bool releasing = false;
};
struct Registry {
  std::mutex mutex;
  std::unordered_map<uint64_t, Owned> by_address;  // guarded by mutex
};
Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

CUresult find_pool(CUmemoryPool handle, std::shared_ptr<Pool>* out) {
  *out = driver().pools.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

template <class T>
CUresult answer(void* data, T value) {
  std::memcpy(data, &value, sizeof(value));
  return CUDA_SUCCESS;
}

template <class T>
T read(const void* data) {
  T value;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

}  // namespace

std::shared_ptr<Pool> Pool::create(Device& device, size_t bytes_max) {
  std::shared_ptr<Pool> pool(new Pool(device));
  pool->bytes_max_ = bytes_max;
  pool->handle_ = device.driver().pools.insert(pool);
  return pool;
}

CUresult Pool::create_shareable(Device& device, size_t bytes_max, std::shared_ptr<Pool>* out) {
  // Sparse: only what is used takes memory. Twice what fits leaves room for gaps.
  const uint64_t pages = round_up(2 * device.memory.capacity(), kPage);
  SharedFile::Label label;
  label.kind = SharedFile::Kind::kPool;
  label.device = device.ordinal;
  label.bytes = pages;
  SharedFile file;
  if (CUresult error = SharedFile::create(label, pages, &file)) return error;
  *out = create(device, bytes_max);
  (*out)->file_ = std::move(file);
  (*out)->offsets_.give(0, pages);
  return CUDA_SUCCESS;
}

CUresult Pool::import(int fd, std::shared_ptr<Pool>* out) {
  SharedFile file;
  if (CUresult error = SharedFile::adopt(fd, SharedFile::Kind::kPool, &file)) return error;
  Device* device = driver().device(file.label().device);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  *out = create(*device, 0);
  (*out)->file_ = std::move(file);
  (*out)->imported_ = true;
  return CUDA_SUCCESS;
}

Pool::~Pool() { trim(0); }

CUresult Pool::allocate_now(size_t bytes, const Region& region, uint64_t* address, Place* place) {
  const size_t rounded = round_up(bytes, kUnit);
  *place = {};
  if (file_) {
    const uint64_t pages = round_up(rounded, kPage);
    std::optional<uint64_t> offset;
    {
      std::lock_guard lock(mutex_);
      offset = offsets_.take(pages, kPage);
    }
    if (!offset) return CUDA_ERROR_OUT_OF_MEMORY;
    // Against the end of its pages, like all memory (device_memory.h).
    const uint64_t start = pages - rounded;
    *address = device_.memory.map_region(file_.fd(), *offset, pages, start, bytes, rounded, region);
    if (*address == 0) {
      std::lock_guard lock(mutex_);
      offsets_.give(*offset, pages);
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *place = {*offset, pages, start, bytes};
    return CUDA_SUCCESS;
  }
  uint64_t waiting = 0;
  {
    std::lock_guard lock(mutex_);
    if (auto found = parked_.find(rounded); found != parked_.end()) {
      waiting = found->second.back();
      found->second.pop_back();
      if (found->second.empty()) parked_.erase(found);
      reserved_ -= rounded;  // the caller counts it again
    }
  }
  if (waiting != 0) {
    if (device_.memory.unpark(waiting, bytes, region)) {
      *address = waiting;
      return CUDA_SUCCESS;
    }
    device_.memory.free_region(waiting);
  }
  *address = device_.memory.allocate_region(bytes, region);
  return *address != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult Pool::allocate(size_t bytes, Context& context, uint64_t* address) {
  if (imported_) return CUDA_ERROR_INVALID_VALUE;  // memory is made where the pool was
  if (bytes > SIZE_MAX - kUnit) return CUDA_ERROR_OUT_OF_MEMORY;
  Region region;
  region.kind = Region::Kind::kPool;
  region.context = &context;
  {
    std::lock_guard lock(mutex_);
    region.shared_with = shared_with_;
    if (bytes_max_ != 0 && (bytes > bytes_max_ || used_ > bytes_max_ - bytes)) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
  }
  Place place;
  if (allocate_now(bytes, region, address, &place) != CUDA_SUCCESS) {
    // Frees that were submitted may only wait for their turn, and pools may hold what they don't
    // use.
    if (CUresult error = context.synchronize()) return error;
    device_.trim_pools();
    if (CUresult error = allocate_now(bytes, region, address, &place)) return error;
  }
  own(*address, bytes, place);
  return CUDA_SUCCESS;
}

void Pool::own(uint64_t address, size_t bytes, const Place& place) {
  {
    std::lock_guard lock(registry().mutex);
    registry().by_address[address] = {shared_from_this(), bytes, place};
  }
  std::lock_guard lock(mutex_);
  used_ += bytes;
  used_high_ = std::max(used_high_, used_);
  reserved_ += round_up(bytes, kUnit);
  reserved_high_ = std::max(reserved_high_, reserved_);
}

void Pool::give_back(uint64_t address, size_t bytes, const Place& place) {
  const size_t rounded = round_up(bytes, kUnit);
  bool keep;
  {
    std::lock_guard lock(mutex_);
    used_ -= bytes;
    keep = place.pages == 0 && reserved_ <= release_threshold_;
    if (!keep) reserved_ -= rounded;
  }
  if (keep && device_.memory.park(address)) {
    std::lock_guard lock(mutex_);
    parked_[rounded].push_back(address);
    return;
  }
  device_.memory.free_region(address);
  std::lock_guard lock(mutex_);
  if (keep) reserved_ -= rounded;
  if (place.pages != 0 && !imported_) {
    if (fallocate(file_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(place.offset), static_cast<off_t>(place.pages)) != 0) {
      log::error("cannot give memory of a pool back: {}", std::strerror(errno));
    }
    offsets_.give(place.offset, place.pages);
  }
}

void Pool::trim(uint64_t keep) {
  for (;;) {
    uint64_t address;
    {
      std::lock_guard lock(mutex_);
      if (parked_.empty() || reserved_ <= keep) return;
      auto largest = std::prev(parked_.end());
      address = largest->second.back();
      reserved_ -= largest->first;
      largest->second.pop_back();
      if (largest->second.empty()) parked_.erase(largest);
    }
    device_.memory.free_region(address);
  }
}

// ------------------------------------------------------------------ shared with other processes

CUresult Pool::place_of(uint64_t address, Place* out) const {
  std::lock_guard lock(registry().mutex);
  auto found = registry().by_address.find(address);
  if (found == registry().by_address.end() || found->second.pool.get() != this ||
      found->second.place.pages == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = found->second.place;
  return CUDA_SUCCESS;
}

CUresult Pool::map(const Place& place, Context& context, uint64_t* address) {
  if (!imported_ || place.pages == 0 || place.offset % kPage != 0 || place.pages % kPage != 0 ||
      place.offset > file_.pages() || place.pages > file_.pages() - place.offset ||
      place.start > place.pages || place.bytes > place.pages - place.start) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Region region;
  region.kind = Region::Kind::kPool;
  region.context = &context;
  region.shared_with = shared_with_;
  *address = device_.memory.map_region(file_.fd(), place.offset, place.pages, place.start,
                                       place.bytes, 0, region);
  if (*address == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  own(*address, place.bytes, place);
  return CUDA_SUCCESS;
}

void Pool::share_with(int device, bool shared) {
  const uint32_t bit = uint32_t{1} << device;
  const auto change = [bit, shared](uint32_t mask) { return shared ? mask | bit : mask & ~bit; };
  {
    std::lock_guard lock(mutex_);
    shared_with_ = change(shared_with_);
  }
  // What was allocated already, too.
  std::lock_guard lock(registry().mutex);
  for (const auto& [address, owned] : registry().by_address) {
    if (owned.pool.get() != this) continue;
    driver().memory_map.update(
        address, [&change](Region& region) { region.shared_with = change(region.shared_with); });
  }
}

bool Pool::shared_with(int device) const {
  std::lock_guard lock(mutex_);
  return device == device_.ordinal || (shared_with_ >> device & 1) != 0;
}

bool Pool::releasing(uint64_t address) {
  std::lock_guard lock(registry().mutex);
  auto found = registry().by_address.find(address);
  if (found == registry().by_address.end() || found->second.releasing) return false;
  found->second.releasing = true;
  return true;
}

void Pool::released(uint64_t address) {
  Owned owned;
  {
    std::lock_guard lock(registry().mutex);
    auto found = registry().by_address.find(address);
    if (found == registry().by_address.end()) return;  // its context ended first
    owned = std::move(found->second);
    registry().by_address.erase(found);
  }
  owned.pool->give_back(address, owned.bytes, owned.place);
}

CUmemoryPool Pool::handle_of(uint64_t address) {
  std::lock_guard lock(registry().mutex);
  auto found = registry().by_address.find(address);
  return found == registry().by_address.end() ? nullptr : found->second.pool->handle();
}

CUresult Pool::get(CUmemPool_attribute attribute, void* value) const {
  std::lock_guard lock(mutex_);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
      return answer<int>(value, reuse_follow_events_);
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
      return answer<int>(value, reuse_opportunistic_);
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      return answer<int>(value, reuse_internal_);
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      return answer<cuuint64_t>(value, release_threshold_);
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
      return answer<cuuint64_t>(value, reserved_);
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      return answer<cuuint64_t>(value, used_);
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
      return answer<cuuint64_t>(value, reserved_high_);
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      return answer<cuuint64_t>(value, used_high_);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult Pool::set(CUmemPool_attribute attribute, const void* value) {
  std::lock_guard lock(mutex_);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
      reuse_follow_events_ = read<int>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
      reuse_opportunistic_ = read<int>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      reuse_internal_ = read<int>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      release_threshold_ = read<cuuint64_t>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:  // may only be reset
      if (read<cuuint64_t>(value) != 0) return CUDA_ERROR_INVALID_VALUE;
      reserved_high_ = reserved_;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      if (read<cuuint64_t>(value) != 0) return CUDA_ERROR_INVALID_VALUE;
      used_high_ = used_;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// ------------------------------------------------------------------ pools

CUresult api::cuDeviceGetDefaultMemPool(CUmemoryPool* out, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = device->default_pool()->handle();
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetMemPool(CUmemoryPool* out, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = device->pool()->handle();
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceSetMemPool(CUdevice ordinal, CUmemoryPool handle) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (&pool->device() != device || pool->imported()) return CUDA_ERROR_INVALID_VALUE;
  device->set_pool(std::move(pool));
  return CUDA_SUCCESS;
}

namespace {

CUresult device_at(const CUmemLocation* location, CUmemAllocationType type, Device** out) {
  if (location == nullptr || type != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (location->type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  return find_device(location->id, out);
}

}  // namespace

CUresult api::cuMemGetDefaultMemPool(CUmemoryPool* out, CUmemLocation* location,
                                     CUmemAllocationType type) {
  Device* device;
  if (CUresult error = device_at(location, type, &device)) return error;
  return api::cuDeviceGetDefaultMemPool(out, device->ordinal);
}
CUresult api::cuMemGetMemPool(CUmemoryPool* out, CUmemLocation* location,
                              CUmemAllocationType type) {
  Device* device;
  if (CUresult error = device_at(location, type, &device)) return error;
  return api::cuDeviceGetMemPool(out, device->ordinal);
}
CUresult api::cuMemSetMemPool(CUmemLocation* location, CUmemAllocationType type,
                              CUmemoryPool pool) {
  Device* device;
  if (CUresult error = device_at(location, type, &device)) return error;
  return api::cuDeviceSetMemPool(device->ordinal, pool);
}

CUresult api::cuMemPoolCreate(CUmemoryPool* out, const CUmemPoolProps* properties) {
  if (out == nullptr || properties == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Device* device;
  if (CUresult error = device_at(&properties->location, properties->allocType, &device)) {
    return error;
  }
  std::shared_ptr<Pool> pool;
  switch (static_cast<unsigned>(properties->handleTypes)) {
    case CU_MEM_HANDLE_TYPE_NONE:
      pool = Pool::create(*device, properties->maxSize);
      break;
    case CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR:
      if (CUresult error = Pool::create_shareable(*device, properties->maxSize, &pool)) {
        return error;
      }
      break;
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
  *out = pool->handle();
  return CUDA_SUCCESS;
}

// Its memory stays valid until freed.
CUresult api::cuMemPoolDestroy(CUmemoryPool handle) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (pool == pool->device().default_pool()) return CUDA_ERROR_INVALID_VALUE;
  if (pool == pool->device().pool()) pool->device().set_pool(nullptr);
  driver().pools.remove(handle);
  return CUDA_SUCCESS;
}

CUresult api::cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute,
                                    void* value) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return pool->get(attribute, value);
}

CUresult api::cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute,
                                    void* value) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return pool->set(attribute, value);
}

CUresult api::cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc* changes,
                                 size_t count) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (count > 0 && changes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; ++i) {
    const CUmemAccessDesc& change = changes[i];
    if (change.location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        (change.flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
         change.flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    Device* device;
    if (CUresult error = find_device(change.location.id, &device)) return error;
    const bool shared = change.flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    if (device == &pool->device()) {
      if (!shared) return CUDA_ERROR_INVALID_DEVICE;  // its own it always may
      continue;
    }
    pool->share_with(device->ordinal, shared);
  }
  return CUDA_SUCCESS;
}

CUresult api::cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool handle,
                                 CUmemLocation* location) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (flags == nullptr || location == nullptr || location->type != CU_MEM_LOCATION_TYPE_DEVICE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Device* device;
  if (CUresult error = find_device(location->id, &device)) return error;
  *flags = pool->shared_with(device->ordinal) ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                              : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  return CUDA_SUCCESS;
}

CUresult api::cuMemPoolTrimTo(CUmemoryPool handle, size_t keep) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  pool->trim(keep);
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ other processes

CUresult api::cuMemPoolExportToShareableHandle(void* out, CUmemoryPool handle,
                                               CUmemAllocationHandleType type,
                                               unsigned long long flags) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (out == nullptr || flags != 0 || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
      !pool->file() || pool->imported()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const int fd = fcntl(pool->file().fd(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return CUDA_ERROR_OPERATING_SYSTEM;
  *static_cast<int*>(out) = fd;  // the program's to close
  return CUDA_SUCCESS;
}

CUresult api::cuMemPoolImportFromShareableHandle(CUmemoryPool* out, void* os_handle,
                                                 CUmemAllocationHandleType type,
                                                 unsigned long long flags) {
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<Pool> pool;
  // The descriptor itself is what the pointer holds.
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(os_handle));
  if (CUresult error = Pool::import(fd, &pool)) return error;
  *out = pool->handle();
  return CUDA_SUCCESS;
}

namespace {

// What is in a CUmemPoolPtrExportData.
struct ExportedPointer {
  uint64_t pool;  // its file's id
  Pool::Place place;
};
static_assert(sizeof(ExportedPointer) <= sizeof(CUmemPoolPtrExportData));

}  // namespace

CUresult api::cuMemPoolExportPointer(CUmemPoolPtrExportData* out, CUdeviceptr address) {
  std::shared_ptr<Pool> pool;
  if (out == nullptr || find_pool(Pool::handle_of(address), &pool) != CUDA_SUCCESS) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  ExportedPointer exported = {pool->file().label().id, {}};
  if (CUresult error = pool->place_of(address, &exported.place)) return error;
  *out = {};
  std::memcpy(out->reserved, &exported, sizeof(exported));
  return CUDA_SUCCESS;
}

CUresult api::cuMemPoolImportPointer(CUdeviceptr* out, CUmemoryPool handle,
                                     CUmemPoolPtrExportData* data) {
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(handle, &pool)) return error;
  if (out == nullptr || data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  ExportedPointer exported;
  std::memcpy(&exported, data->reserved, sizeof(exported));
  if (exported.pool != pool->file().label().id) return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0;
  if (CUresult error = pool->map(exported.place, *context, &address)) return error;
  *out = address;
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ stream-ordered memory

namespace {

CUresult allocate_in_stream(CUdeviceptr* out, size_t bytes, const std::shared_ptr<Pool>& pool,
                            const StreamRef& stream) {
  if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (std::shared_ptr<Capture> capture = stream->capture()) {
    CUDA_MEM_ALLOC_NODE_PARAMS params = {};
    params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    params.poolProps.location = {CU_MEM_LOCATION_TYPE_DEVICE, pool->device().ordinal};
    params.bytesize = bytes;
    NodeContent content;
    if (CUresult error = make_allocation_content(&params, &content)) return error;
    *out = params.dptr;
    return capture->record(*stream, std::move(content));
  }
  if (pool->imported()) return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0;
  // The memory is there at once, earlier than CUDA promises.
  if (CUresult error = pool->allocate(bytes, stream->context(), &address)) return error;
  *out = address;
  return CUDA_SUCCESS;
}

}  // namespace

CUresult api::cuMemAllocAsync(CUdeviceptr* out, size_t bytes, CUstream handle) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  return allocate_in_stream(out, bytes, stream->context().device().pool(), stream);
}

CUresult api::cuMemAllocFromPoolAsync(CUdeviceptr* out, size_t bytes, CUmemoryPool pool_handle,
                                      CUstream handle) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  std::shared_ptr<Pool> pool;
  if (CUresult error = find_pool(pool_handle, &pool)) return error;
  return allocate_in_stream(out, bytes, pool, stream);
}

CUresult api::cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (address == 0) return CUDA_SUCCESS;
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region || region->base != address) return CUDA_ERROR_INVALID_VALUE;
  // Memory of a graph stays for its next launch; in a capture the free becomes a node.
  if (std::shared_ptr<Capture> capture = stream->capture()) {
    if (region->kind != Region::Kind::kGraph) return CUDA_ERROR_NOT_SUPPORTED;
    NodeContent content;
    content.type = CU_GRAPH_NODE_TYPE_MEM_FREE;
    content.freed = address;
    return capture->record(*stream, std::move(content));
  }
  if (region->kind == Region::Kind::kGraph) {
    return GraphMemory::free(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  if (region->kind == Region::Kind::kPool) {
    if (!Pool::releasing(address)) return CUDA_ERROR_INVALID_VALUE;
  } else if (region->kind != Region::Kind::kDevice) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return stream->context().submit(*stream, FreeWork{address});
}

}  // namespace farcall::softgpu
