// Nodes by their parameters' struct, for the calls of one kind and for cudaGraphAddNode.
#pragma once

#include <driver_types.h>

#include "client/graph_nodes.h"
#include "client/session.h"

namespace farcall::client::runtime {

int put_kernel(Session& session, const NodePlace& at, const cudaKernelNodeParams* params);
int put_copy(Session& session, const NodePlace& at, const cudaMemcpy3DParms* params);
int put_allocation(Session& session, const NodePlace& at, cudaMemAllocNodeParams* params);

}  // namespace farcall::client::runtime
