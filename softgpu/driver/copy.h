// Copies of every form are one form, CUDA's three-dimensional one, checked here and turned into
// work.
#pragma once

#include "softgpu/driver/driver.h"
#include "softgpu/driver/work.h"

namespace farcall::softgpu {

struct Copy {
  CopyWork work;
  bool source_pageable = false, target_pageable = false;  // the program's own, unregistered memory
  bool within_devices = false;                            // neither end is the host's
};

// INVALID_VALUE: an end is no memory of its kind, or the copy goes beyond it.
CUresult make_copy(const CUDA_MEMCPY3D& shape, Copy* out);

// One row. A type of CU_MEMORYTYPE_UNIFIED means: look the address up.
CUDA_MEMCPY3D linear_copy(CUmemorytype target_type, uint64_t target, CUmemorytype source_type,
                          uint64_t source, size_t bytes);
CUDA_MEMCPY3D as_3d(const CUDA_MEMCPY2D& shape);

// When pageable memory is read. It is written before the call returns.
enum class SourceRead : uint8_t {
  kBeforeReturn,   // so that the program may change it then: cuMemcpyAsync and its kin
  kInStreamOrder,  // the program leaves it alone until then: batches may ask for it
};
CUresult copy_async(CUstream stream, const CUDA_MEMCPY3D& shape,
                    SourceRead read = SourceRead::kBeforeReturn);
CUresult copy_sync(const CUDA_MEMCPY3D& shape);

}  // namespace farcall::softgpu
