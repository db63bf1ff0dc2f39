// External memory: of the kinds that CUDA knows, this device has memory that another process, or
// this one, gave out as a file descriptor (cuMemExportToShareableHandle). Vulkan, Direct3D and
// NvSci have none to share with a CPU.
#include "softgpu/driver/external_memory.h"

#include <unistd.h>

#include "base/log.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {
namespace {

constexpr uint64_t kPage = 4096;

}  // namespace

CUresult api::cuImportExternalMemory(CUexternalMemory* out,
                                     const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* what) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (out == nullptr || what == nullptr || what->size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (what->type != CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD) return CUDA_ERROR_NOT_SUPPORTED;
  auto memory = std::make_shared<ExternalMemory>();
  if (CUresult error =
          SharedFile::adopt(what->handle.fd, SharedFile::Kind::kAllocation, &memory->file)) {
    return error;
  }
  if (what->size > memory->file.pages()) return CUDA_ERROR_INVALID_VALUE;
  memory->bytes = what->size;
  *out = driver().external_memory.insert(std::move(memory));
  close(what->handle.fd);  // ours, once it is imported
  return CUDA_SUCCESS;
}

CUresult api::cuExternalMemoryGetMappedBuffer(CUdeviceptr* out, CUexternalMemory handle,
                                              const CUDA_EXTERNAL_MEMORY_BUFFER_DESC* what) {
  const std::shared_ptr<ExternalMemory> memory = driver().external_memory.find(handle);
  if (memory == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (out == nullptr || what == nullptr || what->flags != 0 || what->size == 0 ||
      what->offset > memory->bytes || what->size > memory->bytes - what->offset) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_unsafe_call()) return error;
  Region region;
  region.kind = Region::Kind::kImported;
  region.flags = kRegionOfExternalMemory;
  region.context = context.get();
  const uint64_t start = what->offset % kPage, first = what->offset - start;
  const uint64_t pages = (start + what->size + kPage - 1) / kPage * kPage;
  const uint64_t base = context->device().memory.map_region(memory->file.fd(), first, pages, start,
                                                            what->size, 0, region);
  if (base == 0) return CUDA_ERROR_MAP_FAILED;
  *out = base;
  return CUDA_SUCCESS;
}

// An array's memory is laid out here; no other process has such.
CUresult api::cuExternalMemoryGetMappedMipmappedArray(
    CUmipmappedArray*, CUexternalMemory handle, const CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC*) {
  if (driver().external_memory.find(handle) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  log::warning("softgpu maps external memory as buffers, not as arrays");
  return CUDA_ERROR_NOT_SUPPORTED;
}

// Buffers that are mapped stay until they are freed.
CUresult api::cuDestroyExternalMemory(CUexternalMemory handle) {
  return driver().external_memory.remove(handle) != nullptr ? CUDA_SUCCESS
                                                            : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace farcall::softgpu
