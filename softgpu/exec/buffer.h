// Memory for lanes.
#pragma once

#include "softgpu/exec/types.h"

namespace farcall::softgpu {

// Zeroed memory with an alignment that vector instructions and PTX's widest types like; grows,
// never shrinks.
class Buffer {
 public:
  // Shared memory of a block lies in one: as much as the widest pattern of tensor copies.
  static constexpr size_t kAlignment = 1024;
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  // False: out of memory. Contents are zero after it has grown, otherwise kept.
  bool reserve(size_t bytes);
  u8* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  u8* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace farcall::softgpu
