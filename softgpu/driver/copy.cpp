#include "softgpu/driver/copy.h"

#include <algorithm>

#include "softgpu/driver/array.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

// Pageable sources up to this size are copied aside so that the call can return; for larger ones it
// waits.
constexpr size_t kStagedMax = size_t{1} << 20;

// One end of a copy.
struct End {
  std::byte* start = nullptr;
  size_t pitch = 0, plane = 0;
  Place::Kind place = Place::Kind::kPageable;
  bool writable = true;
  std::shared_ptr<void> keep;
};

struct Extent {
  size_t width, height, depth;
};

// a * b + c without overflow.
bool multiply_add(size_t a, size_t b, size_t c, size_t* out) {
  return !__builtin_mul_overflow(a, b, out) && !__builtin_add_overflow(*out, c, out);
}

CUresult end_in_array(CUarray handle, size_t x, size_t y, size_t z, const Extent& extent,
                      End* end) {
  std::shared_ptr<Array> array = driver().arrays.find(handle);
  if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const auto fits = [](size_t start, size_t count, size_t size) {
    return start <= size && count <= size - start;
  };
  if (!fits(x, extent.width, array->row_bytes()) || !fits(y, extent.height, array->rows()) ||
      !fits(z, extent.depth, array->planes())) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  end->pitch = array->pitch();
  end->plane = array->pitch() * array->rows();
  end->start = array->data() + z * end->plane + y * end->pitch + x;
  end->place = Place::Kind::kDevice;
  end->keep = array;
  return CUDA_SUCCESS;
}

CUresult end_in_memory(CUmemorytype type, uint64_t base, size_t x, size_t y, size_t z, size_t pitch,
                       size_t rows, const Extent& extent, End* end) {
  if (base == 0) return CUDA_ERROR_INVALID_VALUE;
  if (rows == 0) rows = extent.height;
  if (extent.height > 1 || extent.depth > 1) {
    if (pitch < extent.width || pitch - extent.width < x) return CUDA_ERROR_INVALID_VALUE;
    if (extent.depth > 1 && rows < extent.height) return CUDA_ERROR_INVALID_VALUE;
  }
  size_t plane, offset, span;
  if (!multiply_add(pitch, rows, 0, &plane) || !multiply_add(plane, z, x, &offset) ||
      !multiply_add(pitch, y, offset, &offset) ||
      !multiply_add(plane, extent.depth - 1, extent.width, &span) ||
      !multiply_add(pitch, extent.height - 1, span, &span) || offset > UINT64_MAX - base ||
      span > UINT64_MAX - base - offset) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Place place = locate(base + offset, span);
  if (place.kind == Place::Kind::kBeyond) return CUDA_ERROR_INVALID_VALUE;
  if (place.region && place.region->kind == Region::Kind::kArray) return CUDA_ERROR_INVALID_VALUE;
  if (type == CU_MEMORYTYPE_HOST && place.kind == Place::Kind::kDevice) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (type == CU_MEMORYTYPE_DEVICE && place.kind == Place::Kind::kPageable) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  end->start = reinterpret_cast<std::byte*>(base + offset);
  end->pitch = pitch;
  end->plane = plane;
  end->place = place.kind;
  end->writable = place.writable;
  return CUDA_SUCCESS;
}

}  // namespace

CUresult make_copy(const CUDA_MEMCPY3D& shape, Copy* out) {
  const Extent extent{shape.WidthInBytes, shape.Height, shape.Depth};
  *out = {};
  out->work.width = extent.width;
  out->work.height = extent.height;
  out->work.depth = extent.depth;
  if (extent.width == 0 || extent.height == 0 || extent.depth == 0) {
    out->work.width = 0;  // nothing is copied, whatever the pointers are
    return CUDA_SUCCESS;
  }
  const auto end_of = [&extent](CUmemorytype type, const void* host, CUdeviceptr device,
                                CUarray array, size_t x, size_t y, size_t z, size_t pitch,
                                size_t rows, End* end) {
    switch (type) {
      case CU_MEMORYTYPE_HOST:
        return end_in_memory(type, reinterpret_cast<uint64_t>(host), x, y, z, pitch, rows, extent,
                             end);
      case CU_MEMORYTYPE_DEVICE:
      case CU_MEMORYTYPE_UNIFIED:
        return end_in_memory(type, device, x, y, z, pitch, rows, extent, end);
      case CU_MEMORYTYPE_ARRAY:
        return end_in_array(array, x, y, z, extent, end);
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
  };
  End source, target;
  if (CUresult error = end_of(shape.srcMemoryType, shape.srcHost, shape.srcDevice, shape.srcArray,
                              shape.srcXInBytes, shape.srcY, shape.srcZ, shape.srcPitch,
                              shape.srcHeight, &source)) {
    return error;
  }
  if (CUresult error = end_of(shape.dstMemoryType, shape.dstHost, shape.dstDevice, shape.dstArray,
                              shape.dstXInBytes, shape.dstY, shape.dstZ, shape.dstPitch,
                              shape.dstHeight, &target)) {
    return error;
  }
  if (!target.writable) return CUDA_ERROR_INVALID_VALUE;
  out->work.source = source.start;
  out->work.source_pitch = source.pitch;
  out->work.source_plane = source.plane;
  out->work.source_keep = std::move(source.keep);
  out->work.target = target.start;
  out->work.target_pitch = target.pitch;
  out->work.target_plane = target.plane;
  out->work.target_keep = std::move(target.keep);
  out->source_pageable = source.place == Place::Kind::kPageable;
  out->target_pageable = target.place == Place::Kind::kPageable;
  out->within_devices =
      source.place == Place::Kind::kDevice && target.place == Place::Kind::kDevice;
  return CUDA_SUCCESS;
}

CUDA_MEMCPY3D linear_copy(CUmemorytype target_type, uint64_t target, CUmemorytype source_type,
                          uint64_t source, size_t bytes) {
  CUDA_MEMCPY3D shape = {};
  shape.srcMemoryType = source_type;
  if (source_type == CU_MEMORYTYPE_HOST) {
    shape.srcHost = reinterpret_cast<const void*>(source);
  } else {
    shape.srcDevice = source;
  }
  shape.dstMemoryType = target_type;
  if (target_type == CU_MEMORYTYPE_HOST) {
    shape.dstHost = reinterpret_cast<void*>(target);
  } else {
    shape.dstDevice = target;
  }
  shape.srcPitch = shape.dstPitch = shape.WidthInBytes = bytes;
  shape.srcHeight = shape.dstHeight = shape.Height = shape.Depth = 1;
  return shape;
}

CUDA_MEMCPY3D as_3d(const CUDA_MEMCPY2D& flat) {
  CUDA_MEMCPY3D shape = {};
  shape.srcXInBytes = flat.srcXInBytes;
  shape.srcY = flat.srcY;
  shape.srcMemoryType = flat.srcMemoryType;
  shape.srcHost = flat.srcHost;
  shape.srcDevice = flat.srcDevice;
  shape.srcArray = flat.srcArray;
  shape.srcPitch = flat.srcPitch;
  shape.dstXInBytes = flat.dstXInBytes;
  shape.dstY = flat.dstY;
  shape.dstMemoryType = flat.dstMemoryType;
  shape.dstHost = flat.dstHost;
  shape.dstDevice = flat.dstDevice;
  shape.dstArray = flat.dstArray;
  shape.dstPitch = flat.dstPitch;
  shape.WidthInBytes = flat.WidthInBytes;
  shape.Height = flat.Height;
  shape.Depth = 1;
  return shape;
}

CUresult copy_async(CUstream handle, const CUDA_MEMCPY3D& shape, SourceRead read) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  Copy copy;
  if (CUresult error = make_copy(shape, &copy)) return error;
  const auto describe = [&shape](NodeContent& content) { content.memcpy = shape; };
  if (stream->capture() != nullptr) {
    return stream->context().submit(*stream, std::move(copy.work), describe);
  }
  bool wait = copy.target_pageable;
  if (copy.source_pageable && !wait && read == SourceRead::kBeforeReturn) {
    if (copy.work.bytes() <= kStagedMax) {
      copy.work.stage();
    } else {
      wait = true;
    }
  }
  OperationRef operation;
  if (CUresult error =
          stream->context().submit(*stream, std::move(copy.work), describe, &operation)) {
    return error;
  }
  return wait && operation != nullptr ? stream->context().wait_for(operation) : CUDA_SUCCESS;
}

CUresult copy_sync(const CUDA_MEMCPY3D& shape) {
  StreamRef stream;
  if (CUresult error = find_stream(nullptr, &stream)) return error;
  Copy copy;
  if (CUresult error = make_copy(shape, &copy)) return error;
  if (CUresult error = check_not_capturing(*stream)) return error;
  Context& context = stream->context();
  // Nobody waits for a copy within devices: what comes later comes after it anyway.
  if (!copy.within_devices) return context.run_now(*stream, std::move(copy.work));
  context.enqueue(*stream, std::move(copy.work));
  return context.failure();
}

// ------------------------------------------------------------------ one row

CUresult api::cuMemcpy(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
  return copy_sync(
      linear_copy(CU_MEMORYTYPE_UNIFIED, target, CU_MEMORYTYPE_UNIFIED, source, bytes));
}
CUresult api::cuMemcpyAsync(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream stream) {
  return copy_async(
      stream, linear_copy(CU_MEMORYTYPE_UNIFIED, target, CU_MEMORYTYPE_UNIFIED, source, bytes));
}

CUresult api::cuMemcpyHtoD_v2(CUdeviceptr target, const void* source, size_t bytes) {
  return copy_sync(linear_copy(CU_MEMORYTYPE_DEVICE, target, CU_MEMORYTYPE_HOST,
                               reinterpret_cast<uint64_t>(source), bytes));
}
CUresult api::cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void* source, size_t bytes,
                                   CUstream stream) {
  return copy_async(stream, linear_copy(CU_MEMORYTYPE_DEVICE, target, CU_MEMORYTYPE_HOST,
                                        reinterpret_cast<uint64_t>(source), bytes));
}

CUresult api::cuMemcpyDtoH_v2(void* target, CUdeviceptr source, size_t bytes) {
  return copy_sync(linear_copy(CU_MEMORYTYPE_HOST, reinterpret_cast<uint64_t>(target),
                               CU_MEMORYTYPE_DEVICE, source, bytes));
}
CUresult api::cuMemcpyDtoHAsync_v2(void* target, CUdeviceptr source, size_t bytes,
                                   CUstream stream) {
  return copy_async(stream, linear_copy(CU_MEMORYTYPE_HOST, reinterpret_cast<uint64_t>(target),
                                        CU_MEMORYTYPE_DEVICE, source, bytes));
}

CUresult api::cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
  return copy_sync(linear_copy(CU_MEMORYTYPE_DEVICE, target, CU_MEMORYTYPE_DEVICE, source, bytes));
}
CUresult api::cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes,
                                   CUstream stream) {
  return copy_async(stream,
                    linear_copy(CU_MEMORYTYPE_DEVICE, target, CU_MEMORYTYPE_DEVICE, source, bytes));
}

// The addresses alone say where things are.
namespace {

// Comes after everything that the contexts have been asked to do, and before what they are asked
// next: CUDA's promise for copies between devices that name no stream.
CUresult copy_between(const ContextRef& one, const ContextRef& other, const CUDA_MEMCPY3D& shape) {
  StreamRef stream;
  if (CUresult error = find_stream(nullptr, &stream)) return error;
  Copy copy;
  if (CUresult error = make_copy(shape, &copy)) return error;
  if (CUresult error = check_not_capturing(*stream)) return error;
  Context& here = stream->context();
  std::vector<OperationRef> after = {here.join()};
  for (const ContextRef& context : {one, other}) {
    if (context.get() != &here) after.push_back(context->join());
  }
  const OperationRef copied = here.enqueue(*stream, std::move(copy.work), after);
  here.wait_everywhere(copied);
  for (const ContextRef& context : {one, other}) {
    if (context.get() != &here) context->wait_everywhere(copied);
  }
  return copy.within_devices ? here.failure() : here.wait_for(copied);
}

}  // namespace

CUresult api::cuMemcpyPeer(CUdeviceptr target, CUcontext target_context, CUdeviceptr source,
                           CUcontext source_context, size_t bytes) {
  ContextRef one, other;
  if (CUresult error = find_context(target_context, &one)) return error;
  if (CUresult error = find_context(source_context, &other)) return error;
  return copy_between(
      one, other, linear_copy(CU_MEMORYTYPE_DEVICE, target, CU_MEMORYTYPE_DEVICE, source, bytes));
}
CUresult api::cuMemcpyPeerAsync(CUdeviceptr target, CUcontext target_context, CUdeviceptr source,
                                CUcontext source_context, size_t bytes, CUstream stream) {
  ContextRef one, other;
  if (CUresult error = find_context(target_context, &one)) return error;
  if (CUresult error = find_context(source_context, &other)) return error;
  return api::cuMemcpyDtoDAsync_v2(target, source, bytes, stream);
}

// ------------------------------------------------------------------ rows and planes

CUresult api::cuMemcpy2D_v2(const CUDA_MEMCPY2D* shape) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_sync(as_3d(*shape));
}
CUresult api::cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D* shape) {
  return api::cuMemcpy2D_v2(shape);
}
CUresult api::cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* shape, CUstream stream) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_async(stream, as_3d(*shape));
}

CUresult api::cuMemcpy3D_v2(const CUDA_MEMCPY3D* shape) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_sync(*shape);
}
CUresult api::cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D* shape, CUstream stream) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_async(stream, *shape);
}

namespace {

CUDA_MEMCPY3D without_contexts(const CUDA_MEMCPY3D_PEER& peer) {
  CUDA_MEMCPY3D shape = {};
  shape.srcXInBytes = peer.srcXInBytes;
  shape.srcY = peer.srcY;
  shape.srcZ = peer.srcZ;
  shape.srcMemoryType = peer.srcMemoryType;
  shape.srcHost = peer.srcHost;
  shape.srcDevice = peer.srcDevice;
  shape.srcArray = peer.srcArray;
  shape.srcPitch = peer.srcPitch;
  shape.srcHeight = peer.srcHeight;
  shape.dstXInBytes = peer.dstXInBytes;
  shape.dstY = peer.dstY;
  shape.dstZ = peer.dstZ;
  shape.dstMemoryType = peer.dstMemoryType;
  shape.dstHost = peer.dstHost;
  shape.dstDevice = peer.dstDevice;
  shape.dstArray = peer.dstArray;
  shape.dstPitch = peer.dstPitch;
  shape.dstHeight = peer.dstHeight;
  shape.WidthInBytes = peer.WidthInBytes;
  shape.Height = peer.Height;
  shape.Depth = peer.Depth;
  return shape;
}

}  // namespace

CUresult api::cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER* shape) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef one, other;
  if (CUresult error = find_context(shape->dstContext, &one)) return error;
  if (CUresult error = find_context(shape->srcContext, &other)) return error;
  return copy_between(one, other, without_contexts(*shape));
}
CUresult api::cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER* shape, CUstream stream) {
  if (shape == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_async(stream, without_contexts(*shape));
}

// ------------------------------------------------------------------ one-dimensional arrays, by
// byte offset

namespace {

struct ArraySpan {
  CUarray array;
  size_t offset;
};
void set_source(CUDA_MEMCPY3D* shape, ArraySpan span) {
  shape->srcMemoryType = CU_MEMORYTYPE_ARRAY;
  shape->srcArray = span.array;
  shape->srcXInBytes = span.offset;
}
void set_target(CUDA_MEMCPY3D* shape, ArraySpan span) {
  shape->dstMemoryType = CU_MEMORYTYPE_ARRAY;
  shape->dstArray = span.array;
  shape->dstXInBytes = span.offset;
}
CUDA_MEMCPY3D from_array(CUmemorytype type, uint64_t target, ArraySpan source, size_t bytes) {
  CUDA_MEMCPY3D shape = linear_copy(type, target, CU_MEMORYTYPE_HOST, 0, bytes);
  set_source(&shape, source);
  return shape;
}
CUDA_MEMCPY3D to_array(ArraySpan target, CUmemorytype type, uint64_t source, size_t bytes) {
  CUDA_MEMCPY3D shape = linear_copy(CU_MEMORYTYPE_HOST, 0, type, source, bytes);
  set_target(&shape, target);
  return shape;
}

}  // namespace

CUresult api::cuMemcpyHtoA_v2(CUarray target, size_t offset, const void* source, size_t bytes) {
  return copy_sync(
      to_array({target, offset}, CU_MEMORYTYPE_HOST, reinterpret_cast<uint64_t>(source), bytes));
}
CUresult api::cuMemcpyHtoAAsync_v2(CUarray target, size_t offset, const void* source, size_t bytes,
                                   CUstream stream) {
  return copy_async(stream, to_array({target, offset}, CU_MEMORYTYPE_HOST,
                                     reinterpret_cast<uint64_t>(source), bytes));
}
CUresult api::cuMemcpyAtoH_v2(void* target, CUarray source, size_t offset, size_t bytes) {
  return copy_sync(
      from_array(CU_MEMORYTYPE_HOST, reinterpret_cast<uint64_t>(target), {source, offset}, bytes));
}
CUresult api::cuMemcpyAtoHAsync_v2(void* target, CUarray source, size_t offset, size_t bytes,
                                   CUstream stream) {
  return copy_async(stream, from_array(CU_MEMORYTYPE_HOST, reinterpret_cast<uint64_t>(target),
                                       {source, offset}, bytes));
}
CUresult api::cuMemcpyDtoA_v2(CUarray target, size_t offset, CUdeviceptr source, size_t bytes) {
  return copy_sync(to_array({target, offset}, CU_MEMORYTYPE_DEVICE, source, bytes));
}
CUresult api::cuMemcpyAtoD_v2(CUdeviceptr target, CUarray source, size_t offset, size_t bytes) {
  return copy_sync(from_array(CU_MEMORYTYPE_DEVICE, target, {source, offset}, bytes));
}
CUresult api::cuMemcpyAtoA_v2(CUarray target, size_t target_offset, CUarray source,
                              size_t source_offset, size_t bytes) {
  CUDA_MEMCPY3D shape = linear_copy(CU_MEMORYTYPE_HOST, 0, CU_MEMORYTYPE_HOST, 0, bytes);
  set_source(&shape, {source, source_offset});
  set_target(&shape, {target, target_offset});
  return copy_sync(shape);
}

}  // namespace farcall::softgpu
