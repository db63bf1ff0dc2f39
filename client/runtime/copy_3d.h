// cudaMemcpy3DParms in the terms of client/copy.h: its positions and extent are in elements if an
// array takes part.
#pragma once

#include <driver_types.h>

#include "client/graph_nodes.h"
#include "client/session.h"

namespace farcall::client::runtime {

// cudaError_t, both.
int read_copy(Session& session, const cudaMemcpy3DParms* p, CopyNode* out);
int element_bytes(Session& session, cudaArray_const_t array, uint64_t* out);

}  // namespace farcall::client::runtime
