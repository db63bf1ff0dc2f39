// Pinned and registered host memory. It lives in this process; what pinning means here is that an
// asynchronous copy to it does not wait. Pinned memory becomes visible to kernels when it was
// allocated as mapped, when the program asks for its device pointer, or when a launch has a pointer
// to it among its parameters (client/visible_memory.h, registered_memory.h). Results are CUresults.
#pragma once

#include <cstddef>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

FARCALL_API int allocate_host(Session& session, void** pointer, size_t bytes, unsigned flags);
// Waits for copies that may still write to it.
FARCALL_API int free_host(Session& session, void* pointer);
// What kernels call it: the same.
FARCALL_API int device_pointer(Session& session, const void* pointer, uint64_t* device);
FARCALL_API int register_host(Session& session, void* pointer, size_t bytes, unsigned flags);
FARCALL_API int unregister_host(Session& session, void* pointer);

}  // namespace farcall::client
