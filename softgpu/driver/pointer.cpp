// What the driver knows of an address: ranges, pointer attributes, and advice about managed memory.
#include <algorithm>
#include <cstring>
#include <vector>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/pool.h"
#include "softgpu/driver/stream.h"
#include "softgpu/driver/virtual_memory.h"

namespace farcall::softgpu {
namespace {

template <class T>
CUresult answer(void* data, T value) {
  std::memcpy(data, &value, sizeof(value));
  return CUDA_SUCCESS;
}

bool is_attribute(CUpointer_attribute attribute) {
  return attribute >= CU_POINTER_ATTRIBUTE_CONTEXT &&
         attribute <= CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE;
}

CUmemorytype memory_type(const Region& region) {
  return region.kind == Region::Kind::kHost || region.kind == Region::Kind::kRegistered
             ? CU_MEMORYTYPE_HOST
             : CU_MEMORYTYPE_DEVICE;
}

// Mapped memory is a piece of a larger range.
std::optional<VirtualMemory::Range> reserved_range(const Region& region) {
  if (region.kind != Region::Kind::kMapped) return std::nullopt;
  return driver().virtual_memory.reservation(region.base);
}

// Of addresses that are reserved and have no memory yet.
CUresult attribute_of_reserved(CUdeviceptr pointer, CUpointer_attribute attribute, void* data) {
  const auto range = driver().virtual_memory.reservation(pointer);
  if (!range) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MAPPED:
      return answer<unsigned>(data, 0);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      return answer<CUdeviceptr>(data, range->base);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      return answer<size_t>(data, range->bytes);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult attribute_of(const Region& region, CUpointer_attribute attribute, CUdeviceptr pointer,
                      void* data) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      // Stream-ordered memory is the device's, not a context's.
      return answer<CUcontext>(data, region.context == nullptr || region.kind == Region::Kind::kPool
                                         ? nullptr
                                         : region.context->handle());
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return answer<unsigned>(data, memory_type(region));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      return answer<CUdeviceptr>(data, pointer);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!region.on_host()) return CUDA_ERROR_INVALID_VALUE;
      return answer<void*>(data, reinterpret_cast<void*>(pointer));
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
      return answer<unsigned>(data, region.sync_memops);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
      return answer<unsigned long long>(data, region.id);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      return answer<unsigned>(data, region.kind == Region::Kind::kManaged);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return answer<int>(data, region.device);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
      return answer<unsigned>(data, region.kind == Region::Kind::kDevice);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      if (auto range = reserved_range(region)) return answer<CUdeviceptr>(data, range->base);
      [[fallthrough]];
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      return answer<CUdeviceptr>(data, region.base);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      if (auto range = reserved_range(region)) return answer<size_t>(data, range->bytes);
      [[fallthrough]];
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      return answer<size_t>(data, region.bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED:
      return answer<unsigned>(data, 1);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: {
      const auto properties = driver().virtual_memory.properties_at(pointer);
      return answer<unsigned long long>(data, properties ? properties->requestedHandleTypes : 0);
    }
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      return answer<unsigned>(data, 0);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return answer<unsigned>(data, CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      return answer<CUmemoryPool>(data, Pool::handle_of(region.base));
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      return answer<unsigned>(data, 0);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// What cuPointerGetAttributes says where attribute_of() has no answer.
void answer_nothing(CUpointer_attribute attribute, void* data) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      answer<int>(data, CU_DEVICE_INVALID);
      break;
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
      answer(data, CUDA_POINTER_ATTRIBUTE_P2P_TOKENS{});
      break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      answer<unsigned>(data, 0);
      break;
    default:
      answer<uint64_t>(data, 0);
      break;
  }
}

// The region, if the program may know of it.
std::optional<Region> find_addressable(CUdeviceptr pointer) {
  std::optional<Region> region = driver().memory_map.find(pointer);
  if (region && region->kind == Region::Kind::kArray) return std::nullopt;
  return region;
}

bool all_managed(CUdeviceptr address, size_t bytes) {
  const Place place = locate(address, bytes);
  return bytes > 0 && place.kind == Place::Kind::kHost &&
         place.region->kind == Region::Kind::kManaged;
}

bool is_location(const CUmemLocation& location) {
  switch (location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
      return driver().device(location.id) != nullptr;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
      return true;
    default:
      return false;
  }
}

CUmemLocation location_of_device(CUdevice device) {
  CUmemLocation location = {};
  location.type = device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
  location.id = device == CU_DEVICE_CPU ? 0 : device;
  return location;
}

}  // namespace

CUresult api::cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* bytes, CUdeviceptr pointer) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  std::optional<Region> region = find_addressable(pointer);
  if (!region) return CUDA_ERROR_NOT_FOUND;
  if (base != nullptr) *base = region->base;
  if (bytes != nullptr) *bytes = region->bytes;
  return CUDA_SUCCESS;
}

CUresult api::cuPointerGetAttribute(void* data, CUpointer_attribute attribute,
                                    CUdeviceptr pointer) {
  if (data == nullptr || !is_attribute(attribute)) return CUDA_ERROR_INVALID_VALUE;
  std::optional<Region> region = find_addressable(pointer);
  if (!region) return attribute_of_reserved(pointer, attribute, data);
  return attribute_of(*region, attribute, pointer, data);
}

// Unlike the singular form, this one answers for any pointer.
CUresult api::cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data,
                                     CUdeviceptr pointer) {
  if (count == 0 || attributes == nullptr || data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!std::all_of(attributes, attributes + count, is_attribute)) return CUDA_ERROR_INVALID_VALUE;
  std::optional<Region> region = find_addressable(pointer);
  for (unsigned i = 0; i < count; ++i) {
    if (!region || attribute_of(*region, attributes[i], pointer, data[i]) != CUDA_SUCCESS) {
      answer_nothing(attributes[i], data[i]);
    }
  }
  return CUDA_SUCCESS;
}

CUresult api::cuPointerSetAttribute(const void* value, CUpointer_attribute attribute,
                                    CUdeviceptr pointer) {
  if (value == nullptr || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::optional<Region> region = find_addressable(pointer);
  if (!region) return CUDA_ERROR_INVALID_VALUE;
  const bool on = *static_cast<const unsigned*>(value) != 0;
  driver().memory_map.update(region->base, [on](Region& found) { found.sync_memops = on; });
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ managed memory stays where it
// is

CUresult api::cuMemPrefetchAsync_v2(CUdeviceptr address, size_t bytes, CUmemLocation location,
                                    unsigned flags, CUstream stream_handle) {
  StreamRef stream;
  if (CUresult error = find_stream(stream_handle, &stream)) return error;
  if (!all_managed(address, bytes) || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (!is_location(location)) return CUDA_ERROR_INVALID_DEVICE;
  const int target = location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : CU_DEVICE_CPU;
  driver().memory_map.update(driver().memory_map.find(address)->base,
                             [target](Region& region) { region.last_prefetch = target; });
  return CUDA_SUCCESS;
}

CUresult api::cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUdevice device,
                                 CUstream stream) {
  return api::cuMemPrefetchAsync_v2(address, bytes, location_of_device(device), 0, stream);
}

namespace {

// Every range is checked before any is touched. `locations` may be empty.
CUresult for_each_managed(const CUdeviceptr* addresses, const size_t* sizes, size_t count,
                          const CUmemLocation* locations, const size_t* first,
                          size_t location_count, unsigned long long flags, CUstream stream_handle) {
  StreamRef stream;
  if (CUresult error = find_stream(stream_handle, &stream)) return error;
  // As CUDA documents: not in the legacy stream.
  if (addresses == nullptr || sizes == nullptr || count == 0 || flags != 0 ||
      stream->kind() == Stream::Kind::kLegacy) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < count; ++i) {
    if (!all_managed(addresses[i], sizes[i])) return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < location_count; ++i) {
    if (first[i] >= count || (i == 0 ? first[i] != 0 : first[i] <= first[i - 1])) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (!is_location(locations[i])) return CUDA_ERROR_INVALID_DEVICE;
  }
  size_t location = 0;
  for (size_t i = 0; i < count && location_count > 0; ++i) {
    if (location + 1 < location_count && first[location + 1] == i) ++location;
    const int target = locations[location].type == CU_MEM_LOCATION_TYPE_DEVICE
                           ? locations[location].id
                           : CU_DEVICE_CPU;
    driver().memory_map.update(driver().memory_map.find(addresses[i])->base,
                               [target](Region& region) { region.last_prefetch = target; });
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult api::cuMemPrefetchBatchAsync(CUdeviceptr* addresses, size_t* sizes, size_t count,
                                      CUmemLocation* locations, size_t* first,
                                      size_t location_count, unsigned long long flags,
                                      CUstream stream) {
  if (locations == nullptr || first == nullptr || location_count == 0 || location_count > count) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return for_each_managed(addresses, sizes, count, locations, first, location_count, flags, stream);
}

// What is discarded may be lost; here it stays, which a program can't tell from being lucky.
CUresult api::cuMemDiscardBatchAsync(CUdeviceptr* addresses, size_t* sizes, size_t count,
                                     unsigned long long flags, CUstream stream) {
  return for_each_managed(addresses, sizes, count, nullptr, nullptr, 0, flags, stream);
}
CUresult api::cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr* addresses, size_t* sizes, size_t count,
                                                CUmemLocation* locations, size_t* first,
                                                size_t location_count, unsigned long long flags,
                                                CUstream stream) {
  return api::cuMemPrefetchBatchAsync(addresses, sizes, count, locations, first, location_count,
                                      flags, stream);
}

CUresult api::cuMemAdvise_v2(CUdeviceptr address, size_t bytes, CUmem_advise advice,
                             CUmemLocation location) {
  if (!all_managed(address, bytes)) return CUDA_ERROR_INVALID_VALUE;
  const int device = location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : CU_DEVICE_CPU;
  const auto change = [&](auto&& apply) {
    driver().memory_map.update(driver().memory_map.find(address)->base, apply);
    return CUDA_SUCCESS;
  };
  switch (advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
      return change([](Region& region) { region.read_mostly = true; });
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
      return change([](Region& region) { region.read_mostly = false; });
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
      if (!is_location(location)) return CUDA_ERROR_INVALID_DEVICE;
      return change([device](Region& region) { region.preferred = device; });
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
      return change([](Region& region) { region.preferred = CU_DEVICE_INVALID; });
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY: {
      if (!is_location(location)) return CUDA_ERROR_INVALID_DEVICE;
      const uint32_t bit = device == CU_DEVICE_CPU ? Region::kHostBit : uint32_t{1} << device;
      const bool on = advice == CU_MEM_ADVISE_SET_ACCESSED_BY;
      return change([bit, on](Region& region) {
        region.accessed_by = on ? region.accessed_by | bit : region.accessed_by & ~bit;
      });
    }
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult api::cuMemAdvise(CUdeviceptr address, size_t bytes, CUmem_advise advice, CUdevice device) {
  return api::cuMemAdvise_v2(address, bytes, advice, location_of_device(device));
}

CUresult api::cuMemRangeGetAttribute(void* data, size_t data_bytes, CUmem_range_attribute attribute,
                                     CUdeviceptr address, size_t bytes) {
  if (data == nullptr || !all_managed(address, bytes)) return CUDA_ERROR_INVALID_VALUE;
  const std::optional<Region> region = driver().memory_map.find(address);
  const auto type_of = [](int device) -> int {
    if (device == CU_DEVICE_INVALID) return CU_MEM_LOCATION_TYPE_INVALID;
    return device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
  };
  if (attribute == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY) {  // a list, as much of it as there is room
    if (data_bytes == 0 || data_bytes % sizeof(int) != 0) return CUDA_ERROR_INVALID_VALUE;
    std::vector<int> list;
    for (int i = 0; i < driver().device_count(); ++i) {
      if ((region->accessed_by >> i & 1) != 0) list.push_back(i);
    }
    if ((region->accessed_by & Region::kHostBit) != 0) list.push_back(CU_DEVICE_CPU);
    list.resize(data_bytes / sizeof(int), int{CU_DEVICE_INVALID});
    std::memcpy(data, list.data(), data_bytes);
    return CUDA_SUCCESS;
  }
  if (data_bytes != sizeof(int)) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
      return answer<int>(data, region->read_mostly);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
      return answer<int>(data, region->preferred);
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
      return answer<int>(data, region->last_prefetch);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
      return answer<int>(data, type_of(region->preferred));
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
      return answer<int>(data, type_of(region->last_prefetch));
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult api::cuMemRangeGetAttributes(void** data, size_t* data_bytes,
                                      CUmem_range_attribute* attributes, size_t count,
                                      CUdeviceptr address, size_t bytes) {
  if (data == nullptr || data_bytes == nullptr || attributes == nullptr || count == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < count; ++i) {
    if (CUresult error =
            api::cuMemRangeGetAttribute(data[i], data_bytes[i], attributes[i], address, bytes)) {
      return error;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
