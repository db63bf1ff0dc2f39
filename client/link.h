// Code that is linked at run time (cuLink*). The driver on the server links; this side reads the
// files, hands each input over as it comes, since CUDA reports at the call what is wrong with it,
// and keeps what was linked until the link state is destroyed, as the driver does.
#pragma once

#include <cuda.h>

#include <cstddef>

#include "client/api.h"
#include "client/jit_options.h"
#include "client/session.h"

namespace farcall::client {

// The functions of these names; results are CUresults. The arrays of `options` live as long as
// the link state.
FARCALL_API int create_link(Session& session, const JitOptions& options, CUlinkState* out);
FARCALL_API int add_to_link(Session& session, CUlinkState state, CUjitInputType type,
                            const void* data, size_t size, const char* name,
                            const JitOptions& options);
FARCALL_API int complete_link(Session& session, CUlinkState state, void** linked, size_t* bytes);
FARCALL_API int destroy_link(Session& session, CUlinkState state);

}  // namespace farcall::client
