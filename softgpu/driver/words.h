// Waiting for words in memory and writing them in the order of a stream: cuStreamWaitValue and its
// kin.
#pragma once

#include "softgpu/driver/work.h"

namespace farcall::softgpu {

// INVALID_VALUE: an operation CUDA does not know, or a word the device may not use.
CUresult make_words(const CUstreamBatchMemOpParams* operations, unsigned count, unsigned flags,
                    WordsWork* out);

}  // namespace farcall::softgpu
