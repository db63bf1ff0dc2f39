// cuTensorMapEncodeTiled and its like: a program's description of a tensor becomes the 128 bytes
// that kernels copy boxes by (exec/tensor_map.h). Checks are those of cuda.h's documentation. What
// the engine does not copy is refused: interleaved layouts, packed elements of 4 and 6 bits,
// swizzles of larger atoms.
#include <cstring>

#include "base/log.h"
#include "softgpu/driver/api.h"
#include "softgpu/exec/tensor_map.h"

namespace farcall::softgpu {
namespace {

constexpr cuuint64_t kDimensionMax = cuuint64_t{1} << 32;
constexpr cuuint64_t kStrideMax = cuuint64_t{1} << 40;
constexpr cuuint32_t kBoxMax = 256, kElementStrideMax = 8;
constexpr cuuint32_t kPixelsMax = 1024;

struct Request {
  CUtensorMap* out;
  CUtensorMapDataType type;
  cuuint32_t rank;
  void* address;
  const cuuint64_t* dimensions;
  const cuuint64_t* strides;
  const cuuint32_t* element_strides;
  CUtensorMapInterleave interleave;
  CUtensorMapSwizzle swizzle;
  CUtensorMapL2promotion promotion;
  CUtensorMapFloatOOBfill fill;
};

bool is_float(CUtensorMapDataType type) {
  return type >= CU_TENSOR_MAP_DATA_TYPE_FLOAT16 && type <= CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ;
}

CUresult unsupported(const char* what) {
  log::warning("tensor maps with {} are not supported by softgpu", what);
  return CUDA_ERROR_NOT_SUPPORTED;
}

bool aligned(const void* pointer, uintptr_t unit) {
  return reinterpret_cast<uintptr_t>(pointer) % unit == 0;
}

// What all kinds have in common.
CUresult start(const Request& r, TensorMap* map) {
  if (r.out == nullptr || !aligned(r.out, 64) || r.address == nullptr || !aligned(r.address, 16) ||
      r.rank < 1 || r.rank > TensorMap::kRankMax || r.dimensions == nullptr ||
      (r.rank > 1 && r.strides == nullptr) || r.element_strides == nullptr ||
      r.type > CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B ||
      r.interleave > CU_TENSOR_MAP_INTERLEAVE_32B ||
      r.swizzle > CU_TENSOR_MAP_SWIZZLE_128B_ATOM_64B ||
      r.promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B ||
      r.fill > CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (r.fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE && !is_float(r.type))
    return CUDA_ERROR_INVALID_VALUE;
  if (r.interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return unsupported("interleaved layouts");
  if (r.type >= CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN8B)
    return unsupported("packed elements of 4 or 6 bits");
  if (r.swizzle > CU_TENSOR_MAP_SWIZZLE_128B) return unsupported("swizzles of larger atoms");
  *map = {};
  map->magic = TensorMap::kMagic;
  map->address = reinterpret_cast<uintptr_t>(r.address);
  map->rank = static_cast<uint8_t>(r.rank);
  map->type = static_cast<TensorType>(r.type);
  map->swizzle = static_cast<TensorSwizzle>(r.swizzle);
  map->fill_nan = r.fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
  for (cuuint32_t d = 0; d < r.rank; ++d) {
    if (r.dimensions[d] == 0 || r.dimensions[d] > kDimensionMax) return CUDA_ERROR_INVALID_VALUE;
    map->last[d] = static_cast<uint32_t>(r.dimensions[d] - 1);
    if (r.element_strides[d] == 0 || r.element_strides[d] > kElementStrideMax)
      return CUDA_ERROR_INVALID_VALUE;
    // The first one means nothing without interleaving.
    map->element_stride[d] = d == 0 ? 1 : static_cast<uint8_t>(r.element_strides[d]);
    if (d == 0) continue;
    const cuuint64_t stride = r.strides[d - 1];
    if (stride % 16 != 0 || stride >= kStrideMax) return CUDA_ERROR_INVALID_VALUE;
    map->stride[d - 1] = stride;
  }
  return CUDA_SUCCESS;
}

CUresult check_rows(const TensorMap& map) {
  const uint32_t bytes = map.box[0] * element_bytes(map.type);
  if (bytes % 16 != 0) return CUDA_ERROR_INVALID_VALUE;
  const uint32_t span =
      map.swizzle == TensorSwizzle::kNone ? bytes : 16u << static_cast<unsigned>(map.swizzle);
  return bytes <= span ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void finish(const TensorMap& map, CUtensorMap* out) {
  static_assert(sizeof(CUtensorMap) == sizeof map);
  std::memcpy(out, &map, sizeof map);
}

}  // namespace

CUresult api::cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank,
                                     void* address, const cuuint64_t* dimensions,
                                     const cuuint64_t* strides, const cuuint32_t* box,
                                     const cuuint32_t* element_strides,
                                     CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                     CUtensorMapL2promotion promotion,
                                     CUtensorMapFloatOOBfill fill) {
  TensorMap map;
  if (CUresult error = start({out, type, rank, address, dimensions, strides, element_strides,
                              interleave, swizzle, promotion, fill},
                             &map)) {
    return error;
  }
  if (box == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (cuuint32_t d = 0; d < rank; ++d) {
    if (box[d] == 0 || box[d] > kBoxMax) return CUDA_ERROR_INVALID_VALUE;
    map.box[d] = static_cast<uint16_t>(box[d]);
  }
  if (CUresult error = check_rows(map)) return error;
  finish(map, out);
  return CUDA_SUCCESS;
}

CUresult api::cuTensorMapEncodeIm2col(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank,
                                      void* address, const cuuint64_t* dimensions,
                                      const cuuint64_t* strides, const int* lower, const int* upper,
                                      cuuint32_t channels, cuuint32_t pixels,
                                      const cuuint32_t* element_strides,
                                      CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                      CUtensorMapL2promotion promotion,
                                      CUtensorMapFloatOOBfill fill) {
  TensorMap map;
  if (CUresult error = start({out, type, rank, address, dimensions, strides, element_strides,
                              interleave, swizzle, promotion, fill},
                             &map)) {
    return error;
  }
  if (rank < 3 || lower == nullptr || upper == nullptr || channels == 0 || channels > kBoxMax ||
      pixels == 0 || pixels > kPixelsMax) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // Corners share a word in hardware: the more dimensions, the fewer bits for each.
  const cuuint32_t spatial = rank - 2;
  const int limit = 1 << (16 / spatial - 1);
  for (cuuint32_t i = 0; i < spatial; ++i) {
    if (lower[i] < -limit || lower[i] >= limit || upper[i] < -limit || upper[i] >= limit)
      return CUDA_ERROR_INVALID_VALUE;
    map.lower[i] = static_cast<int16_t>(lower[i]);
    map.upper[i] = static_cast<int16_t>(upper[i]);
  }
  map.mode = TensorMode::kIm2col;
  map.box[0] = static_cast<uint16_t>(channels);
  map.box[1] = static_cast<uint16_t>(pixels);
  if (CUresult error = check_rows(map)) return error;
  finish(map, out);
  return CUDA_SUCCESS;
}

CUresult api::cuTensorMapReplaceAddress(CUtensorMap* out, void* address) {
  if (out == nullptr || !aligned(out, 64) || address == nullptr || !aligned(address, 16))
    return CUDA_ERROR_INVALID_VALUE;
  TensorMap map;
  std::memcpy(&map, out, sizeof map);
  if (map.magic != TensorMap::kMagic) return CUDA_ERROR_INVALID_VALUE;
  map.address = reinterpret_cast<uintptr_t>(address);
  finish(map, out);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
