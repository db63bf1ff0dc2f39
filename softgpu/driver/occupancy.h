// How many blocks of a kernel a multiprocessor holds: the usual calculation from threads, registers
// and shared memory. softgpu itself does not care, but programs size their grids by it and
// cooperative launches depend on it.
#pragma once

#include <cstddef>

#include "softgpu/driver/device.h"
#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

int blocks_per_multiprocessor(const Limits& limits, const KernelInfo& kernel, int block_threads,
                              size_t dynamic_shared_bytes);

}  // namespace farcall::softgpu
