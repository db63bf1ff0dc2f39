// CUDA arrays: memory whose layout is the driver's own affair; here simply rows after rows.
// Programs reach it only by copies (and textures, which are not supported yet).
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "softgpu/driver/driver.h"

namespace farcall::softgpu {

class Array {
 public:
  // INVALID_VALUE: not a sensible descriptor; NOT_SUPPORTED: a format of several planes or of
  // blocks.
  static CUresult create(const ContextRef& context, const CUDA_ARRAY3D_DESCRIPTOR& descriptor,
                         std::shared_ptr<Array>* out);
  ~Array();

  const CUDA_ARRAY3D_DESCRIPTOR& descriptor() const { return descriptor_; }
  Context& context() const { return *context_; }
  std::byte* data() const { return data_; }
  size_t row_bytes() const { return row_bytes_; }
  size_t pitch() const { return pitch_; }
  size_t rows() const { return rows_; }
  size_t planes() const { return planes_; }
  size_t bytes() const { return pitch_ * rows_ * planes_; }

 private:
  Array() = default;
  ContextRef context_;
  CUDA_ARRAY3D_DESCRIPTOR descriptor_ = {};
  size_t row_bytes_ = 0, pitch_ = 0, rows_ = 0, planes_ = 0;
  std::byte* data_ = nullptr;
};

class MipmappedArray {
 public:
  Context& context() const { return *context_; }
  ContextRef context_;
  std::vector<CUarray> levels;  // handles, removed with this one
};

}  // namespace farcall::softgpu
