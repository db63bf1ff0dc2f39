// Pinned and registered host memory. It lives in this process; what pinning means here is that an
// asynchronous copy to it does not wait. Kernels can't see it: mapping it into the device's address
// space is refused. Results are CUresults.
#pragma once

#include <cstddef>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

FARCALL_API int allocate_host(Session& session, void** pointer, size_t bytes, unsigned flags);
// Waits for copies that may still write to it.
FARCALL_API int free_host(Session& session, void* pointer);
FARCALL_API int register_host(Session& session, void* pointer, size_t bytes, unsigned flags);
FARCALL_API int unregister_host(Session& session, void* pointer);

}  // namespace farcall::client
