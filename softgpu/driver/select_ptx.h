// From what a program passes as "code" to the PTX texts this device runs.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "softgpu/driver/api.h"

namespace farcall::softgpu {

struct SelectedPtx {
  std::vector<std::string> texts;  // to be linked together; empty unless the result is CUDA_SUCCESS
  bool plain_text = false;         // the program gave PTX itself, not a fat binary
  std::string why;                 // otherwise: a sentence for the log
};

// NO_BINARY_FOR_GPU: an image, but none of its code is PTX for this compute capability.
// INVALID_IMAGE: not an image, or a damaged one.
CUresult select_ptx(const void* code, int sm, SelectedPtx* out);

// The same for an object, archive, library or program of the host with device code in it: the texts
// of each object, of those that have some for this device. NO_BINARY_FOR_GPU: none has.
CUresult select_object_ptx(std::span<const std::byte> file, int sm,
                           std::vector<std::vector<std::string>>* out, std::string* why);

// What cuLinkComplete makes: the texts in one, which select_ptx() takes apart again.
std::string join_ptx(const std::vector<std::string>& texts);

}  // namespace farcall::softgpu
