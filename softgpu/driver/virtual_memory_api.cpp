// cuMemAddress*, cuMemCreate, cuMemMap and their kin: checks, then VirtualMemory.
#include <fcntl.h>

#include "base/log.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/virtual_memory.h"

namespace farcall::softgpu {
namespace {

constexpr size_t kPage = 4096;

bool is_granular(uint64_t value) { return value % VirtualMemory::kGranularity == 0; }

CUresult check_properties(const CUmemAllocationProp* properties) {
  if (properties == nullptr || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto types = static_cast<unsigned>(properties->requestedHandleTypes);
  switch (properties->location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
      if (driver().device(properties->location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
      break;
    case CU_MEM_LOCATION_TYPE_HOST:
      if (types != CU_MEM_HANDLE_TYPE_NONE) return CUDA_ERROR_INVALID_VALUE;
      break;
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:  // one node is what CUDA sees without NUMA
      if (properties->location.id != 0) return CUDA_ERROR_INVALID_DEVICE;
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  if ((types & ~unsigned{CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR}) != 0) {
    log::debug("memory with handles of type {:#x} is not supported by softgpu", types);
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if ((properties->allocFlags.usage & CU_MEM_CREATE_USAGE_TILE_POOL) != 0) {
    log::warning("tile pools for sparse arrays are not supported by softgpu");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}

// Work that is on its way may use the memory.
CUresult wait_for_all() {
  for (const ContextRef& context : driver().live_contexts()) {
    if (context->active()) context->synchronize();
  }
  return CUDA_SUCCESS;
}

}  // namespace

// ------------------------------------------------------------------ addresses

CUresult api::cuMemAddressReserve(CUdeviceptr* out, size_t bytes, size_t alignment,
                                  CUdeviceptr wanted, unsigned long long flags) {
  if (out == nullptr || bytes == 0 || bytes % kPage != 0 || wanted % kPage != 0 ||
      (alignment & (alignment - 1)) != 0 || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  uint64_t base = 0;
  if (CUresult error = driver().virtual_memory.reserve(bytes, alignment, wanted, &base)) {
    return error;
  }
  *out = base;
  return CUDA_SUCCESS;
}

CUresult api::cuMemAddressFree(CUdeviceptr base, size_t bytes) {
  return driver().virtual_memory.free(base, bytes);
}

// ------------------------------------------------------------------ memory

CUresult api::cuMemGetAllocationGranularity(size_t* out, const CUmemAllocationProp* properties,
                                            CUmemAllocationGranularity_flags option) {
  if (out == nullptr || (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM &&
                         option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_properties(properties)) return error;
  *out = VirtualMemory::kGranularity;
  return CUDA_SUCCESS;
}

CUresult api::cuMemCreate(CUmemGenericAllocationHandle* out, size_t bytes,
                          const CUmemAllocationProp* properties, unsigned long long flags) {
  if (out == nullptr || bytes == 0 || flags != 0 || !is_granular(bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_properties(properties)) return error;
  std::shared_ptr<PhysicalMemory> memory;
  CUresult result = PhysicalMemory::create(*properties, bytes, &memory);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {  // memory freed in streams may only wait for its turn
    wait_for_all();
    const bool on_device = properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
    if (on_device) driver().device(properties->location.id)->trim_pools();
    result = PhysicalMemory::create(*properties, bytes, &memory);
  }
  if (result != CUDA_SUCCESS) return result;
  *out = driver().virtual_memory.insert(std::move(memory));
  return CUDA_SUCCESS;
}

CUresult api::cuMemRelease(CUmemGenericAllocationHandle handle) {
  return driver().virtual_memory.release(handle);
}

CUresult api::cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* out, void* address) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return driver().virtual_memory.retain_at(reinterpret_cast<uint64_t>(address), out);
}

CUresult api::cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* out,
                                                     CUmemGenericAllocationHandle handle) {
  std::shared_ptr<PhysicalMemory> memory;
  if (CUresult error = driver().virtual_memory.find(handle, &memory)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = memory->properties();
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ mappings

CUresult api::cuMemMap(CUdeviceptr base, size_t bytes, size_t offset,
                       CUmemGenericAllocationHandle handle, unsigned long long flags) {
  std::shared_ptr<PhysicalMemory> memory;
  if (CUresult error = driver().virtual_memory.find(handle, &memory)) return error;
  if (bytes == 0 || offset != 0 || flags != 0 || !is_granular(base) || !is_granular(bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return driver().virtual_memory.map(base, bytes, memory);
}

CUresult api::cuMemUnmap(CUdeviceptr base, size_t bytes) {
  if (CUresult error = check_unsafe_call()) return error;
  wait_for_all();
  return driver().virtual_memory.unmap(base, bytes);
}

CUresult api::cuMemSetAccess(CUdeviceptr base, size_t bytes, const CUmemAccessDesc* changes,
                             size_t count) {
  if (changes == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; ++i) {
    const CUmemLocation& location = changes[i].location;
    const CUmemAccess_flags flags = changes[i].flags;
    if (flags != CU_MEM_ACCESS_FLAGS_PROT_NONE && flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
        flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    switch (location.type) {
      case CU_MEM_LOCATION_TYPE_DEVICE:
        if (driver().device(location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
        break;
      case CU_MEM_LOCATION_TYPE_HOST:
      case CU_MEM_LOCATION_TYPE_HOST_NUMA: {
        // The host reaches only memory that is the host's.
        const auto properties = driver().virtual_memory.properties_at(base);
        if (!properties || properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE) {
          return CUDA_ERROR_INVALID_VALUE;
        }
        break;
      }
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return driver().virtual_memory.set_access(base, bytes, changes, count);
}

CUresult api::cuMemGetAccess(unsigned long long* flags, const CUmemLocation* location,
                             CUdeviceptr address) {
  if (flags == nullptr || location == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (location->type == CU_MEM_LOCATION_TYPE_DEVICE && driver().device(location->id) == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  return driver().virtual_memory.access(address, *location, flags);
}

// ------------------------------------------------------------------ other processes

CUresult api::cuMemExportToShareableHandle(void* out, CUmemGenericAllocationHandle handle,
                                           CUmemAllocationHandleType type,
                                           unsigned long long flags) {
  std::shared_ptr<PhysicalMemory> memory;
  if (CUresult error = driver().virtual_memory.find(handle, &memory)) return error;
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || !memory->shareable()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const int fd = fcntl(memory->fd(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return CUDA_ERROR_OPERATING_SYSTEM;
  *static_cast<int*>(out) = fd;  // the program's to close
  return CUDA_SUCCESS;
}

CUresult api::cuMemImportFromShareableHandle(CUmemGenericAllocationHandle* out, void* os_handle,
                                             CUmemAllocationHandleType type) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<PhysicalMemory> memory;
  // The descriptor itself is what the pointer holds.
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(os_handle));
  if (CUresult error = PhysicalMemory::import(fd, &memory)) return error;
  *out = driver().virtual_memory.insert(std::move(memory));
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
