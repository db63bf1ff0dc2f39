// Memory that a program exports to others as a file descriptor (cuMemExportToShareableHandle,
// cuMemPoolExportToShareableHandle). The real descriptor stays on the server; the program gets one
// of a small sealed file, which it may pass on as CUDA's, and in which is the name that the server
// knows the memory by. A client of the same machine of GPUs imports it, as long as the session that
// exported it lasts.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

// `object`: a kMemoryHandle or kMemoryPool. `type`: a CUmemAllocationHandleType. Writes an int to
// `out`. Results are CUresults.
FARCALL_API int export_share(Session& session, rpc::HandleId object, int type,
                             unsigned long long flags, void* out);
// Makes a handle of `kind`: kMemoryHandle, kMemoryPool.
FARCALL_API int import_share(Session& session, rpc::HandleType kind, int type, void* os_handle,
                             rpc::HandleId* out);
// Memory as cuImportExternalMemory takes it; the descriptor is ours afterwards.
FARCALL_API int import_external_memory(Session& session,
                                       const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* what,
                                       CUexternalMemory* out);

}  // namespace farcall::client
