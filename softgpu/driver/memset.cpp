// Filling memory: elements of 1, 2 or 4 bytes, in one row or in rows with a pitch.
#include "softgpu/driver/memset.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {

CUresult make_memset(const CUDA_MEMSET_NODE_PARAMS& shape, MemsetWork* out, bool* on_host) {
  const size_t element = shape.elementSize;
  if (element != 1 && element != 2 && element != 4) return CUDA_ERROR_INVALID_VALUE;
  *out = {};
  out->element_bytes = shape.elementSize;
  out->value = shape.value;
  out->width = shape.width;
  out->height = shape.height;
  out->pitch = shape.pitch;
  if (on_host != nullptr) *on_host = false;
  if (shape.width == 0 || shape.height == 0) {
    out->height = 0;
    return CUDA_SUCCESS;
  }
  size_t row, span;
  if (__builtin_mul_overflow(shape.width, element, &row) || shape.dst % element != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (shape.height > 1 && (shape.pitch < row || shape.pitch % element != 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (__builtin_mul_overflow(shape.pitch, shape.height - 1, &span) ||
      __builtin_add_overflow(span, row, &span) || !is_accessible(shape.dst, span)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (on_host != nullptr) *on_host = locate(shape.dst, span).kind == Place::Kind::kHost;
  out->target = reinterpret_cast<std::byte*>(shape.dst);
  return CUDA_SUCCESS;
}

namespace {

CUDA_MEMSET_NODE_PARAMS row(CUdeviceptr target, unsigned element_bytes, unsigned value,
                            size_t count) {
  return {target, 0, value, element_bytes, count, 1};
}
CUDA_MEMSET_NODE_PARAMS rows(CUdeviceptr target, size_t pitch, unsigned element_bytes,
                             unsigned value, size_t width, size_t height) {
  return {target, pitch, value, element_bytes, width, height};
}

CUresult memset_async(CUstream handle, const CUDA_MEMSET_NODE_PARAMS& shape) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  MemsetWork work;
  if (CUresult error = make_memset(shape, &work, nullptr)) return error;
  return stream->context().submit(*stream, work,
                                  [&shape](NodeContent& content) { content.memset = shape; });
}

// Like CUDA's, it returns when the work is submitted, unless the memory is the host's too.
CUresult memset_sync(const CUDA_MEMSET_NODE_PARAMS& shape) {
  StreamRef stream;
  if (CUresult error = find_stream(nullptr, &stream)) return error;
  MemsetWork work;
  bool on_host;
  if (CUresult error = make_memset(shape, &work, &on_host)) return error;
  if (CUresult error = check_not_capturing(*stream)) return error;
  if (on_host) return stream->context().run_now(*stream, work);
  stream->context().enqueue(*stream, work);
  return stream->context().failure();
}

}  // namespace

CUresult api::cuMemsetD8_v2(CUdeviceptr target, unsigned char value, size_t count) {
  return memset_sync(row(target, 1, value, count));
}
CUresult api::cuMemsetD16_v2(CUdeviceptr target, unsigned short value, size_t count) {
  return memset_sync(row(target, 2, value, count));
}
CUresult api::cuMemsetD32_v2(CUdeviceptr target, unsigned value, size_t count) {
  return memset_sync(row(target, 4, value, count));
}
CUresult api::cuMemsetD2D8_v2(CUdeviceptr target, size_t pitch, unsigned char value, size_t width,
                              size_t height) {
  return memset_sync(rows(target, pitch, 1, value, width, height));
}
CUresult api::cuMemsetD2D16_v2(CUdeviceptr target, size_t pitch, unsigned short value, size_t width,
                               size_t height) {
  return memset_sync(rows(target, pitch, 2, value, width, height));
}
CUresult api::cuMemsetD2D32_v2(CUdeviceptr target, size_t pitch, unsigned value, size_t width,
                               size_t height) {
  return memset_sync(rows(target, pitch, 4, value, width, height));
}

CUresult api::cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t count,
                              CUstream stream) {
  return memset_async(stream, row(target, 1, value, count));
}
CUresult api::cuMemsetD16Async(CUdeviceptr target, unsigned short value, size_t count,
                               CUstream stream) {
  return memset_async(stream, row(target, 2, value, count));
}
CUresult api::cuMemsetD32Async(CUdeviceptr target, unsigned value, size_t count, CUstream stream) {
  return memset_async(stream, row(target, 4, value, count));
}
CUresult api::cuMemsetD2D8Async(CUdeviceptr target, size_t pitch, unsigned char value, size_t width,
                                size_t height, CUstream stream) {
  return memset_async(stream, rows(target, pitch, 1, value, width, height));
}
CUresult api::cuMemsetD2D16Async(CUdeviceptr target, size_t pitch, unsigned short value,
                                 size_t width, size_t height, CUstream stream) {
  return memset_async(stream, rows(target, pitch, 2, value, width, height));
}
CUresult api::cuMemsetD2D32Async(CUdeviceptr target, size_t pitch, unsigned value, size_t width,
                                 size_t height, CUstream stream) {
  return memset_async(stream, rows(target, pitch, 4, value, width, height));
}

}  // namespace farcall::softgpu
