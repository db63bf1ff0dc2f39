// Managed memory of the driver API; see client/managed_memory.h.
#include "client/managed_memory.h"

#include <cuda.h>

#include "client/driver_bodies.h"
#include "client/program.h"
#include "client/stub.h"

namespace farcall::client::driver {

int cuMemAllocManaged(Session& session, CUdeviceptr* dptr, size_t bytesize, unsigned int flags) {
  if (dptr == nullptr) return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = 0;
  const int result = program().managed.allocate(session, bytesize, flags, &address);
  if (result == CUDA_SUCCESS) *dptr = address;
  return result;
}

int cuStreamAttachMemAsync(Session& session, CUstream hStream, CUdeviceptr dptr, size_t length,
                           unsigned int flags, bool per_thread_default) {
  return attach_memory(session, stream_id(session, hStream, per_thread_default), dptr, length,
                       flags);
}

int cuMemPrefetchAsync(Session& session, CUdeviceptr devPtr, size_t count, CUdevice dstDevice,
                       CUstream hStream, bool per_thread_default) {
  return prefetch_memory(session, devPtr, count, location_of_device(dstDevice), 0,
                         stream_id(session, hStream, per_thread_default));
}

int cuMemPrefetchAsync_v2(Session& session, CUdeviceptr devPtr, size_t count,
                          CUmemLocation location, unsigned int flags, CUstream hStream,
                          bool per_thread_default) {
  return prefetch_memory(session, devPtr, count, location, flags,
                         stream_id(session, hStream, per_thread_default));
}

int cuMemPrefetchBatchAsync(Session& session, CUdeviceptr* dptrs, size_t* sizes, size_t count,
                            CUmemLocation* prefetchLocs, size_t* prefetchLocIdxs,
                            size_t numPrefetchLocs, unsigned long long flags, CUstream hStream,
                            bool per_thread_default) {
  if (prefetchLocs == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return prefetch_or_discard(session, reinterpret_cast<const uint64_t*>(dptrs), sizes, count,
                             prefetchLocs, prefetchLocIdxs, numPrefetchLocs, flags,
                             stream_id(session, hStream, per_thread_default));
}

// What is discarded may be lost; here it stays, which a program can't tell from being lucky.
int cuMemDiscardBatchAsync(Session& session, CUdeviceptr* dptrs, size_t* sizes, size_t count,
                           unsigned long long flags, CUstream hStream, bool per_thread_default) {
  return prefetch_or_discard(session, reinterpret_cast<const uint64_t*>(dptrs), sizes, count,
                             nullptr, nullptr, 0, flags,
                             stream_id(session, hStream, per_thread_default));
}

int cuMemDiscardAndPrefetchBatchAsync(Session& session, CUdeviceptr* dptrs, size_t* sizes,
                                      size_t count, CUmemLocation* prefetchLocs,
                                      size_t* prefetchLocIdxs, size_t numPrefetchLocs,
                                      unsigned long long flags, CUstream hStream,
                                      bool per_thread_default) {
  return cuMemPrefetchBatchAsync(session, dptrs, sizes, count, prefetchLocs, prefetchLocIdxs,
                                 numPrefetchLocs, flags, hStream, per_thread_default);
}

int cuMemAdvise(Session& session, CUdeviceptr devPtr, size_t count, CUmem_advise advice,
                CUdevice device) {
  return advise_memory(session, devPtr, count, advice, location_of_device(device));
}

int cuMemAdvise_v2(Session& session, CUdeviceptr devPtr, size_t count, CUmem_advise advice,
                   CUmemLocation location) {
  return advise_memory(session, devPtr, count, advice, location);
}

int cuMemRangeGetAttribute(Session& session, void* data, size_t dataSize,
                           CUmem_range_attribute attribute, CUdeviceptr devPtr, size_t count) {
  return range_attribute(session, data, dataSize, attribute, devPtr, count);
}

int cuMemRangeGetAttributes(Session& session, void** data, size_t* dataSizes,
                            CUmem_range_attribute* attributes, size_t numAttributes,
                            CUdeviceptr devPtr, size_t count) {
  if (data == nullptr || dataSizes == nullptr || attributes == nullptr || numAttributes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < numAttributes; ++i) {
    const int result =
        range_attribute(session, data[i], dataSizes[i], attributes[i], devPtr, count);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::client::driver
