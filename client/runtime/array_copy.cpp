// Copies that may have a CUDA array at either end, which is on the device and known by its handle:
// cudaMemcpy2DToArray and its kin, and the three-dimensional copies. The runtime counts some of
// them in elements of the array, so its format is asked for first: one round trip for an array, and
// only then.
#include <cuda.h>
#include <driver_types.h>

#include <algorithm>

#include "client/copy.h"
#include "client/copy_batch.h"
#include "client/runtime/copy_3d.h"
#include "client/runtime/copy_kind.h"
#include "client/runtime_bodies.h"
#include "client/runtime_structs.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/runtime_texture.capnp.h"

namespace farcall::client::runtime {
namespace {

using rpc::HandleId;
using rpc::HandleType;

// An array's shape, as far as copies need it.
struct ArrayShape {
  uint64_t element_bytes = 0;
  uint64_t row_bytes = 0;
};

int shape_of(Session& session, HandleId array, ArrayShape* out) {
  CachedCall call(session, rpc::Opcode::k_cudaArrayGetInfo);
  auto args = call.args<rpc::schema::CudaArrayGetInfo>();
  args.setHasDesc(true);
  args.setHasExtent(true);
  args.setArray(array);
  rpc::Reply reply = call.wait();
  if (reply.result() != 0) return reply.result();
  const auto results = reply.results<rpc::schema::CudaArrayGetInfoResults>();
  cudaChannelFormatDesc format = {};
  cudaExtent extent = {};
  get(results.getDesc(), format);
  get(results.getExtent(), extent);
  out->element_bytes = static_cast<uint64_t>(format.x + format.y + format.z + format.w) / 8;
  out->row_bytes = out->element_bytes * extent.width;
  return out->element_bytes == 0 ? cudaErrorInvalidValue : cudaSuccess;
}

int check_array(Session& session, HandleId array) {
  return array != 0 && usable(session, array, HandleType::kArray) ? cudaSuccess
                                                                  : cudaErrorInvalidResourceHandle;
}

Side in_array(HandleId array, uint64_t x_bytes, uint64_t y, uint64_t z) {
  Side side;
  side.array = array;
  side.x_bytes = x_bytes;
  side.y = y;
  side.z = z;
  return side;
}
Side in_memory(uint64_t address, uint64_t pitch, uint64_t slice_rows) {
  Side side;
  side.address = address;
  side.pitch_bytes = pitch;
  side.slice_rows = slice_rows;
  return side;
}

// The array is on the device, so the kind says where the other end is.
int other_end(cudaMemcpyKind kind, uint64_t address, bool array_is_destination, bool* on_device) {
  const cudaMemcpyKind from_host =
      array_is_destination ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  if (kind == from_host) {
    *on_device = false;
  } else if (kind == cudaMemcpyDeviceToDevice) {
    *on_device = true;
  } else if (kind == cudaMemcpyDefault) {
    *on_device = classify(address, 0) == Direction::kHostToDevice;
  } else {
    return cudaErrorInvalidMemcpyDirection;
  }
  return cudaSuccess;
}

int rows_to_array(Session& session, HandleId array, size_t x_bytes, size_t y, const void* src,
                  size_t pitch, size_t width, size_t height, cudaMemcpyKind kind, HandleId stream) {
  if (const int failed = check_array(session, array)) return failed;
  bool on_device = false;
  if (const int failed = other_end(kind, address_of(src), true, &on_device)) return failed;
  if (height > 1 && width > pitch) return cudaErrorInvalidPitchValue;
  if (src == nullptr && width != 0 && height != 0) return cudaErrorInvalidValue;
  return copy_rows(session, direction_of(true, on_device), in_array(array, x_bytes, y, 0),
                   in_memory(address_of(src), pitch, height), {width, height, 1}, stream);
}

int rows_from_array(Session& session, void* dst, size_t pitch, HandleId array, size_t x_bytes,
                    size_t y, size_t width, size_t height, cudaMemcpyKind kind, HandleId stream) {
  if (const int failed = check_array(session, array)) return failed;
  bool on_device = false;
  if (const int failed = other_end(kind, address_of(dst), false, &on_device)) return failed;
  if (height > 1 && width > pitch) return cudaErrorInvalidPitchValue;
  if (dst == nullptr && width != 0 && height != 0) return cudaErrorInvalidValue;
  return copy_rows(session, direction_of(on_device, true),
                   in_memory(address_of(dst), pitch, height), in_array(array, x_bytes, y, 0),
                   {width, height, 1}, stream);
}

// The older calls take a number of bytes that go on in the array's next row: f(x_bytes, y, offset,
// width, rows) for what is left of the first row, whole rows, and the beginning of the last.
template <class Copy>
int in_rows(Session& session, HandleId array, size_t x_bytes, size_t y, size_t count, Copy copy) {
  ArrayShape shape;
  if (const int failed = check_array(session, array)) return failed;
  if (const int failed = shape_of(session, array, &shape)) return failed;
  if (x_bytes >= shape.row_bytes) return count == 0 ? cudaSuccess : cudaErrorInvalidValue;
  size_t done = 0;
  while (done < count) {
    const size_t left = count - done;
    size_t width = std::min<size_t>(left, shape.row_bytes - x_bytes), rows = 1;
    if (x_bytes == 0 && left >= shape.row_bytes) rows = left / shape.row_bytes;
    if (const int failed = copy(x_bytes, y, done, width, rows)) return failed;
    done += width * rows;
    y += rows;
    x_bytes = 0;
  }
  return cudaSuccess;
}

int bytes_to_array(Session& session, HandleId array, size_t x_bytes, size_t y, const void* src,
                   size_t count, cudaMemcpyKind kind, HandleId stream) {
  return in_rows(session, array, x_bytes, y, count,
                 [&](size_t x, size_t row, size_t offset, size_t width, size_t rows) {
                   return rows_to_array(session, array, x, row,
                                        static_cast<const std::byte*>(src) + offset, width, width,
                                        rows, kind, stream);
                 });
}

int bytes_from_array(Session& session, void* dst, HandleId array, size_t x_bytes, size_t y,
                     size_t count, cudaMemcpyKind kind, HandleId stream) {
  return in_rows(session, array, x_bytes, y, count,
                 [&](size_t x, size_t row, size_t offset, size_t width, size_t rows) {
                   return rows_from_array(session, static_cast<std::byte*>(dst) + offset, width,
                                          array, x, row, width, rows, kind, stream);
                 });
}

HandleId default_stream(Session& session, bool per_thread_default) {
  return stream_id(session, nullptr, per_thread_default);
}

// ---- three dimensions ----

}  // namespace

int read_copy(Session& session, const cudaMemcpy3DParms* p, CopyNode* out) {
  if (p == nullptr) return cudaErrorInvalidValue;
  const HandleId from_array = id_of(p->srcArray), to_array = id_of(p->dstArray);
  if ((from_array != 0 && p->srcPtr.ptr != nullptr) || (to_array != 0 && p->dstPtr.ptr != nullptr))
    return cudaErrorInvalidValue;
  // An array's positions are in its elements, and so is the width if one takes part.
  uint64_t unit = 1, from_unit = 1, to_unit = 1;
  const auto unit_of = [&session](HandleId array, uint64_t* of_array) -> int {
    ArrayShape shape;
    if (const int failed = check_array(session, array)) return failed;
    if (const int failed = shape_of(session, array, &shape)) return failed;
    *of_array = shape.element_bytes;
    return cudaSuccess;
  };
  if (from_array != 0) {
    if (const int failed = unit_of(from_array, &from_unit)) return failed;
    unit = from_unit;
  }
  if (to_array != 0) {
    if (const int failed = unit_of(to_array, &to_unit)) return failed;
    unit = to_unit;
  }
  if (from_array != 0 && to_array != 0 && from_unit != to_unit) return cudaErrorInvalidValue;
  out->extent = {p->extent.width * unit, p->extent.height, p->extent.depth};

  if (from_array == 0 && to_array == 0) {
    Direction direction;
    if (!direction_from(p->kind, address_of(p->dstPtr.ptr), address_of(p->srcPtr.ptr), &direction))
      return cudaErrorInvalidMemcpyDirection;
    out->to_device =
        direction == Direction::kHostToDevice || direction == Direction::kDeviceToDevice;
    out->from_device =
        direction == Direction::kDeviceToHost || direction == Direction::kDeviceToDevice;
  } else {
    out->to_device = out->from_device = true;
    if (from_array == 0) {
      if (const int failed = other_end(p->kind, address_of(p->srcPtr.ptr), true, &out->from_device))
        return failed;
    } else if (to_array == 0) {
      if (const int failed = other_end(p->kind, address_of(p->dstPtr.ptr), false, &out->to_device))
        return failed;
    } else if (p->kind != cudaMemcpyDeviceToDevice && p->kind != cudaMemcpyDefault) {
      return cudaErrorInvalidMemcpyDirection;
    }
  }
  const auto side = [](HandleId array, uint64_t array_unit, const cudaPitchedPtr& memory,
                       const cudaPos& pos) {
    if (array != 0) return in_array(array, pos.x * array_unit, pos.y, pos.z);
    return in_memory(address_of(memory.ptr) + (pos.z * memory.ysize + pos.y) * memory.pitch + pos.x,
                     memory.pitch, memory.ysize);
  };
  out->to = side(to_array, to_unit, p->dstPtr, p->dstPos);
  out->from = side(from_array, from_unit, p->srcPtr, p->srcPos);
  return cudaSuccess;
}

int element_bytes(Session& session, cudaArray_const_t array, uint64_t* out) {
  ArrayShape shape;
  if (const int failed = check_array(session, id_of(array))) return failed;
  if (const int failed = shape_of(session, id_of(array), &shape)) return failed;
  *out = shape.element_bytes;
  return cudaSuccess;
}

namespace {

int copy_3d(Session& session, const cudaMemcpy3DParms* p, HandleId stream, HandleId to_context = 0,
            HandleId from_context = 0) {
  CopyNode copy;
  if (const int failed = read_copy(session, p, &copy)) return failed;
  copy.to.context = to_context;
  copy.from.context = from_context;
  return copy_rows(session, direction_of(copy.to_device, copy.from_device), copy.to, copy.from,
                   copy.extent, stream);
}

// The same between devices: positions and extent as above, and each side's device.
int copy_3d_peer(Session& session, const cudaMemcpy3DPeerParms* p, HandleId stream) {
  if (p == nullptr) return cudaErrorInvalidValue;
  for (const int device : {p->srcDevice, p->dstDevice}) {
    if (device < 0 || size_t(device) >= session.devices().size()) return cudaErrorInvalidDevice;
  }
  cudaMemcpy3DParms plain = {};
  plain.srcArray = p->srcArray;
  plain.srcPos = p->srcPos;
  plain.srcPtr = p->srcPtr;
  plain.dstArray = p->dstArray;
  plain.dstPos = p->dstPos;
  plain.dstPtr = p->dstPtr;
  plain.extent = p->extent;
  plain.kind = cudaMemcpyDeviceToDevice;
  return copy_3d(session, &plain, stream, rpc::primary_context_id(p->dstDevice),
                 rpc::primary_context_id(p->srcDevice));
}

}  // namespace

int cudaMemcpy3DPeer(Session& session, const cudaMemcpy3DPeerParms* p, bool per_thread_default) {
  return copy_3d_peer(session, p, default_stream(session, per_thread_default));
}
int cudaMemcpy3DPeerAsync(Session& session, const cudaMemcpy3DPeerParms* p, cudaStream_t stream,
                          bool per_thread_default) {
  return copy_3d_peer(session, p, stream_id(session, stream, per_thread_default));
}

int cudaMemcpy3D(Session& session, const cudaMemcpy3DParms* p, bool per_thread_default) {
  return copy_3d(session, p, default_stream(session, per_thread_default));
}
int cudaMemcpy3DAsync(Session& session, const cudaMemcpy3DParms* p, cudaStream_t stream,
                      bool per_thread_default) {
  return copy_3d(session, p, stream_id(session, stream, per_thread_default));
}

// --- Two dimensions

int cudaMemcpy2DToArray(Session& session, cudaArray_t dst, size_t wOffset, size_t hOffset,
                        const void* src, size_t spitch, size_t width, size_t height,
                        cudaMemcpyKind kind, bool per_thread_default) {
  return rows_to_array(session, id_of(dst), wOffset, hOffset, src, spitch, width, height, kind,
                       default_stream(session, per_thread_default));
}
int cudaMemcpy2DToArrayAsync(Session& session, cudaArray_t dst, size_t wOffset, size_t hOffset,
                             const void* src, size_t spitch, size_t width, size_t height,
                             cudaMemcpyKind kind, cudaStream_t stream, bool per_thread_default) {
  return rows_to_array(session, id_of(dst), wOffset, hOffset, src, spitch, width, height, kind,
                       stream_id(session, stream, per_thread_default));
}
int cudaMemcpy2DFromArray(Session& session, void* dst, size_t dpitch, cudaArray_const_t src,
                          size_t wOffset, size_t hOffset, size_t width, size_t height,
                          cudaMemcpyKind kind, bool per_thread_default) {
  return rows_from_array(session, dst, dpitch, id_of(src), wOffset, hOffset, width, height, kind,
                         default_stream(session, per_thread_default));
}
int cudaMemcpy2DFromArrayAsync(Session& session, void* dst, size_t dpitch, cudaArray_const_t src,
                               size_t wOffset, size_t hOffset, size_t width, size_t height,
                               cudaMemcpyKind kind, cudaStream_t stream, bool per_thread_default) {
  return rows_from_array(session, dst, dpitch, id_of(src), wOffset, hOffset, width, height, kind,
                         stream_id(session, stream, per_thread_default));
}
int cudaMemcpy2DArrayToArray(Session& session, cudaArray_t dst, size_t wOffsetDst,
                             size_t hOffsetDst, cudaArray_const_t src, size_t wOffsetSrc,
                             size_t hOffsetSrc, size_t width, size_t height, cudaMemcpyKind kind,
                             bool per_thread_default) {
  if (kind != cudaMemcpyDeviceToDevice && kind != cudaMemcpyDefault)
    return cudaErrorInvalidMemcpyDirection;
  if (const int failed = check_array(session, id_of(dst))) return failed;
  if (const int failed = check_array(session, id_of(src))) return failed;
  return copy_rows(session, Direction::kDeviceToDevice,
                   in_array(id_of(dst), wOffsetDst, hOffsetDst, 0),
                   in_array(id_of(src), wOffsetSrc, hOffsetSrc, 0), {width, height, 1},
                   default_stream(session, per_thread_default));
}

// Goes on in the next row of both, which may be of different length.
int cudaMemcpyArrayToArray(Session& session, cudaArray_t dst, size_t wOffsetDst, size_t hOffsetDst,
                           cudaArray_const_t src, size_t wOffsetSrc, size_t hOffsetSrc,
                           size_t count, cudaMemcpyKind kind, bool per_thread_default) {
  if (kind != cudaMemcpyDeviceToDevice && kind != cudaMemcpyDefault)
    return cudaErrorInvalidMemcpyDirection;
  if (const int failed = check_array(session, id_of(dst))) return failed;
  const HandleId stream = default_stream(session, per_thread_default);
  ArrayShape to;
  if (const int failed = shape_of(session, id_of(dst), &to)) return failed;
  if (count != 0 && wOffsetDst >= to.row_bytes) return cudaErrorInvalidValue;
  return in_rows(
      session, id_of(src), wOffsetSrc, hOffsetSrc, count,
      [&](size_t x, size_t row, size_t offset, size_t width, size_t rows) -> int {
        for (size_t i = 0; i < rows; ++i) {
          for (size_t done = 0; done < width;) {
            const size_t at = wOffsetDst + offset + i * width + done;
            const size_t part = std::min<size_t>(width - done, to.row_bytes - at % to.row_bytes);
            if (const int failed = copy_rows(
                    session, Direction::kDeviceToDevice,
                    in_array(id_of(dst), at % to.row_bytes, hOffsetDst + at / to.row_bytes, 0),
                    in_array(id_of(src), x + done, row + i, 0), {part, 1, 1}, stream)) {
              return failed;
            }
            done += part;
          }
        }
        return cudaSuccess;
      });
}

// --- Batches: the structs are the driver's

int cudaMemcpyBatchAsync(Session& session, void* const* dsts, const void* const* srcs,
                         const size_t* sizes, size_t count, cudaMemcpyAttributes* attrs,
                         size_t* attrsIdxs, size_t numAttrs, cudaStream_t stream,
                         bool per_thread_default) {
  static_assert(sizeof(cudaMemcpyAttributes) == sizeof(CUmemcpyAttributes));
  return copy_batch(session, reinterpret_cast<const CUdeviceptr*>(dsts),
                    reinterpret_cast<const CUdeviceptr*>(srcs), sizes, count,
                    reinterpret_cast<const CUmemcpyAttributes*>(attrs), attrsIdxs, numAttrs,
                    nullptr, stream_id(session, stream, per_thread_default));
}

int cudaMemcpy3DBatchAsync(Session& session, size_t numOps, cudaMemcpy3DBatchOp* opList,
                           unsigned long long flags, cudaStream_t stream, bool per_thread_default) {
  static_assert(sizeof(cudaMemcpy3DBatchOp) == sizeof(CUDA_MEMCPY3D_BATCH_OP));
  return copy_box_batch(session, reinterpret_cast<const CUDA_MEMCPY3D_BATCH_OP*>(opList), numOps,
                        nullptr, flags, stream_id(session, stream, per_thread_default));
}

// --- A number of bytes

int cudaMemcpyToArray(Session& session, cudaArray_t dst, size_t wOffset, size_t hOffset,
                      const void* src, size_t count, cudaMemcpyKind kind, bool per_thread_default) {
  return bytes_to_array(session, id_of(dst), wOffset, hOffset, src, count, kind,
                        default_stream(session, per_thread_default));
}
int cudaMemcpyToArrayAsync(Session& session, cudaArray_t dst, size_t wOffset, size_t hOffset,
                           const void* src, size_t count, cudaMemcpyKind kind, cudaStream_t stream,
                           bool per_thread_default) {
  return bytes_to_array(session, id_of(dst), wOffset, hOffset, src, count, kind,
                        stream_id(session, stream, per_thread_default));
}
int cudaMemcpyFromArray(Session& session, void* dst, cudaArray_const_t src, size_t wOffset,
                        size_t hOffset, size_t count, cudaMemcpyKind kind,
                        bool per_thread_default) {
  return bytes_from_array(session, dst, id_of(src), wOffset, hOffset, count, kind,
                          default_stream(session, per_thread_default));
}
int cudaMemcpyFromArrayAsync(Session& session, void* dst, cudaArray_const_t src, size_t wOffset,
                             size_t hOffset, size_t count, cudaMemcpyKind kind, cudaStream_t stream,
                             bool per_thread_default) {
  return bytes_from_array(session, dst, id_of(src), wOffset, hOffset, count, kind,
                          stream_id(session, stream, per_thread_default));
}

}  // namespace farcall::client::runtime
