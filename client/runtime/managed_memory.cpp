// Managed memory of the runtime API; see client/managed_memory.h. Flags, attributes, advice and
// locations have the driver API's numbers.
#include "client/managed_memory.h"

#include <driver_types.h>

#include "client/program.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {
namespace {

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

CUmemLocation driver_location(const cudaMemLocation& location) {
  CUmemLocation same = {};
  same.type = CUmemLocationType(location.type);
  same.id = location.id;
  return same;
}

int prefetch_batch(Session& session, void** dptrs, size_t* sizes, size_t count,
                   const cudaMemLocation* locations, size_t* first, size_t location_count,
                   unsigned long long flags, rpc::HandleId stream) {
  static_assert(sizeof(cudaMemLocation) == sizeof(CUmemLocation));
  return prefetch_or_discard(session, reinterpret_cast<const uint64_t*>(dptrs), sizes, count,
                             reinterpret_cast<const CUmemLocation*>(locations), first,
                             location_count, flags, stream);
}

}  // namespace

int cudaMallocManaged(Session& session, void** devPtr, size_t size, unsigned int flags) {
  if (devPtr == nullptr) return cudaErrorInvalidValue;
  *devPtr = nullptr;
  if (size == 0) return cudaSuccess;
  uint64_t address = 0;
  const int result = program().managed.allocate(session, size, flags, &address);
  if (result == cudaSuccess) *devPtr = reinterpret_cast<void*>(address);
  return result;
}

int cudaStreamAttachMemAsync(Session& session, cudaStream_t stream, void* devPtr, size_t length,
                             unsigned int flags, bool per_thread_default) {
  return attach_memory(session, stream_id(session, stream, per_thread_default), address_of(devPtr),
                       length, flags);
}

int cudaMemPrefetchAsync(Session& session, const void* devPtr, size_t count,
                         cudaMemLocation location, unsigned int flags, cudaStream_t stream,
                         bool per_thread_default) {
  return prefetch_memory(session, address_of(devPtr), count, driver_location(location), flags,
                         stream_id(session, stream, per_thread_default));
}

int cudaMemPrefetchBatchAsync(Session& session, void** dptrs, size_t* sizes, size_t count,
                              cudaMemLocation* prefetchLocs, size_t* prefetchLocIdxs,
                              size_t numPrefetchLocs, unsigned long long flags, cudaStream_t stream,
                              bool per_thread_default) {
  if (prefetchLocs == nullptr) return cudaErrorInvalidValue;
  return prefetch_batch(session, dptrs, sizes, count, prefetchLocs, prefetchLocIdxs,
                        numPrefetchLocs, flags, stream_id(session, stream, per_thread_default));
}

int cudaMemDiscardBatchAsync(Session& session, void** dptrs, size_t* sizes, size_t count,
                             unsigned long long flags, cudaStream_t stream,
                             bool per_thread_default) {
  return prefetch_batch(session, dptrs, sizes, count, nullptr, nullptr, 0, flags,
                        stream_id(session, stream, per_thread_default));
}

int cudaMemDiscardAndPrefetchBatchAsync(Session& session, void** dptrs, size_t* sizes, size_t count,
                                        cudaMemLocation* prefetchLocs, size_t* prefetchLocIdxs,
                                        size_t numPrefetchLocs, unsigned long long flags,
                                        cudaStream_t stream, bool per_thread_default) {
  return cudaMemPrefetchBatchAsync(session, dptrs, sizes, count, prefetchLocs, prefetchLocIdxs,
                                   numPrefetchLocs, flags, stream, per_thread_default);
}

int cudaMemAdvise(Session& session, const void* devPtr, size_t count, cudaMemoryAdvise advice,
                  cudaMemLocation location) {
  return advise_memory(session, address_of(devPtr), count, CUmem_advise(advice),
                       driver_location(location));
}

int cudaMemRangeGetAttribute(Session& session, void* data, size_t dataSize,
                             cudaMemRangeAttribute attribute, const void* devPtr, size_t count) {
  return range_attribute(session, data, dataSize, CUmem_range_attribute(attribute),
                         address_of(devPtr), count);
}

int cudaMemRangeGetAttributes(Session& session, void** data, size_t* dataSizes,
                              cudaMemRangeAttribute* attributes, size_t numAttributes,
                              const void* devPtr, size_t count) {
  if (data == nullptr || dataSizes == nullptr || attributes == nullptr || numAttributes == 0) {
    return cudaErrorInvalidValue;
  }
  for (size_t i = 0; i < numAttributes; ++i) {
    const int result =
        cudaMemRangeGetAttribute(session, data[i], dataSizes[i], attributes[i], devPtr, count);
    if (result != cudaSuccess) return result;
  }
  return cudaSuccess;
}

}  // namespace farcall::client::runtime
