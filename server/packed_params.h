// A kernel's parameters as the client sends them, one block at the kernel's own offsets, as the
// driver takes such a block. The driver reads it before its call returns, and may want it aligned
// as its widest member: capnp aligns to 8, CUDA's vector types to 16.
#pragma once

#include <capnp/blob.h>
#include <capnp/common.h>
#include <cuda.h>

#include <cstddef>
#include <cstring>
#include <memory>

namespace farcall::server {

// Not copied or moved: extra() points into it.
class PackedParams {
 public:
  // What a kernel can have, and room for the driver to refuse a little more by itself.
  static constexpr size_t kBytesMax = 64 * 1024;

  explicit PackedParams(capnp::Data::Reader params) : bytes_(params.size()) {
    if (bytes_ > sizeof small_) large_ = std::make_unique<Unit[]>((bytes_ - 1) / sizeof(Unit) + 1);
    void* const block = large_ ? static_cast<void*>(large_.get()) : small_;
    if (bytes_ > 0) std::memcpy(block, params.begin(), bytes_);
    extra_[1] = block;
  }
  PackedParams(const PackedParams&) = delete;
  PackedParams& operator=(const PackedParams&) = delete;

  // CU_LAUNCH_PARAM_BUFFER_*; null when there are no parameters.
  void** extra() { return bytes_ > 0 ? extra_ : nullptr; }

 private:
  struct alignas(16) Unit {
    std::byte bytes[16];
  };

  size_t bytes_;
  std::unique_ptr<Unit[]> large_;
  Unit small_[256];
  void* extra_[5] = {CU_LAUNCH_PARAM_BUFFER_POINTER, nullptr, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes_,
                     CU_LAUNCH_PARAM_END};
};

}  // namespace farcall::server
