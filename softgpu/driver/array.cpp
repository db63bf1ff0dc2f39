#include "softgpu/driver/array.h"

#include <algorithm>
#include <bit>

#include "base/log.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {
namespace {

constexpr size_t kPitchAlignment = 32;
constexpr unsigned kUnsupportedFlags =
    CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING | CUDA_ARRAY3D_VIDEO_ENCODE_DECODE;
constexpr unsigned kKnownFlags =
    kUnsupportedFlags | CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |
    CUDA_ARRAY3D_TEXTURE_GATHER | CUDA_ARRAY3D_DEPTH_TEXTURE | CUDA_ARRAY3D_COLOR_ATTACHMENT;

// The largest of everything by kind of array: the table of cuArray3DCreate.
bool fits(const Device& device, const CUDA_ARRAY3D_DESCRIPTOR& d, bool mipmapped) {
  const auto below = [&device](size_t size, CUdevice_attribute attribute) {
    int largest = 0;
    return device.attribute(attribute, &largest) == CUDA_SUCCESS &&
           size <= static_cast<size_t>(largest);
  };
  const bool layered = (d.Flags & CUDA_ARRAY3D_LAYERED) != 0;
  const bool surface = (d.Flags & CUDA_ARRAY3D_SURFACE_LDST) != 0;
  if ((d.Flags & CUDA_ARRAY3D_CUBEMAP) != 0) {
    if (d.Width != d.Height || (layered ? d.Depth == 0 || d.Depth % 6 != 0 : d.Depth != 6))
      return false;
    if (!layered)
      return below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH) &&
             (!surface || below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_WIDTH));
    return below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH) &&
           below(d.Depth, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS) &&
           (!surface || below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH));
  }
  if (layered) {
    if (d.Depth == 0) return false;
    if (d.Height == 0)
      return below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH) &&
             below(d.Depth, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS) &&
             (!surface || below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_WIDTH));
    return below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH) &&
           below(d.Height, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT) &&
           below(d.Depth, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS) &&
           (!surface || (below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_WIDTH) &&
                         below(d.Height, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_HEIGHT)));
  }
  if (d.Depth != 0) {
    if (d.Height == 0) return false;
    const bool one = below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH) &&
                     below(d.Height, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT) &&
                     below(d.Depth, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH);
    const bool other = below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE) &&
                       below(d.Height, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE) &&
                       below(d.Depth, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE);
    return one || (other && !surface);
  }
  if (d.Height == 0)
    return below(d.Width, mipmapped ? CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH
                                    : CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH) &&
           (!surface || below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_WIDTH));
  if ((d.Flags & CUDA_ARRAY3D_TEXTURE_GATHER) != 0 &&
      (!below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH) ||
       !below(d.Height, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT))) {
    return false;
  }
  return below(d.Width, mipmapped ? CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH
                                  : CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH) &&
         below(d.Height, mipmapped ? CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT
                                   : CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT) &&
         (!surface || (below(d.Width, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_WIDTH) &&
                       below(d.Height, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_HEIGHT)));
}

CUresult check_descriptor(const Device& device, const CUDA_ARRAY3D_DESCRIPTOR& descriptor,
                          bool mipmapped) {
  if (descriptor.Width == 0 || (descriptor.Flags & ~kKnownFlags) != 0 ||
      !fits(device, descriptor, mipmapped)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // Gathering is for one plane of two dimensions.
  const bool gathers = (descriptor.Flags & CUDA_ARRAY3D_TEXTURE_GATHER) != 0;
  if (gathers && (descriptor.Height == 0 || descriptor.Depth != 0)) return CUDA_ERROR_INVALID_VALUE;
  if ((descriptor.Flags & kUnsupportedFlags) == 0) return CUDA_SUCCESS;
  static std::atomic<bool> told = false;
  if (!told.exchange(true))
    log::warning("sparse arrays, and such with memory mapped later, are not supported by softgpu");
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace

CUresult find_format(CUarray_format format, unsigned channels, TexelFormat* out) {
  const auto plain = [&](TexelType type) {
    if (channels != 1 && channels != 2 && channels != 4) return CUDA_ERROR_INVALID_VALUE;
    *out = {type, static_cast<u8>(channels)};
    return CUDA_SUCCESS;
  };
  // Formats that say how many channels they have.
  const auto fixed = [&](TexelType type, unsigned own) {
    if (channels != own) return CUDA_ERROR_INVALID_VALUE;
    *out = {type, static_cast<u8>(own)};
    return CUDA_SUCCESS;
  };
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
      return plain(TexelType::kUnsigned8);
    case CU_AD_FORMAT_SIGNED_INT8:
      return plain(TexelType::kSigned8);
    case CU_AD_FORMAT_UNSIGNED_INT16:
      return plain(TexelType::kUnsigned16);
    case CU_AD_FORMAT_SIGNED_INT16:
      return plain(TexelType::kSigned16);
    case CU_AD_FORMAT_UNSIGNED_INT32:
      return plain(TexelType::kUnsigned32);
    case CU_AD_FORMAT_SIGNED_INT32:
      return plain(TexelType::kSigned32);
    case CU_AD_FORMAT_HALF:
      return plain(TexelType::kHalf);
    case CU_AD_FORMAT_FLOAT:
      return plain(TexelType::kFloat);
    case CU_AD_FORMAT_UNORM_INT8X1:
      return fixed(TexelType::kUnorm8, 1);
    case CU_AD_FORMAT_UNORM_INT8X2:
      return fixed(TexelType::kUnorm8, 2);
    case CU_AD_FORMAT_UNORM_INT8X4:
      return fixed(TexelType::kUnorm8, 4);
    case CU_AD_FORMAT_UNORM_INT16X1:
      return fixed(TexelType::kUnorm16, 1);
    case CU_AD_FORMAT_UNORM_INT16X2:
      return fixed(TexelType::kUnorm16, 2);
    case CU_AD_FORMAT_UNORM_INT16X4:
      return fixed(TexelType::kUnorm16, 4);
    case CU_AD_FORMAT_SNORM_INT8X1:
      return fixed(TexelType::kSnorm8, 1);
    case CU_AD_FORMAT_SNORM_INT8X2:
      return fixed(TexelType::kSnorm8, 2);
    case CU_AD_FORMAT_SNORM_INT8X4:
      return fixed(TexelType::kSnorm8, 4);
    case CU_AD_FORMAT_SNORM_INT16X1:
      return fixed(TexelType::kSnorm16, 1);
    case CU_AD_FORMAT_SNORM_INT16X2:
      return fixed(TexelType::kSnorm16, 2);
    case CU_AD_FORMAT_SNORM_INT16X4:
      return fixed(TexelType::kSnorm16, 4);
    case CU_AD_FORMAT_UNORM_INT_101010_2:
      return fixed(TexelType::kUnorm10_10_10_2, 4);
    default:
      break;
  }
  const bool known =
      (format >= CU_AD_FORMAT_BC1_UNORM && format <= CU_AD_FORMAT_Y410) ||
      (format >= CU_AD_FORMAT_NV12 && format <= CU_AD_FORMAT_YUV444_16bit_SemiPlanar);
  if (!known || channels < 1 || channels > 4) return CUDA_ERROR_INVALID_VALUE;
  static std::atomic<bool> told = false;
  if (!told.exchange(true))
    log::warning(
        "array formats of several planes or of blocks ({:#x}) are not supported by softgpu",
        static_cast<unsigned>(format));
  return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult Array::create(const ContextRef& context, const CUDA_ARRAY3D_DESCRIPTOR& descriptor,
                       std::shared_ptr<Array>* out) {
  if (CUresult error = check_descriptor(context->device(), descriptor, false)) return error;
  TexelFormat format;
  if (CUresult error = find_format(descriptor.Format, descriptor.NumChannels, &format))
    return error;
  std::shared_ptr<Array> array(new Array);
  array->descriptor_ = descriptor;
  array->format_ = format;
  array->row_bytes_ = descriptor.Width * format.bytes();
  array->pitch_ = (array->row_bytes_ + kPitchAlignment - 1) & ~(kPitchAlignment - 1);
  array->rows_ = std::max<size_t>(descriptor.Height, 1);
  array->planes_ = std::max<size_t>(descriptor.Depth, 1);
  size_t bytes;
  if (__builtin_mul_overflow(array->pitch_, array->rows_, &bytes) ||
      __builtin_mul_overflow(bytes, array->planes_, &bytes)) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  Region region;
  region.kind = Region::Kind::kArray;
  region.context = context.get();
  const uint64_t base = context->device().memory.allocate_region(bytes, region);
  if (base == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  array->context_ = context;
  array->data_ = reinterpret_cast<std::byte*>(base);
  *out = std::move(array);
  return CUDA_SUCCESS;
}

Array::~Array() {
  if (data_ != nullptr) {
    context_->device().memory.free_region(reinterpret_cast<uint64_t>(data_));
  }
}

ImageLevel Array::image_level() const {
  ImageLevel level;
  level.data = reinterpret_cast<u8*>(data_);
  level.width = static_cast<u32>(descriptor_.Width);
  level.height = static_cast<u32>(rows_);
  level.depth = has_layers() ? 1 : static_cast<u32>(planes_);
  level.pitch = pitch_;
  level.plane = pitch_ * rows_;
  return level;
}

CUresult api::cuArray3DCreate_v2(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR* descriptor) {
  if (out == nullptr || descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (CUresult error = check_unsafe_call()) return error;
  std::shared_ptr<Array> array;
  if (CUresult error = Array::create(context, *descriptor, &array)) return error;
  *out = driver().arrays.insert(std::move(array));
  return CUDA_SUCCESS;
}

CUresult api::cuArrayCreate_v2(CUarray* out, const CUDA_ARRAY_DESCRIPTOR* flat) {
  if (flat == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR descriptor = {};
  descriptor.Width = flat->Width;
  descriptor.Height = flat->Height;
  descriptor.Format = flat->Format;
  descriptor.NumChannels = flat->NumChannels;
  return api::cuArray3DCreate_v2(out, &descriptor);
}

CUresult api::cuArrayDestroy(CUarray handle) {
  std::shared_ptr<Array> array = driver().arrays.find(handle);
  if (array == nullptr || array->is_level) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = check_unsafe_call()) return error;
  if (CUresult error = array->context().synchronize()) return error;
  driver().arrays.remove(handle);
  return CUDA_SUCCESS;
}

CUresult api::cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR* descriptor, CUarray handle) {
  std::shared_ptr<Array> array = driver().arrays.find(handle);
  if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *descriptor = array->descriptor();
  return CUDA_SUCCESS;
}

CUresult api::cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR* flat, CUarray handle) {
  std::shared_ptr<Array> array = driver().arrays.find(handle);
  if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (flat == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_ARRAY3D_DESCRIPTOR& descriptor = array->descriptor();
  *flat = {descriptor.Width, descriptor.Height, descriptor.Format, descriptor.NumChannels};
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ what these arrays are not

// Asked of an array that is not sparse, has one plane, and has its memory: INVALID_VALUE, by the
// documentation.
CUresult api::cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES*, CUarray handle) {
  return driver().arrays.find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE
                                                 : CUDA_ERROR_INVALID_VALUE;
}
CUresult api::cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES*,
                                                  CUmipmappedArray handle) {
  return driver().mipmapped_arrays.find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE
                                                           : CUDA_ERROR_INVALID_VALUE;
}
CUresult api::cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS*, CUarray handle,
                                           CUdevice) {
  return driver().arrays.find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE
                                                 : CUDA_ERROR_INVALID_VALUE;
}
CUresult api::cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS*,
                                                    CUmipmappedArray handle, CUdevice) {
  return driver().mipmapped_arrays.find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE
                                                           : CUDA_ERROR_INVALID_VALUE;
}
CUresult api::cuArrayGetPlane(CUarray*, CUarray handle, unsigned) {
  return driver().arrays.find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE
                                                 : CUDA_ERROR_INVALID_VALUE;
}

// ------------------------------------------------------------------ mipmapped arrays

CUresult api::cuMipmappedArrayCreate(CUmipmappedArray* out,
                                     const CUDA_ARRAY3D_DESCRIPTOR* descriptor, unsigned levels) {
  if (out == nullptr || descriptor == nullptr || levels == 0) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (CUresult error = check_unsafe_call()) return error;
  if (CUresult error = check_descriptor(context->device(), *descriptor, true)) return error;
  const bool layered = (descriptor->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
  const size_t largest = std::max(
      {descriptor->Width, descriptor->Height, layered ? size_t{0} : descriptor->Depth, size_t{1}});
  levels = std::min(levels, static_cast<unsigned>(std::bit_width(largest)));
  auto mipmapped = std::make_shared<MipmappedArray>(context);
  CUDA_ARRAY3D_DESCRIPTOR level = *descriptor;
  const auto halve = [](size_t size) { return size > 1 ? size / 2 : size; };
  for (unsigned i = 0; i < levels; ++i) {
    std::shared_ptr<Array> array;
    if (CUresult error = Array::create(context, level, &array)) return error;
    array->is_level = true;
    mipmapped->levels.push_back(std::move(array));
    level.Width = halve(level.Width);
    level.Height = halve(level.Height);
    if (!layered) level.Depth = halve(level.Depth);
  }
  for (const std::shared_ptr<Array>& array : mipmapped->levels)
    mipmapped->handles.push_back(driver().arrays.insert(array));
  *out = driver().mipmapped_arrays.insert(std::move(mipmapped));
  return CUDA_SUCCESS;
}

CUresult api::cuMipmappedArrayGetLevel(CUarray* out, CUmipmappedArray handle, unsigned level) {
  std::shared_ptr<MipmappedArray> mipmapped = driver().mipmapped_arrays.find(handle);
  if (mipmapped == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (out == nullptr || level >= mipmapped->handles.size()) return CUDA_ERROR_INVALID_VALUE;
  *out = mipmapped->handles[level];
  return CUDA_SUCCESS;
}

CUresult api::cuMipmappedArrayDestroy(CUmipmappedArray handle) {
  std::shared_ptr<MipmappedArray> mipmapped = driver().mipmapped_arrays.find(handle);
  if (mipmapped == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = check_unsafe_call()) return error;
  if (CUresult error = mipmapped->context().synchronize()) return error;
  driver().mipmapped_arrays.remove(handle);
  for (CUarray level : mipmapped->handles) driver().arrays.remove(level);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
