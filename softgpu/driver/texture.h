// Textures and surfaces as objects: what is read (an array, a mipmapped array, memory), and how.
// The engine asks for them by number when a kernel first uses one (DeviceMemory::texture).
//
// An object does not keep the array it shows: that ends when the program says so, and a fetch after
// that is a fault. A destroyed object can still be used by work that was submitted before.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "softgpu/driver/driver.h"
#include "softgpu/exec/texture.h"

namespace farcall::softgpu {

// What a resource descriptor names.
class ImageSource {
 public:
  static CUresult find(const Device& device, const CUDA_RESOURCE_DESC& resource, ImageSource* out);
  // Only some levels and layers, or another format of the same size.
  CUresult narrow(const CUDA_RESOURCE_VIEW_DESC& view);

  // The image, held as long as that lives; false: it is gone, or not the device's.
  bool hold(const Device& device, Image* out) const;

  const Image& image() const { return image_; }
  CUresourcetype type() const { return type_; }
  unsigned array_flags() const { return array_flags_; }

 private:
  Image image_;  // its keep is empty
  CUresourcetype type_ = CU_RESOURCE_TYPE_ARRAY;
  unsigned array_flags_ = 0;
  std::weak_ptr<const void> owner_;  // of the texels, if an array
  const Device* device_ = nullptr;   // of an array
  uint64_t address_ = 0;             // otherwise
  size_t bytes_ = 0;
};

// INVALID_VALUE: what CUDA does not allow for such an image.
CUresult make_sampler(const ImageSource& source, const CUDA_TEXTURE_DESC& description,
                      Sampler* out);

class TextureObject {
 public:
  static CUresult create(const ContextRef& context, const CUDA_RESOURCE_DESC& resource,
                         const CUDA_TEXTURE_DESC& description, const CUDA_RESOURCE_VIEW_DESC* view,
                         std::shared_ptr<TextureObject>* out);

  Context& context() const { return *context_; }
  const CUDA_RESOURCE_DESC& resource() const { return resource_; }
  const CUDA_TEXTURE_DESC& description() const { return description_; }
  const std::optional<CUDA_RESOURCE_VIEW_DESC>& view() const { return view_; }
  std::shared_ptr<const Texture> texture(const Device& device) const;  // nullptr: gone

  std::atomic<bool> destroyed = false;

 private:
  ContextRef context_;
  CUDA_RESOURCE_DESC resource_ = {};
  CUDA_TEXTURE_DESC description_ = {};
  std::optional<CUDA_RESOURCE_VIEW_DESC> view_;
  ImageSource source_;
  Sampler sampler_;
};

class SurfaceObject {
 public:
  static CUresult create(const ContextRef& context, const CUDA_RESOURCE_DESC& resource,
                         std::shared_ptr<SurfaceObject>* out);

  Context& context() const { return *context_; }
  const CUDA_RESOURCE_DESC& resource() const { return resource_; }
  std::shared_ptr<const Surface> surface(const Device& device) const;

  std::atomic<bool> destroyed = false;

 private:
  ContextRef context_;
  CUDA_RESOURCE_DESC resource_ = {};
  ImageSource source_;
};

// By what a kernel names it: an object's handle, or the address of a .texref or .surfref variable.
std::shared_ptr<const Texture> find_texture(const Device& device, uint64_t number);
std::shared_ptr<const Surface> find_surface(const Device& device, uint64_t number);

}  // namespace farcall::softgpu
