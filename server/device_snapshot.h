// What an accepted client learns at once about the server's devices, so that it need not ask: the
// answers to device properties and attributes never change during a session.
#pragma once

#include <string>

#include "rpc/schema/session.capnp.h"
#include "server/cuda_libraries.h"

namespace farcall::server {

// One line about the driver and its devices, for logs.
std::string describe(const CudaLibraries& cuda);

// Everything of Accepted but the session's id and the versions of Farcall.
void fill_snapshot(const CudaLibraries& cuda, rpc::schema::Accepted::Builder accepted);

}  // namespace farcall::server
