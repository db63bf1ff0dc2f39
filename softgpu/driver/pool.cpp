#include "softgpu/driver/pool.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

// Who owns an address; a pool lives as long as memory of it.
struct Owned {
  std::shared_ptr<Pool> pool;
  size_t bytes;
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

std::shared_ptr<Pool> Pool::create(Device& device) {
  std::shared_ptr<Pool> pool(new Pool(device));
  pool->handle_ = device.driver().pools.insert(pool);
  return pool;
}

CUresult Pool::allocate(size_t bytes, Context& context, uint64_t* address) {
  Region region;
  region.kind = Region::Kind::kPool;
  region.context = &context;
  {
    std::lock_guard lock(mutex_);
    region.shared_with = shared_with_;
  }
  uint64_t base = device_.memory.allocate_region(bytes, region);
  if (base == 0) {
    // Frees that were submitted may only wait for their turn.
    if (CUresult error = context.synchronize()) return error;
    base = device_.memory.allocate_region(bytes, region);
  }
  if (base == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  {
    std::lock_guard lock(registry().mutex);
    registry().by_address[base] = {shared_from_this(), bytes};
  }
  std::lock_guard lock(mutex_);
  used_ += bytes;
  used_high_ = std::max(used_high_, used_);
  *address = base;
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
    if (found == registry().by_address.end()) return;
    owned = std::move(found->second);
    registry().by_address.erase(found);
  }
  std::lock_guard lock(owned.pool->mutex_);
  owned.pool->used_ -= owned.bytes;
}

void Pool::free(uint64_t address) {
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region) return;  // its context ended first
  released(address);
  driver().device(region->device)->memory.free_region(address);
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
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      return answer<cuuint64_t>(value, used_);
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
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
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:  // may only be reset
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
  if (&pool->device() != device) return CUDA_ERROR_INVALID_VALUE;
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
  if (properties->handleTypes != CU_MEM_HANDLE_TYPE_NONE) {
    return CUDA_ERROR_NOT_SUPPORTED;  // sharing with other processes
  }
  Device* device;
  if (CUresult error = device_at(&properties->location, properties->allocType, &device)) {
    return error;
  }
  *out = Pool::create(*device)->handle();
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

// There is never anything to trim.
CUresult api::cuMemPoolTrimTo(CUmemoryPool handle, size_t) {
  std::shared_ptr<Pool> pool;
  return find_pool(handle, &pool);
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
  if (region->kind == Region::Kind::kGraph) return CUDA_SUCCESS;
  if (region->kind == Region::Kind::kPool) {
    if (!Pool::releasing(address)) return CUDA_ERROR_INVALID_VALUE;
  } else if (region->kind != Region::Kind::kDevice) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return stream->context().submit(*stream, FreeWork{address});
}

}  // namespace farcall::softgpu
