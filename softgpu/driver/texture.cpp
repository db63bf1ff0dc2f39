#include "softgpu/driver/texture.h"

#include <algorithm>
#include <bit>

#include "base/log.h"
#include "softgpu/driver/array.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/texture_reference.h"

namespace farcall::softgpu {
namespace {

bool within(const Device& device, size_t size, CUdevice_attribute attribute) {
  int largest = 0;
  return device.attribute(attribute, &largest) == CUDA_SUCCESS &&
         size <= static_cast<size_t>(largest);
}

void add_array(const Array& array, Image* image) { image->levels.push_back(array.image_level()); }

// What all levels have in common.
void describe(const Array& array, Image* image) {
  image->format = array.format();
  image->layered = array.layered();
  image->cubemap = array.cubemap();
  image->layers = array.has_layers() ? static_cast<u32>(array.planes()) : 1;
}

// The format that a view gives; false: none of its own, or not one that is supported (*supported).
bool view_format(CUresourceViewFormat format, TexelFormat* out, bool* supported) {
  *supported = true;
  if (format == CU_RES_VIEW_FORMAT_NONE) return false;
  if (format > CU_RES_VIEW_FORMAT_FLOAT_4X32) {
    *supported = false;  // blocks
    return false;
  }
  // Threes of 1, 2 and 4 channels, in the order of the enumeration.
  static constexpr TexelType kTypes[] = {
      TexelType::kUnsigned8,  TexelType::kSigned8,  TexelType::kUnsigned16, TexelType::kSigned16,
      TexelType::kUnsigned32, TexelType::kSigned32, TexelType::kHalf,       TexelType::kFloat};
  const unsigned index = format - CU_RES_VIEW_FORMAT_UINT_1X8;
  *out = {kTypes[index / 3], static_cast<u8>(1u << index % 3)};
  return true;
}

// How many of `count` texels lie in memory that kernels may use, up to the first that does not; at
// least 1, which is then found out to be nowhere.
size_t visible_texels(const Device& device, CUdeviceptr address, size_t texel_bytes, size_t count) {
  const auto visible = [&](size_t texels) {
    return driver().memory_map.kernel_visible(device.ordinal, address, texels * texel_bytes);
  };
  if (visible(count)) return count;
  size_t some = 1;
  while (count - some > 1) {
    const size_t middle = some + (count - some) / 2;
    (visible(middle) ? some : count) = middle;
  }
  return some;
}

}  // namespace

CUresult ImageSource::find(const Device& device, const CUDA_RESOURCE_DESC& resource,
                           ImageSource* out) {
  if (resource.flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *out = {};
  out->type_ = resource.resType;
  Image& image = out->image_;
  switch (resource.resType) {
    case CU_RESOURCE_TYPE_ARRAY: {
      std::shared_ptr<Array> array = driver().arrays.find(resource.res.array.hArray);
      if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
      describe(*array, &image);
      add_array(*array, &image);
      out->array_flags_ = array->descriptor().Flags;
      out->device_ = &array->context().device();
      out->owner_ = array;
      break;
    }
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY: {
      std::shared_ptr<MipmappedArray> mipmapped =
          driver().mipmapped_arrays.find(resource.res.mipmap.hMipmappedArray);
      if (mipmapped == nullptr) return CUDA_ERROR_INVALID_HANDLE;
      describe(*mipmapped->levels[0], &image);
      for (const auto& level : mipmapped->levels) add_array(*level, &image);
      out->array_flags_ = mipmapped->levels[0]->descriptor().Flags;
      out->device_ = &mipmapped->context().device();
      out->owner_ = mipmapped;
      break;
    }
    case CU_RESOURCE_TYPE_LINEAR: {
      const auto& linear = resource.res.linear;
      if (CUresult error = find_format(linear.format, linear.numChannels, &image.format))
        return error;
      const size_t count = linear.sizeInBytes / image.format.bytes();
      if (linear.devPtr % DeviceMemory::kAlignment != 0 || count == 0 ||
          !within(device, count, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH)) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      out->address_ = linear.devPtr;
      // It may reach past what is allocated: texels there do not exist, like those behind the last.
      const size_t there = visible_texels(device, linear.devPtr, image.format.bytes(), count);
      out->bytes_ = there * image.format.bytes();
      ImageLevel level;
      level.width = static_cast<u32>(there);
      level.pitch = level.plane = out->bytes_;
      image.levels.push_back(level);
      image.linear = true;
      break;
    }
    case CU_RESOURCE_TYPE_PITCH2D: {
      const auto& pitched = resource.res.pitch2D;
      if (CUresult error = find_format(pitched.format, pitched.numChannels, &image.format))
        return error;
      int pitch_alignment = 1;
      device.attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, &pitch_alignment);
      if (pitched.devPtr % DeviceMemory::kAlignment != 0 || pitched.width == 0 ||
          pitched.height == 0 || pitched.pitchInBytes % static_cast<size_t>(pitch_alignment) != 0 ||
          !within(device, pitched.width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH) ||
          !within(device, pitched.height, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT) ||
          !within(device, pitched.pitchInBytes,
                  CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH) ||
          pitched.width * image.format.bytes() > pitched.pitchInBytes) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      ImageLevel level;
      level.width = static_cast<u32>(pitched.width);
      level.height = static_cast<u32>(pitched.height);
      level.pitch = pitched.pitchInBytes;
      level.plane = level.pitch * level.height;
      image.levels.push_back(level);
      out->address_ = pitched.devPtr;
      // The last row may end where its texels do.
      out->bytes_ = level.plane - level.pitch + pitched.width * image.format.bytes();
      break;
    }
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  if (out->address_ != 0) image.levels[0].data = reinterpret_cast<u8*>(out->address_);
  Image held;
  return out->hold(device, &held) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult ImageSource::narrow(const CUDA_RESOURCE_VIEW_DESC& view) {
  if (address_ != 0) return CUDA_ERROR_INVALID_VALUE;  // views are of arrays
  TexelFormat format = image_.format;
  bool supported;
  if (!view_format(view.format, &format, &supported) && !supported) {
    log::warning("textures with a view as compressed blocks are not supported by softgpu");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const ImageLevel& base = image_.levels[0];
  const size_t depth = image_.layered || image_.cubemap ? image_.layers : base.depth;
  // Programs give 0, 1 or the array's own for dimensions that it does not have.
  const auto same = [](size_t asked, size_t have) {
    return asked == have || (asked == 0 && have == 1);
  };
  if (format.bytes() != image_.format.bytes() || !same(view.width, base.width) ||
      !same(view.height, base.height) || !same(view.depth, depth)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool layered = image_.layered || image_.cubemap;
  if (view.firstMipmapLevel > view.lastMipmapLevel ||
      view.lastMipmapLevel >= image_.levels.size() || view.firstLayer > view.lastLayer ||
      (layered ? view.lastLayer >= image_.layers : view.lastLayer != 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  image_.format = format;
  image_.levels.resize(view.lastMipmapLevel + 1);
  image_.levels.erase(image_.levels.begin(), image_.levels.begin() + view.firstMipmapLevel);
  if (layered) {
    const u32 layers = view.lastLayer - view.firstLayer + 1;
    if (image_.cubemap && layers % 6 != 0) return CUDA_ERROR_INVALID_VALUE;
    for (ImageLevel& level : image_.levels) level.data += view.firstLayer * level.plane;
    image_.layers = layers;
  }
  return CUDA_SUCCESS;
}

bool ImageSource::hold(const Device& device, Image* out) const {
  *out = image_;
  if (address_ != 0) return driver().memory_map.kernel_visible(device.ordinal, address_, bytes_);
  out->keep = owner_.lock();
  return out->keep != nullptr && device_ == &device;
}

CUresult make_sampler(const ImageSource& source, const CUDA_TEXTURE_DESC& description,
                      Sampler* out) {
  constexpr unsigned kFlags = CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES |
                              CU_TRSF_SRGB | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION |
                              CU_TRSF_SEAMLESS_CUBEMAP;
  const bool normalized = (description.flags & CU_TRSF_NORMALIZED_COORDINATES) != 0;
  const bool seamless = (description.flags & CU_TRSF_SEAMLESS_CUBEMAP) != 0;
  if ((description.flags & ~kFlags) != 0 || description.filterMode > CU_TR_FILTER_MODE_LINEAR ||
      description.mipmapFilterMode > CU_TR_FILTER_MODE_LINEAR ||
      (source.type() == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY && !normalized) ||
      (seamless && !source.image().cubemap)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = {};
  for (int k = 0; k < 3; ++k) {
    if (description.addressMode[k] > CU_TR_ADDRESS_MODE_BORDER) return CUDA_ERROR_INVALID_VALUE;
    static constexpr TextureAddress kModes[] = {TextureAddress::kWrap, TextureAddress::kClamp,
                                                TextureAddress::kMirror, TextureAddress::kBorder};
    out->address[k] = kModes[description.addressMode[k]];
  }
  out->read_normalized = (description.flags & CU_TRSF_READ_AS_INTEGER) == 0;
  out->srgb = (description.flags & CU_TRSF_SRGB) != 0;
  if (source.image().linear) return CUDA_SUCCESS;  // the rest does not matter to it
  out->linear_filter = description.filterMode == CU_TR_FILTER_MODE_LINEAR;
  out->linear_mipmap = description.mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR;
  out->normalized_coordinates = normalized;
  out->seamless = seamless;
  out->level_bias = description.mipmapLevelBias;
  out->level_min = description.minMipmapLevelClamp;
  out->level_max = description.maxMipmapLevelClamp;
  for (int k = 0; k < 4; ++k) out->border[k] = std::bit_cast<u32>(description.borderColor[k]);
  return CUDA_SUCCESS;
}

CUresult TextureObject::create(const ContextRef& context, const CUDA_RESOURCE_DESC& resource,
                               const CUDA_TEXTURE_DESC& description,
                               const CUDA_RESOURCE_VIEW_DESC* view,
                               std::shared_ptr<TextureObject>* out) {
  auto object = std::make_shared<TextureObject>();
  object->context_ = context;
  object->resource_ = resource;
  object->description_ = description;
  if (CUresult error = ImageSource::find(context->device(), resource, &object->source_))
    return error;
  if (view != nullptr) {
    object->view_ = *view;
    if (CUresult error = object->source_.narrow(*view)) return error;
  }
  if (CUresult error = make_sampler(object->source_, description, &object->sampler_)) return error;
  *out = std::move(object);
  return CUDA_SUCCESS;
}

std::shared_ptr<const Texture> TextureObject::texture(const Device& device) const {
  auto texture = std::make_shared<Texture>();
  if (!source_.hold(device, &texture->image)) return nullptr;
  texture->sampler = sampler_;
  return texture;
}

CUresult SurfaceObject::create(const ContextRef& context, const CUDA_RESOURCE_DESC& resource,
                               std::shared_ptr<SurfaceObject>* out) {
  if (resource.resType != CU_RESOURCE_TYPE_ARRAY) return CUDA_ERROR_INVALID_VALUE;
  auto object = std::make_shared<SurfaceObject>();
  object->context_ = context;
  object->resource_ = resource;
  if (CUresult error = ImageSource::find(context->device(), resource, &object->source_))
    return error;
  if ((object->source_.array_flags() & CUDA_ARRAY3D_SURFACE_LDST) == 0)
    return CUDA_ERROR_INVALID_VALUE;
  *out = std::move(object);
  return CUDA_SUCCESS;
}

std::shared_ptr<const Surface> SurfaceObject::surface(const Device& device) const {
  auto surface = std::make_shared<Surface>();
  if (!source_.hold(device, &surface->image)) return nullptr;
  return surface;
}

std::shared_ptr<const Texture> find_texture(const Device& device, uint64_t number) {
  if (const auto object = driver().textures.find(reinterpret_cast<const void*>(number)))
    return object->texture(device);
  return find_bound_texture(device, number);
}
std::shared_ptr<const Surface> find_surface(const Device& device, uint64_t number) {
  if (const auto object = driver().surfaces.find(reinterpret_cast<const void*>(number)))
    return object->surface(device);
  return find_bound_surface(device, number);
}

// ------------------------------------------------------------------ functions

namespace {

std::shared_ptr<TextureObject> texture_of(CUtexObject handle) {
  auto object = driver().textures.find(reinterpret_cast<const void*>(handle));
  return object == nullptr || object->destroyed ? nullptr : object;
}
std::shared_ptr<SurfaceObject> surface_of(CUsurfObject handle) {
  auto object = driver().surfaces.find(reinterpret_cast<const void*>(handle));
  return object == nullptr || object->destroyed ? nullptr : object;
}

// Calls `remove` when everything is done that was submitted before.
void remove_later(Context& context, std::function<void()> remove) {
  const OperationRef all = context.join();
  driver().scheduler.submit(std::move(remove), {&all, 1});
}

}  // namespace

CUresult api::cuTexObjectCreate(CUtexObject* out, const CUDA_RESOURCE_DESC* resource,
                                const CUDA_TEXTURE_DESC* description,
                                const CUDA_RESOURCE_VIEW_DESC* view) {
  if (out == nullptr || resource == nullptr || description == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  std::shared_ptr<TextureObject> object;
  if (CUresult error = TextureObject::create(context, *resource, *description, view, &object))
    return error;
  *out = reinterpret_cast<CUtexObject>(driver().textures.insert(std::move(object)));
  return CUDA_SUCCESS;
}

CUresult api::cuTexObjectDestroy(CUtexObject handle) {
  const std::shared_ptr<TextureObject> object = texture_of(handle);
  if (object == nullptr || object->destroyed.exchange(true)) return CUDA_ERROR_INVALID_VALUE;
  remove_later(object->context(),
               [handle] { driver().textures.remove(reinterpret_cast<const void*>(handle)); });
  return CUDA_SUCCESS;
}

CUresult api::cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC* out, CUtexObject handle) {
  const std::shared_ptr<TextureObject> object = texture_of(handle);
  if (object == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = object->resource();
  return CUDA_SUCCESS;
}
CUresult api::cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC* out, CUtexObject handle) {
  const std::shared_ptr<TextureObject> object = texture_of(handle);
  if (object == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = object->description();
  return CUDA_SUCCESS;
}
// INVALID_VALUE also if the texture was made without a view.
CUresult api::cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC* out, CUtexObject handle) {
  const std::shared_ptr<TextureObject> object = texture_of(handle);
  if (object == nullptr || out == nullptr || !object->view()) return CUDA_ERROR_INVALID_VALUE;
  *out = *object->view();
  return CUDA_SUCCESS;
}

CUresult api::cuSurfObjectCreate(CUsurfObject* out, const CUDA_RESOURCE_DESC* resource) {
  if (out == nullptr || resource == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  std::shared_ptr<SurfaceObject> object;
  if (CUresult error = SurfaceObject::create(context, *resource, &object)) return error;
  *out = reinterpret_cast<CUsurfObject>(driver().surfaces.insert(std::move(object)));
  return CUDA_SUCCESS;
}
CUresult api::cuSurfObjectDestroy(CUsurfObject handle) {
  const std::shared_ptr<SurfaceObject> object = surface_of(handle);
  if (object == nullptr || object->destroyed.exchange(true)) return CUDA_ERROR_INVALID_VALUE;
  remove_later(object->context(),
               [handle] { driver().surfaces.remove(reinterpret_cast<const void*>(handle)); });
  return CUDA_SUCCESS;
}
CUresult api::cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC* out, CUsurfObject handle) {
  const std::shared_ptr<SurfaceObject> object = surface_of(handle);
  if (object == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = object->resource();
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
