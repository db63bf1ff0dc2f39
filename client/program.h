// What this process has made through CUDA and the client must remember: one per process, leaked,
// because NVIDIA's runtime and static destructors still call us while the process exits.
#pragma once

#include "client/allocations.h"
#include "client/api.h"
#include "client/graphs.h"
#include "client/host_functions.h"
#include "client/managed_memory.h"
#include "client/visible_memory.h"

namespace farcall::client {

struct Program {
  Allocations allocations;
  GraphCopies graphs;
  HostFunctions host_functions;
  VisibleMemory visible;
  ManagedMemory managed;
};
FARCALL_API Program& program();

}  // namespace farcall::client
