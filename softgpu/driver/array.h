// CUDA arrays: memory whose layout is the driver's own affair; here simply rows after rows, planes
// after planes. Programs reach it by copies, textures (texture.h) and surfaces.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "softgpu/driver/driver.h"
#include "softgpu/exec/texture.h"

namespace farcall::softgpu {

// What an element of this format is. INVALID_VALUE: there is no such format, or not with so many
// channels; NOT_SUPPORTED: it has several planes or is made of blocks.
CUresult find_format(CUarray_format format, unsigned channels, TexelFormat* out);

class Array {
 public:
  // INVALID_VALUE: not a sensible descriptor, or too large for the device; NOT_SUPPORTED: see
  // find_format(), and arrays whose memory comes later (sparse, deferred).
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

  TexelFormat format() const { return format_; }
  bool layered() const { return (descriptor_.Flags & CUDA_ARRAY3D_LAYERED) != 0; }
  bool cubemap() const { return (descriptor_.Flags & CUDA_ARRAY3D_CUBEMAP) != 0; }
  // Planes are layers or faces, not a third dimension.
  bool has_layers() const { return layered() || cubemap(); }
  ImageLevel image_level() const;

  // Levels of mipmapped arrays end with those.
  bool is_level = false;

 private:
  Array() = default;
  ContextRef context_;
  CUDA_ARRAY3D_DESCRIPTOR descriptor_ = {};
  TexelFormat format_;
  size_t row_bytes_ = 0, pitch_ = 0, rows_ = 0, planes_ = 0;
  std::byte* data_ = nullptr;
};

// One array for each level.
class MipmappedArray {
 public:
  explicit MipmappedArray(ContextRef context) : context_(std::move(context)) {}

  Context& context() const { return *context_; }
  std::vector<std::shared_ptr<Array>> levels;
  std::vector<CUarray> handles;  // of the levels, removed with this one

 private:
  const ContextRef context_;
};

}  // namespace farcall::softgpu
