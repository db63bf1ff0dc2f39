// Many copies in one call. They may run in any order among each other; here they run one after the
// other.
#include <algorithm>
#include <cstdint>

#include "softgpu/driver/array.h"
#include "softgpu/driver/copy.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

CUresult read_order(CUmemcpySrcAccessOrder order, SourceRead* read) {
  switch (order) {
    case CU_MEMCPY_SRC_ACCESS_ORDER_STREAM:
      *read = SourceRead::kInStreamOrder;
      break;
    case CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL:
    case CU_MEMCPY_SRC_ACCESS_ORDER_ANY:
      *read = SourceRead::kBeforeReturn;
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

// CUDA does not batch in the legacy stream, nor in captures.
CUresult check_stream(CUstream handle) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (stream->kind() == Stream::Kind::kLegacy) return CUDA_ERROR_INVALID_VALUE;
  return stream->capture() != nullptr ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

// One end of a copy between boxes, in elements of that many bytes.
struct Operand {
  CUmemorytype type;
  CUdeviceptr pointer = 0;
  CUarray array = nullptr;
  size_t x = 0, y = 0, z = 0, pitch = 0, rows = 0;
};
CUresult read_operand(const CUmemcpy3DOperand& operand, const CUextent3D& extent, size_t element,
                      Operand* out) {
  switch (operand.type) {
    case CU_MEMCPY_OPERAND_TYPE_POINTER: {
      const size_t row = operand.op.ptr.rowLength != 0 ? operand.op.ptr.rowLength : extent.width;
      const size_t rows =
          operand.op.ptr.layerHeight != 0 ? operand.op.ptr.layerHeight : extent.height;
      *out = {CU_MEMORYTYPE_UNIFIED, operand.op.ptr.ptr, nullptr, 0, 0, 0, row * element, rows};
      return CUDA_SUCCESS;
    }
    case CU_MEMCPY_OPERAND_TYPE_ARRAY: {
      const CUoffset3D& offset = operand.op.array.offset;
      *out = {CU_MEMORYTYPE_ARRAY, 0,        operand.op.array.array,
              offset.x * element,  offset.y, offset.z};
      return CUDA_SUCCESS;
    }
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// Of the array among the operands; bytes if there is none.
size_t element_of(const CUDA_MEMCPY3D_BATCH_OP& operation) {
  for (const CUmemcpy3DOperand* operand : {&operation.src, &operation.dst}) {
    if (operand->type != CU_MEMCPY_OPERAND_TYPE_ARRAY) continue;
    std::shared_ptr<Array> array = driver().arrays.find(operand->op.array.array);
    if (array != nullptr) return array->row_bytes() / array->descriptor().Width;
  }
  return 1;
}

CUresult copy_box(const CUDA_MEMCPY3D_BATCH_OP& operation, CUstream stream) {
  const CUextent3D& extent = operation.extent;
  if (extent.width == 0 || extent.height == 0 || extent.depth == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  SourceRead read;
  if (CUresult error = read_order(operation.srcAccessOrder, &read)) return error;
  const size_t element = element_of(operation);
  Operand source, target;
  if (CUresult error = read_operand(operation.src, extent, element, &source)) return error;
  if (CUresult error = read_operand(operation.dst, extent, element, &target)) return error;
  CUDA_MEMCPY3D shape = {};
  shape.srcMemoryType = source.type;
  shape.srcDevice = source.pointer;
  shape.srcArray = source.array;
  shape.srcXInBytes = source.x;
  shape.srcY = source.y;
  shape.srcZ = source.z;
  shape.srcPitch = source.pitch;
  shape.srcHeight = source.rows;
  shape.dstMemoryType = target.type;
  shape.dstDevice = target.pointer;
  shape.dstArray = target.array;
  shape.dstXInBytes = target.x;
  shape.dstY = target.y;
  shape.dstZ = target.z;
  shape.dstPitch = target.pitch;
  shape.dstHeight = target.rows;
  shape.WidthInBytes = extent.width * element;
  shape.Height = extent.height;
  shape.Depth = extent.depth;
  return copy_async(stream, shape, read);
}

}  // namespace

// `indices` says at which copy each of the attributes begins to hold.
CUresult api::cuMemcpyBatchAsync(CUdeviceptr* targets, CUdeviceptr* sources, size_t* sizes,
                                 size_t count, CUmemcpyAttributes* attributes, size_t* indices,
                                 size_t attribute_count, size_t* failed, CUstream stream) {
  if (failed != nullptr) *failed = SIZE_MAX;  // no copy in particular
  if (targets == nullptr || sources == nullptr || sizes == nullptr || count == 0 ||
      attributes == nullptr || indices == nullptr || attribute_count == 0 ||
      attribute_count > count || indices[0] != 0 ||
      !std::is_sorted(indices, indices + attribute_count)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_stream(stream)) return error;
  size_t current = 0;
  for (size_t i = 0; i < count; ++i) {
    while (current + 1 < attribute_count && indices[current + 1] <= i) ++current;
    SourceRead read;
    CUresult error = read_order(attributes[current].srcAccessOrder, &read);
    if (error == CUDA_SUCCESS) {
      error = copy_async(stream,
                         linear_copy(CU_MEMORYTYPE_UNIFIED, targets[i], CU_MEMORYTYPE_UNIFIED,
                                     sources[i], sizes[i]),
                         read);
    }
    if (error != CUDA_SUCCESS) {
      if (failed != nullptr) *failed = i;
      return error;
    }
  }
  return CUDA_SUCCESS;
}
CUresult api::cuMemcpyBatchAsync_v2(CUdeviceptr* targets, CUdeviceptr* sources, size_t* sizes,
                                    size_t count, CUmemcpyAttributes* attributes, size_t* indices,
                                    size_t attribute_count, CUstream stream) {
  return api::cuMemcpyBatchAsync(targets, sources, sizes, count, attributes, indices,
                                 attribute_count, nullptr, stream);
}

CUresult api::cuMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP* operations, size_t* failed,
                                   unsigned long long flags, CUstream stream) {
  if (failed != nullptr) *failed = SIZE_MAX;
  if (count == 0 || operations == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = check_stream(stream)) return error;
  for (size_t i = 0; i < count; ++i) {
    if (CUresult error = copy_box(operations[i], stream)) {
      if (failed != nullptr) *failed = i;
      return error;
    }
  }
  return CUDA_SUCCESS;
}
CUresult api::cuMemcpy3DBatchAsync_v2(size_t count, CUDA_MEMCPY3D_BATCH_OP* operations,
                                      unsigned long long flags, CUstream stream) {
  return api::cuMemcpy3DBatchAsync(count, operations, nullptr, flags, stream);
}

}  // namespace farcall::softgpu
