// CUDA_MEMCPY3D in the terms of client/copy.h, for the files of the driver API that copy rows.
#pragma once

#include <cuda.h>

#include "client/copy.h"
#include "client/session.h"

namespace farcall::client::driver {

struct CopySide {
  Side side;
  bool device = false;
};

// False: the driver would call it an invalid value.
bool read_sides(const CUDA_MEMCPY3D& copy, CopySide* to, CopySide* from);
int copy_3d(Session& session, const CUDA_MEMCPY3D& copy, rpc::HandleId stream);

}  // namespace farcall::client::driver
