// Memory of the runtime API that other processes import; see client/shared_handles.h.
#include "client/shared_handles.h"

#include <cuda_runtime_api.h>

#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {

using rpc::HandleId;
using rpc::HandleType;

int cudaMemPoolExportToShareableHandle(Session& session, void* shareableHandle,
                                       cudaMemPool_t memPool,
                                       cudaMemAllocationHandleType handleType, unsigned int flags) {
  if (rpc::handle_type(id_of(memPool)) != HandleType::kMemoryPool)
    return cudaErrorInvalidResourceHandle;
  return export_share(session, id_of(memPool), int(handleType), flags, shareableHandle);
}

int cudaMemPoolImportFromShareableHandle(Session& session, cudaMemPool_t* memPool,
                                         void* shareableHandle,
                                         cudaMemAllocationHandleType handleType,
                                         unsigned int flags) {
  HandleId id = 0;
  if (memPool == nullptr || flags != 0) return cudaErrorInvalidValue;
  const int result =
      import_share(session, HandleType::kMemoryPool, int(handleType), shareableHandle, &id);
  if (result == cudaSuccess) *memPool = handle_from<cudaMemPool_t>(id);
  return result;
}

// The types and flags of both APIs are the same numbers.
int cudaImportExternalMemory(Session& session, cudaExternalMemory_t* extMem_out,
                             const cudaExternalMemoryHandleDesc* memHandleDesc) {
  if (memHandleDesc == nullptr) return cudaErrorInvalidValue;
  CUDA_EXTERNAL_MEMORY_HANDLE_DESC what = {};
  what.type = CUexternalMemoryHandleType(memHandleDesc->type);
  what.handle.fd = memHandleDesc->handle.fd;
  what.size = memHandleDesc->size;
  what.flags = memHandleDesc->flags;
  return import_external_memory(session, &what, reinterpret_cast<CUexternalMemory*>(extMem_out));
}

}  // namespace farcall::client::runtime
