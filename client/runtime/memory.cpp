// Memory and copies of the runtime API; see client/linear_memory.h, host_memory.h and copy.h.
#include <cuda.h>
#include <driver_types.h>

#include <cstring>

#include "client/copy.h"
#include "client/host_memory.h"
#include "client/linear_memory.h"
#include "client/program.h"
#include "client/runtime/copy_kind.h"
#include "client/runtime/registration.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {
namespace {

using rpc::HandleId;

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

HandleId default_stream(Session& session, bool per_thread_default) {
  return stream_id(session, nullptr, per_thread_default);
}

int copy_linear(Session& session, void* dst, const void* src, size_t count, cudaMemcpyKind kind,
                HandleId stream, bool async) {
  Direction direction;
  if (!direction_from(kind, address_of(dst), address_of(src), &direction))
    return cudaErrorInvalidMemcpyDirection;
  return copy(session, direction, address_of(dst), address_of(src), count, stream, async);
}

int copy_pitched(Session& session, void* dst, size_t dpitch, const void* src, size_t spitch,
                 size_t width, size_t height, cudaMemcpyKind kind, HandleId stream) {
  Direction direction;
  if (!direction_from(kind, address_of(dst), address_of(src), &direction))
    return cudaErrorInvalidMemcpyDirection;
  if (width > dpitch || width > spitch) return cudaErrorInvalidPitchValue;
  Side to, from;
  to.address = address_of(dst);
  to.pitch_bytes = dpitch;
  to.slice_rows = height;
  from.address = address_of(src);
  from.pitch_bytes = spitch;
  from.slice_rows = height;
  return copy_rows(session, direction, to, from, {width, height, 1}, stream);
}

}  // namespace

// --- Allocation

int cudaMalloc(Session& session, void** devPtr, size_t size) {
  if (devPtr == nullptr) return cudaErrorInvalidValue;
  *devPtr = nullptr;
  if (size == 0) return cudaSuccess;
  uint64_t address = 0;
  const int result = allocate(session, size, &address);
  if (result == cudaSuccess) *devPtr = reinterpret_cast<void*>(address);
  return result;
}

int cudaMallocPitch(Session& session, void** devPtr, size_t* pitch, size_t width, size_t height) {
  if (devPtr == nullptr || pitch == nullptr) return cudaErrorInvalidValue;
  *devPtr = nullptr;
  *pitch = 0;
  if (width == 0 || height == 0) return cudaSuccess;
  uint64_t address = 0, bytes = 0;
  const int result = allocate_pitched(session, width, height, 4, &address, &bytes);
  if (result != cudaSuccess) return result;
  *devPtr = reinterpret_cast<void*>(address);
  *pitch = bytes;
  return cudaSuccess;
}

int cudaMalloc3D(Session& session, cudaPitchedPtr* pitchedDevPtr, cudaExtent extent) {
  if (pitchedDevPtr == nullptr) return cudaErrorInvalidValue;
  void* pointer = nullptr;
  size_t pitch = 0;
  const int result =
      cudaMallocPitch(session, &pointer, &pitch, extent.width, extent.height * extent.depth);
  if (result == cudaSuccess) *pitchedDevPtr = {pointer, pitch, extent.width, extent.height};
  return result;
}

int cudaFree(Session& session, void* devPtr) { return deallocate(session, address_of(devPtr)); }

int cudaHostAlloc(Session& session, void** pHost, size_t size, unsigned int flags) {
  return allocate_host(session, pHost, size, flags);  // cudaHostAlloc* are CU_MEMHOSTALLOC_*
}
int cudaMallocHost(Session& session, void** ptr, size_t size) {
  return allocate_host(session, ptr, size, 0);
}
int cudaFreeHost(Session& session, void* ptr) { return free_host(session, ptr); }
int cudaHostRegister(Session& session, void* ptr, size_t size, unsigned int flags) {
  return register_host(session, ptr, size, flags);  // cudaHostRegister* are CU_MEMHOSTREGISTER_*
}
int cudaHostUnregister(Session& session, void* ptr) { return unregister_host(session, ptr); }

int cudaHostGetFlags(Session&, unsigned int* pFlags, void* pHost) {
  const auto known = program().allocations.find(address_of(pHost));
  if (pFlags == nullptr || !known || !is_pinned(known->kind)) return cudaErrorInvalidValue;
  *pFlags = known->flags | CU_MEMHOSTALLOC_DEVICEMAP;  // kernels see all of it
  return cudaSuccess;
}

int cudaHostGetDevicePointer(Session& session, void** pDevice, void* pHost, unsigned int flags) {
  if (pDevice == nullptr || flags != 0) return cudaErrorInvalidValue;
  uint64_t address = 0;
  const int result = device_pointer(session, pHost, &address);
  if (result == cudaSuccess) *pDevice = reinterpret_cast<void*>(address);
  return result;
}

int cudaPointerGetAttributes(Session&, cudaPointerAttributes* attributes, const void* ptr) {
  if (attributes == nullptr) return cudaErrorInvalidValue;
  // Zeroed, not initialised: the type has reserved fields. Memory that CUDA does not know is no
  // error.
  std::memset(attributes, 0, sizeof *attributes);
  const auto known = program().allocations.find(address_of(ptr));
  attributes->type = cudaMemoryTypeUnregistered;
  attributes->device = -2;  // what CUDA answers for memory of no device
  if (!known) {
    attributes->hostPointer = const_cast<void*>(ptr);
    return cudaSuccess;
  }
  attributes->device = known->device;
  attributes->type = known->kind == MemoryKind::kDevice    ? cudaMemoryTypeDevice
                     : known->kind == MemoryKind::kManaged ? cudaMemoryTypeManaged
                                                           : cudaMemoryTypeHost;
  attributes->devicePointer = const_cast<void*>(ptr);
  if (known->kind != MemoryKind::kDevice) attributes->hostPointer = const_cast<void*>(ptr);
  return cudaSuccess;
}

// --- Copies

int cudaMemcpy(Session& session, void* dst, const void* src, size_t count, cudaMemcpyKind kind,
               bool per_thread_default) {
  return copy_linear(session, dst, src, count, kind, default_stream(session, per_thread_default),
                     false);
}

int cudaMemcpyAsync(Session& session, void* dst, const void* src, size_t count, cudaMemcpyKind kind,
                    cudaStream_t stream, bool per_thread_default) {
  return copy_linear(session, dst, src, count, kind, stream_id(session, stream, per_thread_default),
                     true);
}

int cudaMemcpy2D(Session& session, void* dst, size_t dpitch, const void* src, size_t spitch,
                 size_t width, size_t height, cudaMemcpyKind kind, bool per_thread_default) {
  return copy_pitched(session, dst, dpitch, src, spitch, width, height, kind,
                      default_stream(session, per_thread_default));
}

int cudaMemcpy2DAsync(Session& session, void* dst, size_t dpitch, const void* src, size_t spitch,
                      size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream,
                      bool per_thread_default) {
  return copy_pitched(session, dst, dpitch, src, spitch, width, height, kind,
                      stream_id(session, stream, per_thread_default));
}

namespace {

// Copies to and from a variable: the symbol is resolved here, then it is an ordinary copy.
int symbol_address(Session& session, const void* symbol, size_t count, size_t offset,
                   uint64_t* address) {
  uint64_t bytes = 0;
  if (const int failed = variable_of(session, symbol, address, &bytes)) return failed;
  if (offset > bytes || count > bytes - offset) return cudaErrorInvalidValue;
  *address += offset;
  return cudaSuccess;
}

int copy_to_symbol(Session& session, const void* symbol, const void* src, size_t count,
                   size_t offset, cudaMemcpyKind kind, HandleId stream, bool async) {
  if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToDevice &&
      kind != cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  uint64_t address = 0;
  if (const int failed = symbol_address(session, symbol, count, offset, &address)) return failed;
  const bool from_device = kind == cudaMemcpyDefault
                               ? classify(0, address_of(src)) == Direction::kDeviceToHost
                               : kind == cudaMemcpyDeviceToDevice;
  return copy(session, direction_of(true, from_device), address, address_of(src), count, stream,
              async);
}

int copy_from_symbol(Session& session, void* dst, const void* symbol, size_t count, size_t offset,
                     cudaMemcpyKind kind, HandleId stream, bool async) {
  if (kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice &&
      kind != cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  uint64_t address = 0;
  if (const int failed = symbol_address(session, symbol, count, offset, &address)) return failed;
  const bool to_device = kind == cudaMemcpyDefault
                             ? classify(address_of(dst), 0) == Direction::kHostToDevice
                             : kind == cudaMemcpyDeviceToDevice;
  return copy(session, direction_of(to_device, true), address_of(dst), address, count, stream,
              async);
}

}  // namespace

int cudaMemcpyToSymbol(Session& session, const void* symbol, const void* src, size_t count,
                       size_t offset, cudaMemcpyKind kind, bool per_thread_default) {
  return copy_to_symbol(session, symbol, src, count, offset, kind,
                        default_stream(session, per_thread_default), false);
}

int cudaMemcpyToSymbolAsync(Session& session, const void* symbol, const void* src, size_t count,
                            size_t offset, cudaMemcpyKind kind, cudaStream_t stream,
                            bool per_thread_default) {
  return copy_to_symbol(session, symbol, src, count, offset, kind,
                        stream_id(session, stream, per_thread_default), true);
}

int cudaMemcpyFromSymbol(Session& session, void* dst, const void* symbol, size_t count,
                         size_t offset, cudaMemcpyKind kind, bool per_thread_default) {
  return copy_from_symbol(session, dst, symbol, count, offset, kind,
                          default_stream(session, per_thread_default), false);
}

int cudaMemcpyFromSymbolAsync(Session& session, void* dst, const void* symbol, size_t count,
                              size_t offset, cudaMemcpyKind kind, cudaStream_t stream,
                              bool per_thread_default) {
  return copy_from_symbol(session, dst, symbol, count, offset, kind,
                          stream_id(session, stream, per_thread_default), true);
}

int cudaGetSymbolAddress(Session& session, void** devPtr, const void* symbol) {
  if (devPtr == nullptr) return cudaErrorInvalidValue;
  uint64_t address = 0, bytes = 0;
  const int result = variable_of(session, symbol, &address, &bytes);
  if (result == cudaSuccess) *devPtr = reinterpret_cast<void*>(address);
  return result;
}

int cudaGetSymbolSize(Session& session, size_t* size, const void* symbol) {
  if (size == nullptr) return cudaErrorInvalidValue;
  uint64_t address = 0, bytes = 0;
  const int result = variable_of(session, symbol, &address, &bytes);
  if (result == cudaSuccess) *size = bytes;
  return result;
}

}  // namespace farcall::client::runtime
