// Linear memory, host memory and copies of the driver API. Allocations are kept in the client's
// table, so frees and pointer queries are checked and answered here.
#include <cuda.h>

#include <cstring>

#include "client/contexts.h"
#include "client/copy.h"
#include "client/driver/copy_3d.h"
#include "client/driver_bodies.h"
#include "client/host_memory.h"
#include "client/linear_memory.h"
#include "client/program.h"
#include "client/stub.h"

namespace farcall::client::driver {
namespace {

using rpc::HandleId;

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

}  // namespace

// --- Device memory

int cuMemAlloc_v2(Session& session, CUdeviceptr* dptr, size_t bytesize) {
  if (dptr == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0;
  const int result = allocate(session, bytesize, &address);
  if (result == CUDA_SUCCESS) *dptr = address;
  return result;
}

int cuMemAllocPitch_v2(Session& session, CUdeviceptr* dptr, size_t* pPitch, size_t WidthInBytes,
                       size_t Height, unsigned int ElementSizeBytes) {
  if (dptr == nullptr || pPitch == nullptr || WidthInBytes == 0 || Height == 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (ElementSizeBytes != 4 && ElementSizeBytes != 8 && ElementSizeBytes != 16)
    return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0, pitch = 0;
  const int result =
      allocate_pitched(session, WidthInBytes, Height, ElementSizeBytes, &address, &pitch);
  if (result != CUDA_SUCCESS) return result;
  *dptr = address;
  *pPitch = pitch;
  return CUDA_SUCCESS;
}

int cuMemFree_v2(Session& session, CUdeviceptr dptr) { return deallocate(session, dptr); }

int cuMemGetAddressRange_v2(Session&, CUdeviceptr* pbase, size_t* psize, CUdeviceptr dptr) {
  const auto known = program().allocations.find(dptr);
  if (!known || known->kind == MemoryKind::kHostRegistered) return CUDA_ERROR_NOT_FOUND;
  if (pbase != nullptr) *pbase = known->address;
  if (psize != nullptr) *psize = known->bytes;
  return CUDA_SUCCESS;
}

// --- Host memory

int cuMemHostAlloc(Session& session, void** pp, size_t bytesize, unsigned int Flags) {
  return allocate_host(session, pp, bytesize, Flags);
}

int cuMemAllocHost_v2(Session& session, void** pp, size_t bytesize) {
  return allocate_host(session, pp, bytesize, 0);
}

int cuMemFreeHost(Session& session, void* p) { return free_host(session, p); }

int cuMemHostRegister_v2(Session& session, void* p, size_t bytesize, unsigned int Flags) {
  return register_host(session, p, bytesize, Flags);
}

int cuMemHostUnregister(Session& session, void* p) { return unregister_host(session, p); }

int cuMemHostGetFlags(Session&, unsigned int* pFlags, void* p) {
  const auto known = program().allocations.find(address_of(p));
  if (pFlags == nullptr || !known || !is_pinned(known->kind)) return CUDA_ERROR_INVALID_VALUE;
  *pFlags = known->flags | CU_MEMHOSTALLOC_DEVICEMAP;  // kernels see all of it
  return CUDA_SUCCESS;
}

int cuMemHostGetDevicePointer_v2(Session& session, CUdeviceptr* pdptr, void* p,
                                 unsigned int Flags) {
  if (pdptr == nullptr || Flags != 0) return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0;
  const int result = device_pointer(session, p, &address);
  if (result == CUDA_SUCCESS) *pdptr = address;
  return result;
}

// --- Copies
// The forms without a stream are ordered on the default stream: the legacy one, or this thread's.

namespace {

HandleId default_stream(Session& session, bool per_thread_default) {
  return stream_id(session, nullptr, per_thread_default);
}

}  // namespace

int cuMemcpy(Session& session, CUdeviceptr dst, CUdeviceptr src, size_t ByteCount,
             bool per_thread_default) {
  return copy(session, classify(dst, src), dst, src, ByteCount,
              default_stream(session, per_thread_default), false);
}

int cuMemcpyAsync(Session& session, CUdeviceptr dst, CUdeviceptr src, size_t ByteCount,
                  CUstream hStream, bool per_thread_default) {
  return copy(session, classify(dst, src), dst, src, ByteCount,
              stream_id(session, hStream, per_thread_default), true);
}

int cuMemcpyHtoD_v2(Session& session, CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount,
                    bool per_thread_default) {
  return copy_to_device(session, dstDevice, srcHost, ByteCount,
                        default_stream(session, per_thread_default), false);
}

int cuMemcpyHtoDAsync_v2(Session& session, CUdeviceptr dstDevice, const void* srcHost,
                         size_t ByteCount, CUstream hStream, bool per_thread_default) {
  return copy_to_device(session, dstDevice, srcHost, ByteCount,
                        stream_id(session, hStream, per_thread_default), true);
}

int cuMemcpyDtoH_v2(Session& session, void* dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                    bool per_thread_default) {
  return copy_to_host(session, dstHost, srcDevice, ByteCount,
                      default_stream(session, per_thread_default), false);
}

int cuMemcpyDtoHAsync_v2(Session& session, void* dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                         CUstream hStream, bool per_thread_default) {
  return copy_to_host(session, dstHost, srcDevice, ByteCount,
                      stream_id(session, hStream, per_thread_default), true);
}

int cuMemcpyDtoD_v2(Session& session, CUdeviceptr dstDevice, CUdeviceptr srcDevice,
                    size_t ByteCount, bool per_thread_default) {
  return copy_on_device(session, dstDevice, srcDevice, ByteCount,
                        default_stream(session, per_thread_default), false);
}

int cuMemcpyDtoDAsync_v2(Session& session, CUdeviceptr dstDevice, CUdeviceptr srcDevice,
                         size_t ByteCount, CUstream hStream, bool per_thread_default) {
  return copy_on_device(session, dstDevice, srcDevice, ByteCount,
                        stream_id(session, hStream, per_thread_default), true);
}

namespace {

bool describe(CUmemorytype type, const void* host, CUdeviceptr device, CUarray array,
              size_t x_bytes, size_t y, size_t z, size_t pitch, size_t height, size_t width_bytes,
              size_t rows, CopySide* out) {
  Side& side = out->side;
  side.pitch_bytes = pitch != 0 ? pitch : width_bytes + x_bytes;
  side.slice_rows = height != 0 ? height : rows + y;
  const uint64_t offset = (z * side.slice_rows + y) * side.pitch_bytes + x_bytes;
  switch (type) {
    case CU_MEMORYTYPE_HOST:
      side.address = address_of(host) + offset;
      break;
    case CU_MEMORYTYPE_DEVICE:
      side.address = device + offset;
      out->device = true;
      break;
    case CU_MEMORYTYPE_UNIFIED: {
      side.address = device + offset;
      out->device = classify(device, 0) == Direction::kHostToDevice;
      break;
    }
    case CU_MEMORYTYPE_ARRAY:
      side = Side{0, id_of(array), x_bytes, y, z, 0, 0};
      out->device = true;
      return true;  // no pitch of the program's
    default:
      return false;
  }
  return side.pitch_bytes >= width_bytes;
}

}  // namespace

bool read_sides(const CUDA_MEMCPY3D& c, CopySide* to, CopySide* from) {
  return c.srcLOD == 0 && c.dstLOD == 0 &&
         describe(c.dstMemoryType, c.dstHost, c.dstDevice, c.dstArray, c.dstXInBytes, c.dstY,
                  c.dstZ, c.dstPitch, c.dstHeight, c.WidthInBytes, c.Height, to) &&
         describe(c.srcMemoryType, c.srcHost, c.srcDevice, c.srcArray, c.srcXInBytes, c.srcY,
                  c.srcZ, c.srcPitch, c.srcHeight, c.WidthInBytes, c.Height, from);
}

int copy_3d(Session& session, const CUDA_MEMCPY3D& c, HandleId stream) {
  CopySide to, from;
  if (!read_sides(c, &to, &from)) return CUDA_ERROR_INVALID_VALUE;
  return copy_rows(session, direction_of(to.device, from.device), to.side, from.side,
                   {c.WidthInBytes, c.Height, c.Depth}, stream);
}

namespace {

int copy_2d(Session& session, const CUDA_MEMCPY2D_v2& c, HandleId stream) {
  CUDA_MEMCPY3D_v2 c3{};
  c3.srcXInBytes = c.srcXInBytes;
  c3.srcY = c.srcY;
  c3.srcMemoryType = c.srcMemoryType;
  c3.srcHost = c.srcHost;
  c3.srcDevice = c.srcDevice;
  c3.srcArray = c.srcArray;
  c3.srcPitch = c.srcPitch;
  c3.dstXInBytes = c.dstXInBytes;
  c3.dstY = c.dstY;
  c3.dstMemoryType = c.dstMemoryType;
  c3.dstHost = c.dstHost;
  c3.dstDevice = c.dstDevice;
  c3.dstArray = c.dstArray;
  c3.dstPitch = c.dstPitch;
  c3.WidthInBytes = c.WidthInBytes;
  c3.Height = c.Height;
  c3.Depth = 1;
  return copy_3d(session, c3, stream);
}

}  // namespace

int cuMemcpy2D_v2(Session& session, const CUDA_MEMCPY2D* pCopy, bool per_thread_default) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_2d(session, *pCopy, default_stream(session, per_thread_default));
}

int cuMemcpy2DUnaligned_v2(Session& session, const CUDA_MEMCPY2D* pCopy, bool per_thread_default) {
  return cuMemcpy2D_v2(session, pCopy, per_thread_default);
}

int cuMemcpy2DAsync_v2(Session& session, const CUDA_MEMCPY2D* pCopy, CUstream hStream,
                       bool per_thread_default) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_2d(session, *pCopy, stream_id(session, hStream, per_thread_default));
}

int cuMemcpy3D_v2(Session& session, const CUDA_MEMCPY3D* pCopy, bool per_thread_default) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_3d(session, *pCopy, default_stream(session, per_thread_default));
}

int cuMemcpy3DAsync_v2(Session& session, const CUDA_MEMCPY3D* pCopy, CUstream hStream,
                       bool per_thread_default) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_3d(session, *pCopy, stream_id(session, hStream, per_thread_default));
}

// --- Pointers

namespace {

// Writes the attribute in its documented type. Every kind of memory has one address for all.
int pointer_attribute(void* data, CUpointer_attribute attribute, const Allocation& known,
                      CUdeviceptr pointer) {
  const auto put = [data](auto value) {
    std::memcpy(data, &value, sizeof value);
    return int(CUDA_SUCCESS);
  };
  const bool managed = known.kind == MemoryKind::kManaged;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      return put(known.context);
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return put(uint32_t(is_pinned(known.kind) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      return put(pointer);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      return known.kind == MemoryKind::kDevice ? int(CUDA_ERROR_INVALID_VALUE) : put(pointer);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      return put(known.id);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      return put(uint32_t(managed));
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return put(int32_t(known.device));
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      return put(known.address);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      return put(known.bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED:
      return put(uint32_t{1});
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

// Memory that CUDA does not know, or that has no such attribute.
void put_nothing(void* data, CUpointer_attribute attribute) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: {
      const int32_t none = -2;
      std::memcpy(data, &none, sizeof none);
      return;
    }
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_MAPPED:
      std::memset(data, 0, sizeof(uint32_t));
      return;
    default:
      std::memset(data, 0, sizeof(uint64_t));
  }
}

}  // namespace

int cuPointerGetAttribute(Session&, void* data, CUpointer_attribute attribute, CUdeviceptr ptr) {
  if (data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const auto known = program().allocations.find(ptr);
  if (!known) return CUDA_ERROR_INVALID_VALUE;
  return pointer_attribute(data, attribute, *known, ptr);
}

int cuPointerGetAttributes(Session&, unsigned int numAttributes, CUpointer_attribute* attributes,
                           void** data, CUdeviceptr ptr) {
  if (numAttributes == 0 || attributes == nullptr || data == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  // Memory that CUDA does not know is no error here: its answers are all zero.
  const auto known = program().allocations.find(ptr);
  for (unsigned i = 0; i < numAttributes; ++i) {
    if (data[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const int result = known ? pointer_attribute(data[i], attributes[i], *known, ptr)
                             : int(CUDA_ERROR_INVALID_VALUE);
    if (result == CUDA_ERROR_NOT_SUPPORTED) return result;
    if (result != CUDA_SUCCESS) put_nothing(data[i], attributes[i]);
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::client::driver
