// For this folder's own files: reading numbers out of untrusted bytes, and saying what is wrong
// with an image.
#pragma once

#include <cstring>
#include <utility>

#include "base/log.h"
#include "image/fatbin.h"

namespace farcall::image {

// One sentence for the log, and the Status that goes with it.
template <class... Args>
Status corrupt(fmt::format_string<Args...> format, Args&&... args) {
  log::error(format, std::forward<Args>(args)...);
  return Status::kInvalid;
}

// The caller has checked the bounds; images need not be aligned.
template <class T>
T load(Bytes bytes, uint64_t offset) {
  assert(offset <= bytes.size() && sizeof(T) <= bytes.size() - offset);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Is [offset, offset + size) inside `total` bytes? Written so that nothing overflows.
constexpr bool fits(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

}  // namespace farcall::image
