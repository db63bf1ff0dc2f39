// CUDA's way to give a list.
#pragma once

#include <algorithm>
#include <vector>

#include "softgpu/driver/api.h"

namespace farcall::softgpu {

// Without an array the count is asked for, else at most *count entries are written, the rest of the
// array is cleared, and *count says how many there were.
template <class Handle>
CUresult give_list(const std::vector<Handle>& list, Handle* out, size_t* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out != nullptr) {
    const size_t copied = std::min(*count, list.size());
    std::copy_n(list.begin(), copied, out);
    std::fill(out + copied, out + *count, Handle{});
    *count = copied;
  } else {
    *count = list.size();
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
