// Copies of the driver API with one-dimensional arrays, between contexts, and in batches. All of
// them are row copies or linear copies of client/copy.h.
#include <cuda.h>

#include <algorithm>

#include "client/copy.h"
#include "client/copy_batch.h"
#include "client/driver/copy_3d.h"
#include "client/driver_bodies.h"
#include "client/stub.h"
#include "client/stub_args.h"

namespace farcall::client::driver {
namespace {

using rpc::HandleId;

HandleId default_stream(Session& session, bool per_thread_default) {
  return stream_id(session, nullptr, per_thread_default);
}

Side in_array(CUarray array, uint64_t x_bytes) {
  Side side;
  side.array = id_of(array);
  side.x_bytes = x_bytes;
  return side;
}
Side in_memory(uint64_t address, uint64_t bytes) {
  Side side;
  side.address = address;
  side.pitch_bytes = bytes;
  side.slice_rows = 1;
  return side;
}

bool usable_array(Session& session, CUarray array) {
  return array != nullptr && usable(session, id_of(array), rpc::HandleType::kArray);
}

// One row between an array and linear memory, in pieces that a payload holds.
int copy_row(Session& session, Direction direction, CUarray array, size_t offset, uint64_t address,
             size_t bytes, bool to_array, HandleId stream) {
  if (!usable_array(session, array)) return CUDA_ERROR_INVALID_HANDLE;
  if (address == 0 && bytes != 0) return CUDA_ERROR_INVALID_VALUE;
  for (size_t done = 0; done < bytes;) {
    const size_t width = std::min<size_t>(bytes - done, rpc::kPayloadBytesMax);
    const Side one = in_array(array, offset + done), other = in_memory(address + done, width);
    if (const int failed = copy_rows(session, direction, to_array ? one : other,
                                     to_array ? other : one, {width, 1, 1}, stream)) {
      return failed;
    }
    done += width;
  }
  return CUDA_SUCCESS;
}

}  // namespace

// --- Arrays of one dimension

int cuMemcpyDtoA_v2(Session& session, CUarray dstArray, size_t dstOffset, CUdeviceptr srcDevice,
                    size_t ByteCount, bool per_thread_default) {
  return copy_row(session, Direction::kDeviceToDevice, dstArray, dstOffset, srcDevice, ByteCount,
                  true, default_stream(session, per_thread_default));
}

int cuMemcpyAtoD_v2(Session& session, CUdeviceptr dstDevice, CUarray srcArray, size_t srcOffset,
                    size_t ByteCount, bool per_thread_default) {
  return copy_row(session, Direction::kDeviceToDevice, srcArray, srcOffset, dstDevice, ByteCount,
                  false, default_stream(session, per_thread_default));
}

int cuMemcpyHtoA_v2(Session& session, CUarray dstArray, size_t dstOffset, const void* srcHost,
                    size_t ByteCount, bool per_thread_default) {
  return copy_row(session, Direction::kHostToDevice, dstArray, dstOffset, address_of(srcHost),
                  ByteCount, true, default_stream(session, per_thread_default));
}

int cuMemcpyHtoAAsync_v2(Session& session, CUarray dstArray, size_t dstOffset, const void* srcHost,
                         size_t ByteCount, CUstream hStream, bool per_thread_default) {
  return copy_row(session, Direction::kHostToDevice, dstArray, dstOffset, address_of(srcHost),
                  ByteCount, true, stream_id(session, hStream, per_thread_default));
}

int cuMemcpyAtoH_v2(Session& session, void* dstHost, CUarray srcArray, size_t srcOffset,
                    size_t ByteCount, bool per_thread_default) {
  return copy_row(session, Direction::kDeviceToHost, srcArray, srcOffset, address_of(dstHost),
                  ByteCount, false, default_stream(session, per_thread_default));
}

int cuMemcpyAtoHAsync_v2(Session& session, void* dstHost, CUarray srcArray, size_t srcOffset,
                         size_t ByteCount, CUstream hStream, bool per_thread_default) {
  return copy_row(session, Direction::kDeviceToHost, srcArray, srcOffset, address_of(dstHost),
                  ByteCount, false, stream_id(session, hStream, per_thread_default));
}

int cuMemcpyAtoA_v2(Session& session, CUarray dstArray, size_t dstOffset, CUarray srcArray,
                    size_t srcOffset, size_t ByteCount, bool per_thread_default) {
  if (!usable_array(session, dstArray) || !usable_array(session, srcArray))
    return CUDA_ERROR_INVALID_HANDLE;
  return copy_rows(session, Direction::kDeviceToDevice, in_array(dstArray, dstOffset),
                   in_array(srcArray, srcOffset), {ByteCount, 1, 1},
                   default_stream(session, per_thread_default));
}

// --- Between contexts

namespace {

int copy_3d_peer(Session& session, const CUDA_MEMCPY3D_PEER* c, HandleId stream) {
  if (c == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_MEMCPY3D plain = {};
  plain.srcXInBytes = c->srcXInBytes;
  plain.srcY = c->srcY;
  plain.srcZ = c->srcZ;
  plain.srcLOD = c->srcLOD;
  plain.srcMemoryType = c->srcMemoryType;
  plain.srcHost = c->srcHost;
  plain.srcDevice = c->srcDevice;
  plain.srcArray = c->srcArray;
  plain.srcPitch = c->srcPitch;
  plain.srcHeight = c->srcHeight;
  plain.dstXInBytes = c->dstXInBytes;
  plain.dstY = c->dstY;
  plain.dstZ = c->dstZ;
  plain.dstLOD = c->dstLOD;
  plain.dstMemoryType = c->dstMemoryType;
  plain.dstHost = c->dstHost;
  plain.dstDevice = c->dstDevice;
  plain.dstArray = c->dstArray;
  plain.dstPitch = c->dstPitch;
  plain.dstHeight = c->dstHeight;
  plain.WidthInBytes = c->WidthInBytes;
  plain.Height = c->Height;
  plain.Depth = c->Depth;
  CopySide to, from;
  if (!read_sides(plain, &to, &from)) return CUDA_ERROR_INVALID_VALUE;
  to.side.context = id_of(c->dstContext);
  from.side.context = id_of(c->srcContext);
  for (const CopySide* side : {&to, &from}) {
    if (side->device && !usable(session, side->side.context, rpc::HandleType::kContext))
      return CUDA_ERROR_INVALID_CONTEXT;
  }
  return copy_rows(session, direction_of(to.device, from.device), to.side, from.side,
                   {c->WidthInBytes, c->Height, c->Depth}, stream);
}

}  // namespace

int cuMemcpy3DPeer(Session& session, const CUDA_MEMCPY3D_PEER* pCopy, bool per_thread_default) {
  return copy_3d_peer(session, pCopy, default_stream(session, per_thread_default));
}

int cuMemcpy3DPeerAsync(Session& session, const CUDA_MEMCPY3D_PEER* pCopy, CUstream hStream,
                        bool per_thread_default) {
  return copy_3d_peer(session, pCopy, stream_id(session, hStream, per_thread_default));
}

// --- Batches

int cuMemcpyBatchAsync(Session& session, CUdeviceptr* dsts, CUdeviceptr* srcs, size_t* sizes,
                       size_t count, CUmemcpyAttributes* attrs, size_t* attrsIdxs, size_t numAttrs,
                       size_t* failIdx, CUstream hStream, bool per_thread_default) {
  return copy_batch(session, dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, failIdx,
                    stream_id(session, hStream, per_thread_default));
}

int cuMemcpyBatchAsync_v2(Session& session, CUdeviceptr* dsts, CUdeviceptr* srcs, size_t* sizes,
                          size_t count, CUmemcpyAttributes* attrs, size_t* attrsIdxs,
                          size_t numAttrs, CUstream hStream, bool per_thread_default) {
  return copy_batch(session, dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, nullptr,
                    stream_id(session, hStream, per_thread_default));
}

int cuMemcpy3DBatchAsync(Session& session, size_t numOps, CUDA_MEMCPY3D_BATCH_OP* opList,
                         size_t* failIdx, unsigned long long flags, CUstream hStream,
                         bool per_thread_default) {
  return copy_box_batch(session, opList, numOps, failIdx, flags,
                        stream_id(session, hStream, per_thread_default));
}

int cuMemcpy3DBatchAsync_v2(Session& session, size_t numOps, CUDA_MEMCPY3D_BATCH_OP* opList,
                            unsigned long long flags, CUstream hStream, bool per_thread_default) {
  return copy_box_batch(session, opList, numOps, nullptr, flags,
                        stream_id(session, hStream, per_thread_default));
}

}  // namespace farcall::client::driver
