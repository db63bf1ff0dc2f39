// Many copies in one call, of both APIs (the runtime's structs have the driver's layout). CUDA may
// run them in any order; here they are ordinary copies, one after the other.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

// `first_copies` says at which copy each of the attributes begins to hold. *failed (may be null):
// the copy that failed, SIZE_MAX: none in particular. `stream` is a wire id; results are CUresults.
FARCALL_API int copy_batch(Session& session, const CUdeviceptr* destinations,
                           const CUdeviceptr* sources, const size_t* sizes, size_t count,
                           const CUmemcpyAttributes* attributes, const size_t* first_copies,
                           size_t attribute_count, size_t* failed, rpc::HandleId stream);
FARCALL_API int copy_box_batch(Session& session, const CUDA_MEMCPY3D_BATCH_OP* operations,
                               size_t count, size_t* failed, unsigned long long flags,
                               rpc::HandleId stream);

}  // namespace farcall::client
