// Nodes by their parameters' struct, for the calls of one kind and for cuGraphAddNode.
#pragma once

#include <cuda.h>

#include "client/graph_nodes.h"
#include "client/session.h"

namespace farcall::client::driver {

int put_kernel(Session& session, const NodePlace& at, const CUDA_KERNEL_NODE_PARAMS* params);
int put_copy(Session& session, const NodePlace& at, const CUDA_MEMCPY3D* params, CUcontext context);

}  // namespace farcall::client::driver
