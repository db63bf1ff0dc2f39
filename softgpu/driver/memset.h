// Memsets, checked and turned into work. The shape is CUDA's graph node's: it describes every form.
#pragma once

#include "softgpu/driver/work.h"

namespace farcall::softgpu {

// INVALID_VALUE: not a range in one piece of memory the device may write. `on_host`, if asked for:
// does the host see that memory too?
CUresult make_memset(const CUDA_MEMSET_NODE_PARAMS& shape, MemsetWork* out, bool* on_host);

}  // namespace farcall::softgpu
