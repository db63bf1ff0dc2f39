// Allocating and freeing: device, pinned, registered and managed memory.
#include "softgpu/driver/memory.h"
#include "softgpu/driver/external_memory.h"

#include <unistd.h>

#include "base/log.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/pool.h"

namespace farcall::softgpu {

Place locate(uint64_t address, size_t bytes) {
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region) return {};
  if (region->kind == Region::Kind::kMapped) {
    const MemoryMap& map = driver().memory_map;
    if (!map.mapped(address, bytes, false)) return {Place::Kind::kBeyond, region};
    return {Place::Kind::kDevice, region, map.mapped(address, bytes, true)};
  }
  const bool inside = bytes <= region->end() - address;
  if (region->on_host()) {
    // The program's heap may go on after what it registered: ordinary memory then.
    if (!inside) return {Place::Kind::kPageable, std::nullopt};
    return {Place::Kind::kHost, region};
  }
  return {inside ? Place::Kind::kDevice : Place::Kind::kBeyond, region};
}

bool is_accessible(uint64_t address, size_t bytes) {
  const Place place = locate(address, bytes);
  return (place.kind == Place::Kind::kHost || place.kind == Place::Kind::kDevice) &&
         place.region->kind != Region::Kind::kArray && place.writable;
}

namespace {

constexpr size_t kHostPage = 4096;
constexpr unsigned kHostAllocFlags =
    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
constexpr unsigned kHostRegisterFlags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                                        CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY;

CUresult allocate(size_t bytes, Region::Kind kind, unsigned flags, size_t alignment,
                  CUdeviceptr* out) {
  if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (CUresult error = check_unsafe_call()) return error;
  Region region;
  region.kind = kind;
  region.context = context.get();
  region.flags = flags;
  DeviceMemory& memory = context->device().memory;
  uint64_t base = memory.allocate_region(bytes, region, alignment);
  if (base == 0) {
    // Memory freed in streams may only wait for its turn.
    if (CUresult error = context->synchronize()) return error;
    context->device().trim_pools();
    base = memory.allocate_region(bytes, region, alignment);
  }
  if (base == 0) {
    log::debug("out of memory: {} bytes wanted, {} of {} in use", bytes, memory.used(),
               memory.capacity());
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *out = base;
  return CUDA_SUCCESS;
}

// Frees the region if it is one of these kinds, once nothing uses it any more.
CUresult free_at(uint64_t address, bool (*may_free)(Region::Kind)) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region || region->base != address || !may_free(region->kind)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_unsafe_call()) return error;
  if (region->context != nullptr) {
    if (CUresult error = region->context->synchronize()) return error;
  }
  if (region->kind == Region::Kind::kPool) {
    if (!Pool::releasing(address)) return CUDA_ERROR_INVALID_VALUE;  // freed in a stream already
    Pool::released(address);
    return CUDA_SUCCESS;
  }
  // The memory itself stays for the next launch.
  if (region->kind == Region::Kind::kGraph) {
    return GraphMemory::free(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  return driver().device(region->device)->memory.free_region(address) ? CUDA_SUCCESS
                                                                      : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

// ------------------------------------------------------------------ device memory

CUresult api::cuMemAlloc_v2(CUdeviceptr* out, size_t bytes) {
  return allocate(bytes, Region::Kind::kDevice, 0, DeviceMemory::kAlignment, out);
}

CUresult api::cuMemAllocPitch_v2(CUdeviceptr* out, size_t* pitch, size_t width, size_t height,
                                 unsigned element_bytes) {
  if (pitch == nullptr || width == 0 || height == 0 ||
      (element_bytes != 4 && element_bytes != 8 && element_bytes != 16)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  const Limits& limits = context->device().limits;
  const size_t rounded = (width + limits.pitch_alignment - 1) & ~(limits.pitch_alignment - 1);
  if (width > limits.pitch_max || rounded > limits.pitch_max || height > SIZE_MAX / rounded) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = api::cuMemAlloc_v2(out, rounded * height)) return error;
  *pitch = rounded;
  return CUDA_SUCCESS;
}

CUresult api::cuMemFree_v2(CUdeviceptr address) {
  if (address == 0) return CUDA_SUCCESS;
  const std::optional<Region> region = driver().memory_map.find(address);
  if (region && region->kind == Region::Kind::kImported &&
      region->flags == kRegionOfExternalMemory) {
    return free_at(address, [](Region::Kind kind) { return kind == Region::Kind::kImported; });
  }
  return free_at(address, [](Region::Kind kind) {
    return kind == Region::Kind::kDevice || kind == Region::Kind::kPool ||
           kind == Region::Kind::kGraph || kind == Region::Kind::kManaged;
  });
}

CUresult api::cuMemGetInfo_v2(size_t* free, size_t* total) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  const DeviceMemory& memory = context->device().memory;
  if (free != nullptr) *free = memory.capacity() - memory.used();
  if (total != nullptr) *total = memory.capacity();
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ managed memory: the same for
// host and device

CUresult api::cuMemAllocManaged(CUdeviceptr* out, size_t bytes, unsigned flags) {
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return allocate(bytes, Region::Kind::kManaged, flags, kHostPage, out);
}

// ------------------------------------------------------------------ pinned host memory

CUresult api::cuMemHostAlloc(void** out, size_t bytes, unsigned flags) {
  if (out == nullptr || (flags & ~kHostAllocFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  CUdeviceptr base = 0;
  // All pinned memory is mapped with unified addressing.
  if (CUresult error = allocate(bytes, Region::Kind::kHost, flags | CU_MEMHOSTALLOC_DEVICEMAP,
                                kHostPage, &base)) {
    return error;
  }
  *out = reinterpret_cast<void*>(base);
  return CUDA_SUCCESS;
}

CUresult api::cuMemAllocHost_v2(void** out, size_t bytes) {
  return api::cuMemHostAlloc(out, bytes, 0);
}

CUresult api::cuMemFreeHost(void* address) {
  if (address == nullptr) return CUDA_SUCCESS;
  return free_at(reinterpret_cast<uint64_t>(address),
                 [](Region::Kind kind) { return kind == Region::Kind::kHost; });
}

CUresult api::cuMemHostRegister_v2(void* address, size_t bytes, unsigned flags) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (address == nullptr || bytes == 0 || (flags & ~kHostRegisterFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Region region;
  region.base = reinterpret_cast<uint64_t>(address);
  region.bytes = bytes;
  region.kind = Region::Kind::kRegistered;
  region.device = context->device().ordinal;
  region.context = context.get();
  region.flags = flags | CU_MEMHOSTREGISTER_DEVICEMAP;
  if (region.end() < region.base) return CUDA_ERROR_INVALID_VALUE;
  if (std::optional<Region> there = driver().memory_map.find_overlap(region.base, bytes)) {
    return there->on_host() ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED : CUDA_ERROR_INVALID_VALUE;
  }
  return driver().memory_map.insert(region) ? CUDA_SUCCESS
                                            : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

CUresult api::cuMemHostRegister(void* address, size_t bytes, unsigned flags) {
  return api::cuMemHostRegister_v2(address, bytes, flags);
}

CUresult api::cuMemHostUnregister(void* address) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  const uint64_t base = reinterpret_cast<uint64_t>(address);
  std::optional<Region> region = driver().memory_map.find(base);
  if (!region || region->base != base || region->kind != Region::Kind::kRegistered) {
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  }
  if (region->context != nullptr) {
    if (CUresult error = region->context->synchronize()) return error;
  }
  driver().memory_map.remove(base);
  return CUDA_SUCCESS;
}

CUresult api::cuMemHostGetDevicePointer_v2(CUdeviceptr* out, void* address, unsigned flags) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  const Place place = locate(reinterpret_cast<uint64_t>(address), 1);
  if (out == nullptr || flags != 0 || place.kind != Place::Kind::kHost) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = reinterpret_cast<CUdeviceptr>(address);
  return CUDA_SUCCESS;
}

CUresult api::cuMemHostGetFlags(unsigned* flags, void* address) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  const Place place = locate(reinterpret_cast<uint64_t>(address), 1);
  if (flags == nullptr || place.kind != Place::Kind::kHost ||
      place.region->kind == Region::Kind::kManaged) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *flags = place.region->flags;
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
