#include "softgpu/driver/array.h"

#include <algorithm>
#include <bit>

#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {
namespace {

// Bytes of one element with this many channels; 0: no such combination.
size_t element_bytes(CUarray_format format, unsigned channels) {
  const bool several = channels == 1 || channels == 2 || channels == 4;
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
      return several ? channels : 0;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
      return several ? 2 * channels : 0;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
      return several ? 4 * channels : 0;
    case CU_AD_FORMAT_UNORM_INT8X1:
    case CU_AD_FORMAT_SNORM_INT8X1:
      return 1;
    case CU_AD_FORMAT_UNORM_INT8X2:
    case CU_AD_FORMAT_SNORM_INT8X2:
    case CU_AD_FORMAT_UNORM_INT16X1:
    case CU_AD_FORMAT_SNORM_INT16X1:
      return 2;
    case CU_AD_FORMAT_UNORM_INT8X4:
    case CU_AD_FORMAT_SNORM_INT8X4:
    case CU_AD_FORMAT_UNORM_INT16X2:
    case CU_AD_FORMAT_SNORM_INT16X2:
    case CU_AD_FORMAT_UNORM_INT_101010_2:
      return 4;
    case CU_AD_FORMAT_UNORM_INT16X4:
    case CU_AD_FORMAT_SNORM_INT16X4:
      return 8;
    default:
      return 0;
  }
}

constexpr size_t kPitchAlignment = 32;
constexpr size_t kElementsMax = size_t{1} << 31;
constexpr unsigned kUnsupportedFlags =
    CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING | CUDA_ARRAY3D_VIDEO_ENCODE_DECODE;

}  // namespace

CUresult Array::create(const ContextRef& context, const CUDA_ARRAY3D_DESCRIPTOR& descriptor,
                       std::shared_ptr<Array>* out) {
  if (descriptor.Width == 0 || descriptor.Width > kElementsMax ||
      descriptor.Height > kElementsMax || descriptor.Depth > kElementsMax) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if ((descriptor.Flags & kUnsupportedFlags) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  const size_t element = element_bytes(descriptor.Format, descriptor.NumChannels);
  if (element == 0) {
    const bool known = descriptor.NumChannels == 1 || descriptor.NumChannels == 2 ||
                       descriptor.NumChannels == 4 || descriptor.NumChannels == 3;
    return known && descriptor.Format > CU_AD_FORMAT_FLOAT ? CUDA_ERROR_NOT_SUPPORTED
                                                           : CUDA_ERROR_INVALID_VALUE;
  }
  std::shared_ptr<Array> array(new Array);
  array->descriptor_ = descriptor;
  array->row_bytes_ = descriptor.Width * element;
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
  if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
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

// ------------------------------------------------------------------ mipmapped arrays: one array
// per level

CUresult api::cuMipmappedArrayCreate(CUmipmappedArray* out,
                                     const CUDA_ARRAY3D_DESCRIPTOR* descriptor, unsigned levels) {
  if (out == nullptr || descriptor == nullptr || levels == 0) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  const bool layered = (descriptor->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
  const size_t largest = std::max(
      {descriptor->Width, descriptor->Height, layered ? size_t{0} : descriptor->Depth, size_t{1}});
  levels = std::min(levels, static_cast<unsigned>(std::bit_width(largest)));
  auto mipmapped = std::make_shared<MipmappedArray>();
  mipmapped->context_ = context;
  CUDA_ARRAY3D_DESCRIPTOR level = *descriptor;
  const auto halve = [](size_t size) { return size > 1 ? size / 2 : size; };
  for (unsigned i = 0; i < levels; ++i) {
    CUarray array;
    if (CUresult error = api::cuArray3DCreate_v2(&array, &level)) {
      for (CUarray made : mipmapped->levels) driver().arrays.remove(made);
      return error;
    }
    mipmapped->levels.push_back(array);
    level.Width = halve(level.Width);
    level.Height = halve(level.Height);
    if (!layered) level.Depth = halve(level.Depth);
  }
  *out = driver().mipmapped_arrays.insert(std::move(mipmapped));
  return CUDA_SUCCESS;
}

CUresult api::cuMipmappedArrayGetLevel(CUarray* out, CUmipmappedArray handle, unsigned level) {
  std::shared_ptr<MipmappedArray> mipmapped = driver().mipmapped_arrays.find(handle);
  if (mipmapped == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (out == nullptr || level >= mipmapped->levels.size()) return CUDA_ERROR_INVALID_VALUE;
  *out = mipmapped->levels[level];
  return CUDA_SUCCESS;
}

CUresult api::cuMipmappedArrayDestroy(CUmipmappedArray handle) {
  std::shared_ptr<MipmappedArray> mipmapped = driver().mipmapped_arrays.find(handle);
  if (mipmapped == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = check_unsafe_call()) return error;
  if (CUresult error = mipmapped->context().synchronize()) return error;
  driver().mipmapped_arrays.remove(handle);
  for (CUarray level : mipmapped->levels) driver().arrays.remove(level);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
