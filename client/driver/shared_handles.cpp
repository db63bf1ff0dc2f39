// Memory of the driver API that other processes import; see client/shared_handles.h.
#include "client/shared_handles.h"

#include <cuda.h>

#include "client/driver_bodies.h"
#include "client/stub.h"

namespace farcall::client::driver {

using rpc::HandleId;
using rpc::HandleType;

int cuMemExportToShareableHandle(Session& session, void* shareableHandle,
                                 CUmemGenericAllocationHandle handle,
                                 CUmemAllocationHandleType handleType, unsigned long long flags) {
  if (rpc::handle_type(handle) != HandleType::kMemoryHandle) return CUDA_ERROR_INVALID_VALUE;
  return export_share(session, handle, int(handleType), flags, shareableHandle);
}

int cuMemImportFromShareableHandle(Session& session, CUmemGenericAllocationHandle* handle,
                                   void* osHandle, CUmemAllocationHandleType shHandleType) {
  HandleId id = 0;
  if (handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const int result =
      import_share(session, HandleType::kMemoryHandle, int(shHandleType), osHandle, &id);
  if (result == CUDA_SUCCESS) *handle = id;
  return result;
}

int cuMemPoolExportToShareableHandle(Session& session, void* handle_out, CUmemoryPool pool,
                                     CUmemAllocationHandleType handleType,
                                     unsigned long long flags) {
  if (rpc::handle_type(id_of(pool)) != HandleType::kMemoryPool) return CUDA_ERROR_INVALID_HANDLE;
  return export_share(session, id_of(pool), int(handleType), flags, handle_out);
}

int cuMemPoolImportFromShareableHandle(Session& session, CUmemoryPool* pool_out, void* handle,
                                       CUmemAllocationHandleType handleType,
                                       unsigned long long flags) {
  HandleId id = 0;
  if (pool_out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  const int result = import_share(session, HandleType::kMemoryPool, int(handleType), handle, &id);
  if (result == CUDA_SUCCESS) *pool_out = handle_from<CUmemoryPool>(id);
  return result;
}

int cuImportExternalMemory(Session& session, CUexternalMemory* extMem_out,
                           const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* memHandleDesc) {
  return import_external_memory(session, memHandleDesc, extMem_out);
}

}  // namespace farcall::client::driver
