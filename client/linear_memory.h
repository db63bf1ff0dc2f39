// Device allocations of both APIs. Results are CUresults.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

FARCALL_API int allocate(Session& session, size_t bytes, uint64_t* address);
FARCALL_API int allocate_pitched(Session& session, size_t width_bytes, size_t height,
                                 unsigned element_bytes, uint64_t* address, uint64_t* pitch_bytes);
// 0 is allowed. Anything but the start of a live allocation is CUDA_ERROR_INVALID_VALUE, at the
// call.
FARCALL_API int deallocate(Session& session, uint64_t address);

}  // namespace farcall::client
