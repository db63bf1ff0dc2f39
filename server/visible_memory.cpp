#include "server/visible_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "server/driver_table.h"
#include "server/relaxed_capture.h"

namespace farcall::server {
namespace {

// What NVIDIA's devices map by.
constexpr uint64_t kDeviceGranularity = uint64_t{2} << 20;
// Addresses that a process can have.
constexpr uint64_t kAddressMax = uint64_t{1} << 56;

bool is_multiple(uint64_t value, uint64_t unit) { return value % unit == 0; }

}  // namespace

CUresult VisibleMemory::map(uint64_t wanted, uint64_t bytes, bool on_device, uint64_t* address) {
  const uint64_t page = uint64_t(::sysconf(_SC_PAGESIZE));
  if (bytes == 0 || bytes > kAddressMax || wanted > kAddressMax || !is_multiple(bytes, page) ||
      !is_multiple(wanted, page)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::lock_guard lock(mutex_);
  if (ranges_.size() >= kRangesMax) return CUDA_ERROR_OUT_OF_MEMORY;
  const RelaxedCapture relaxed(driver_);
  Range range;
  range.bytes = bytes;
  CUresult result = CUDA_ERROR_NOT_SUPPORTED;
  if (on_device && is_multiple(bytes, kDeviceGranularity)) {
    result = map_on_device(wanted, bytes, address, &range);
  }
  if (result == CUDA_ERROR_NOT_SUPPORTED || (on_device && result == CUDA_ERROR_OUT_OF_MEMORY)) {
    result = map_on_host(wanted, bytes, address, &range);
  }
  if (result != CUDA_SUCCESS) return result;
  (void)driver_.cuCtxGetCurrent(&range.context);
  ranges_[*address] = range;
  return CUDA_SUCCESS;
}

CUresult VisibleMemory::map_on_device(uint64_t wanted, uint64_t bytes, uint64_t* address,
                                      Range* range) {
  if (driver_.cuMemAddressReserve == nullptr || driver_.cuMemAddressFree == nullptr ||
      driver_.cuMemCreate == nullptr || driver_.cuMemMap == nullptr ||
      driver_.cuMemSetAccess == nullptr || driver_.cuMemUnmap == nullptr ||
      driver_.cuMemRelease == nullptr) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  CUdevice device = 0;
  if (const CUresult result = driver_.cuCtxGetDevice(&device); result != CUDA_SUCCESS) {
    return result;
  }
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  CUdeviceptr base = 0;
  CUresult result = driver_.cuMemAddressReserve(&base, bytes, kDeviceGranularity, wanted, 0);
  if (result != CUDA_SUCCESS) return result;
  if (wanted != 0 && base != wanted) {
    (void)driver_.cuMemAddressFree(base, bytes);
    return CUDA_ERROR_MAP_FAILED;
  }
  result = driver_.cuMemCreate(&range->memory, bytes, &properties, 0);
  if (result == CUDA_SUCCESS) {
    result = driver_.cuMemMap(base, bytes, 0, range->memory, 0);
    if (result == CUDA_SUCCESS) {
      result = open_for_devices(base, bytes, device);
      if (result != CUDA_SUCCESS) (void)driver_.cuMemUnmap(base, bytes);
    }
    if (result != CUDA_SUCCESS) (void)driver_.cuMemRelease(range->memory);
  }
  if (result != CUDA_SUCCESS) {
    (void)driver_.cuMemAddressFree(base, bytes);
    return result;
  }
  range->kind = Kind::kDevice;
  *address = base;
  return CUDA_SUCCESS;
}

// Managed memory is for all devices; those that can't reach this one's memory do without.
CUresult VisibleMemory::open_for_devices(uint64_t address, uint64_t bytes, int device) {
  CUmemAccessDesc access = {};
  access.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const CUresult result = driver_.cuMemSetAccess(address, bytes, &access, 1);
  int count = 0;
  if (result != CUDA_SUCCESS || driver_.cuDeviceGetCount(&count) != CUDA_SUCCESS) return result;
  for (int other = 0; other < count; ++other) {
    if (other == device) continue;
    access.location.id = other;
    (void)driver_.cuMemSetAccess(address, bytes, &access, 1);
  }
  return CUDA_SUCCESS;
}

CUresult VisibleMemory::map_on_host(uint64_t wanted, uint64_t bytes, uint64_t* address,
                                    Range* range) {
  if (driver_.cuMemHostRegister_v2 == nullptr || driver_.cuMemHostGetDevicePointer_v2 == nullptr) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (bytes > kHostBytesMax - host_bytes_) return CUDA_ERROR_OUT_OF_MEMORY;
  void* const where = reinterpret_cast<void*>(wanted);
  void* const memory =
      ::mmap(where, bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | (wanted != 0 ? MAP_FIXED_NOREPLACE : 0), -1, 0);
  if (memory == MAP_FAILED) return wanted != 0 ? CUDA_ERROR_MAP_FAILED : CUDA_ERROR_OUT_OF_MEMORY;
  CUresult result = CUDA_ERROR_MAP_FAILED;
  if (wanted == 0 || memory == where) {
    result = driver_.cuMemHostRegister_v2(
        memory, bytes, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
  }
  if (result == CUDA_SUCCESS) {
    CUdeviceptr device = 0;
    result = driver_.cuMemHostGetDevicePointer_v2(&device, memory, 0);
    if (result == CUDA_SUCCESS && device != reinterpret_cast<CUdeviceptr>(memory)) {
      result = CUDA_ERROR_NOT_SUPPORTED;  // this device has another name for it
    }
    if (result != CUDA_SUCCESS) (void)driver_.cuMemHostUnregister(memory);
  }
  if (result != CUDA_SUCCESS) {
    ::munmap(memory, bytes);
    return result;
  }
  range->kind = Kind::kHost;
  host_bytes_ += bytes;
  *address = reinterpret_cast<uint64_t>(memory);
  return CUDA_SUCCESS;
}

CUresult VisibleMemory::adopt(uint64_t address, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (ranges_.size() >= kRangesMax) return CUDA_ERROR_OUT_OF_MEMORY;
  const auto known = ranges_.find(address);
  if (known != ranges_.end() && known->second.kind != Kind::kAdopted) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Range range;
  range.bytes = bytes;
  range.kind = Kind::kAdopted;
  ranges_[address] = range;
  return CUDA_SUCCESS;
}

CUresult VisibleMemory::release(uint64_t address) {
  const std::lock_guard lock(mutex_);
  const auto found = ranges_.find(address);
  if (found == ranges_.end()) return CUDA_ERROR_INVALID_VALUE;
  const Range range = found->second;
  ranges_.erase(found);
  return unmap(address, range);
}

CUresult VisibleMemory::unmap(uint64_t address, const Range& range) {
  const RelaxedCapture relaxed(driver_);
  switch (range.kind) {
    case Kind::kAdopted:
      return CUDA_SUCCESS;
    case Kind::kDevice: {
      const CUresult result = driver_.cuMemUnmap(address, range.bytes);
      (void)driver_.cuMemRelease(range.memory);
      (void)driver_.cuMemAddressFree(address, range.bytes);
      return result;
    }
    case Kind::kHost: {
      void* const memory = reinterpret_cast<void*>(address);
      (void)driver_.cuMemHostUnregister(memory);
      ::munmap(memory, range.bytes);
      host_bytes_ -= range.bytes;
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_UNKNOWN;
}

const VisibleMemory::Range* VisibleMemory::find(uint64_t address, uint64_t bytes) {
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return nullptr;
  const auto& [base, range] = *std::prev(after);
  const uint64_t offset = address - base;
  return offset <= range.bytes && bytes <= range.bytes - offset ? &range : nullptr;
}

CUresult VisibleMemory::copy_stream(CUstream* stream) {
  CUcontext context = nullptr;
  CUresult result = driver_.cuCtxGetCurrent(&context);
  if (result != CUDA_SUCCESS) return result;
  CUstream& known = streams_[context];
  if (known == nullptr) result = driver_.cuStreamCreate(&known, CU_STREAM_NON_BLOCKING);
  *stream = known;
  return result;
}

CUresult VisibleMemory::write(std::span<const Piece> pieces, std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  uint64_t total = 0;
  for (const Piece& piece : pieces) {
    if (piece.bytes > bytes.size() - total || find(piece.address, piece.bytes) == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    total += piece.bytes;
  }
  const RelaxedCapture relaxed(driver_);
  CUstream stream = nullptr;
  CUresult result = CUDA_SUCCESS;
  const std::byte* from = bytes.data();
  for (const Piece& piece : pieces) {
    if (find(piece.address, piece.bytes)->kind == Kind::kHost) {
      std::memcpy(reinterpret_cast<void*>(piece.address), from, piece.bytes);
    } else {
      if (stream == nullptr) result = copy_stream(&stream);
      if (result == CUDA_SUCCESS) {
        result = driver_.cuMemcpyHtoDAsync_v2(piece.address, from, piece.bytes, stream);
      }
      if (result != CUDA_SUCCESS) break;
    }
    from += piece.bytes;
  }
  if (stream != nullptr) {
    // Whatever comes next, in any stream, sees the bytes.
    const CUresult done = driver_.cuStreamSynchronize(stream);
    if (result == CUDA_SUCCESS) result = done;
  }
  return result;
}

CUresult VisibleMemory::read(uint64_t address, uint64_t bytes, const Send& send) {
  const std::lock_guard lock(mutex_);
  const Range* const range = find(address, bytes);
  if (range == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const RelaxedCapture relaxed(driver_);
  CUstream stream = nullptr;
  std::byte* chunk = nullptr;
  CUresult result = CUDA_SUCCESS;
  if (range->kind != Kind::kHost) {
    result = copy_stream(&stream);
    if (result != CUDA_SUCCESS) return result;
    chunk = staging_.acquire();
    if (chunk == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    staging_.pin(chunk);
  }
  for (uint64_t offset = 0; offset < bytes && result == CUDA_SUCCESS;) {
    const uint64_t count = std::min<uint64_t>(Staging::kChunkBytes, bytes - offset);
    const auto* from = reinterpret_cast<const std::byte*>(address + offset);
    if (chunk != nullptr) {
      result = driver_.cuMemcpyDtoHAsync_v2(chunk, address + offset, count, stream);
      if (result == CUDA_SUCCESS) result = driver_.cuStreamSynchronize(stream);
      from = chunk;
    }
    if (result == CUDA_SUCCESS) send(offset, {from, count});
    offset += count;
  }
  if (chunk != nullptr) staging_.release(chunk);
  return result;
}

void VisibleMemory::forget(CUcontext context) {
  const std::lock_guard lock(mutex_);
  streams_.erase(context);
  std::erase_if(ranges_, [&](const auto& entry) {
    const auto& [address, range] = entry;
    if (range.context != context || range.kind == Kind::kAdopted) return false;
    (void)unmap(address, range);
    return true;
  });
}

}  // namespace farcall::server
