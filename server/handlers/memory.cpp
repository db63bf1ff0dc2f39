// Linear and row-wise copies, allocation and release of device memory. Copies from the host come
// with their bytes and are enqueued in order; large ones lie in staging memory already, where they
// stay until the GPU has read them. Copies to the host go through staging, a chunk at a time:
// waited for, the next chunk is under way on the GPU while the last one is under way on the
// network; not waited for, they become PendingCopies.
#include <cuda.h>

#include <algorithm>
#include <functional>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/relaxed_capture.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleType;

CUstream stream_of(CallContext& call, uint64_t id) {
  return call.handle<CUstream>(id, HandleType::kStream);
}

// A copy with host memory that a graph would replay later: the bytes are here now only, and the
// destination is known now only. CUDA's error for what can't be captured; what can goes through
// farcallCaptureCopy.
bool captures(CallContext& call, CUstream stream) {
  return CapturedCopies::capturing(call.driver(), stream);
}

// Calls copy(source bytes) and keeps the payload's memory until the GPU has read it.
int copy_payload(CallContext& call, CUstream stream, bool ordered,
                 const std::function<CUresult(const void*)>& copy) {
  if (captures(call, stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  Staging& staging = call.worker().staging();
  std::byte* const chunk = call.take_staged_payload();
  // Small payloads lie in the receive buffer: the driver has copied them when it returns, as it
  // must from pageable memory.
  if (chunk != nullptr) staging.pin(chunk);
  CUresult result = copy(chunk != nullptr ? chunk : call.payload().data());
  if (result == CUDA_SUCCESS && ordered) result = call.worker().ordered_copies().add(stream);
  if (chunk != nullptr) {
    result == CUDA_SUCCESS ? staging.release_after(chunk, stream) : staging.release(chunk);
  }
  return result;
}

// One piece of a copy to the host: enqueues the copy of `bytes` bytes to the chunk it is given.
struct Piece {
  uint64_t offset;  // in the client's destination
  size_t bytes;
  std::function<CUresult(std::byte* chunk)> enqueue;
};
// Gives the pieces one after the other; false: no more.
using Pieces = std::function<bool(Piece*)>;

int copy_pieces_later(CallContext& call, CUstream stream, const Pieces& pieces) {
  Worker& worker = call.worker();
  for (Piece piece; pieces(&piece);) {
    std::byte* const chunk = worker.staging_chunk();
    if (chunk == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    worker.staging().pin(chunk);
    CUresult result = piece.enqueue(chunk);
    if (result != CUDA_SUCCESS) {
      worker.staging().release(chunk);
      return result;
    }
    result = worker.pending_copies().add(
        {call.sequence(), uint16_t(call.opcode()), piece.offset, chunk, piece.bytes}, stream);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

// A chunk that the GPU writes to, and the event behind the copy.
struct UnderWay {
  std::byte* chunk = nullptr;
  CopyEvent event;
  uint64_t offset = 0;
  size_t bytes = 0;
};

CUresult start(CallContext& call, CUstream stream, const Piece& piece, UnderWay* out) {
  Worker& worker = call.worker();
  out->chunk = worker.staging_chunk();
  if (out->chunk == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  worker.staging().pin(out->chunk);
  CUresult result = piece.enqueue(out->chunk);
  if (result == CUDA_SUCCESS) result = worker.staging().record(stream, &out->event);
  if (result != CUDA_SUCCESS) {
    worker.staging().release(std::exchange(out->chunk, nullptr));
    return result;
  }
  out->offset = piece.offset;
  out->bytes = piece.bytes;
  return CUDA_SUCCESS;
}

CUresult complete(CallContext& call, UnderWay& piece, bool send) {
  Worker& worker = call.worker();
  const RelaxedCapture relaxed(call.driver());  // another stream may be capturing
  const CUresult result = call.driver().cuEventSynchronize(piece.event.event);
  if (result == CUDA_SUCCESS && send) call.send_data(piece.offset, {piece.chunk, piece.bytes});
  worker.staging().release_event(piece.event);
  worker.staging().release(std::exchange(piece.chunk, nullptr));
  return result;
}

int copy_pieces_now(CallContext& call, CUstream stream, const Pieces& pieces) {
  CUresult result = CUDA_SUCCESS;
  UnderWay last;
  for (Piece piece; result == CUDA_SUCCESS && pieces(&piece);) {
    UnderWay next;
    result = start(call, stream, piece, &next);
    if (last.chunk != nullptr) {
      const CUresult completed = complete(call, last, true);
      if (result == CUDA_SUCCESS) result = completed;
    }
    last = next;
  }
  if (last.chunk != nullptr) {
    const CUresult completed = complete(call, last, result == CUDA_SUCCESS);
    if (result == CUDA_SUCCESS) result = completed;
  }
  return result;
}

int copy_to_host(CallContext& call, CUstream stream, const Pieces& pieces) {
  if (captures(call, stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return call.wants_reply() ? copy_pieces_now(call, stream, pieces)
                            : copy_pieces_later(call, stream, pieces);
}

// --- Rows

// The device's side of a row copy, from the start of a block on.
struct RowSide {
  CUdeviceptr address = 0;
  CUarray array = nullptr;
  uint64_t x = 0, y = 0, z = 0;
  uint64_t pitch = 0, slice_rows = 0;
};

template <class Reader>
RowSide side_of(CallContext& call, const Reader& from, uint64_t address) {
  RowSide side;
  side.address = address;
  if (address == 0) {
    side.array = call.handle<CUarray>(from.getArray(), HandleType::kArray);
    if (side.array == nullptr) call.invalidate("neither an address nor an array");
  }
  side.x = from.getXBytes();
  side.y = from.getY();
  side.z = from.getZ();
  side.pitch = from.getPitchBytes();
  side.slice_rows = from.getSliceRows();
  return side;
}

void put_source(CUDA_MEMCPY3D& copy, const RowSide& side) {
  copy.srcMemoryType = side.address != 0 ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_ARRAY;
  copy.srcDevice = side.address;
  copy.srcArray = side.array;
  copy.srcXInBytes = side.x;
  copy.srcY = side.y;
  copy.srcZ = side.z;
  copy.srcPitch = side.pitch;
  copy.srcHeight = side.slice_rows;
}
void put_destination(CUDA_MEMCPY3D& copy, const RowSide& side) {
  copy.dstMemoryType = side.address != 0 ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_ARRAY;
  copy.dstDevice = side.address;
  copy.dstArray = side.array;
  copy.dstXInBytes = side.x;
  copy.dstY = side.y;
  copy.dstZ = side.z;
  copy.dstPitch = side.pitch;
  copy.dstHeight = side.slice_rows;
}

// `rows` rows of one slice, to the host.
CUresult rows_to_host(const DriverTable& driver, RowSide device, uint64_t width, uint64_t rows,
                      std::byte* host, CUstream stream) {
  CUDA_MEMCPY3D copy = {};
  put_source(copy, device);
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = host;
  copy.dstPitch = width;
  copy.dstHeight = rows;
  copy.WidthInBytes = width;
  copy.Height = rows;
  copy.Depth = 1;
  return driver.cuMemcpy3DAsync_v2(&copy, stream);
}

// Blocks of rows that fit a chunk, in the order in which they lie in the client's packed buffer.
Pieces row_pieces(const DriverTable& driver, const RowSide& device, uint64_t width, uint64_t height,
                  uint64_t depth, CUstream stream) {
  const uint64_t rows_max = Staging::kChunkBytes / width;
  return [=, &driver, row = uint64_t{0}, slice = uint64_t{0}](Piece* piece) mutable {
    if (slice == depth) return false;
    const uint64_t rows = std::min(rows_max, height - row);
    RowSide block = device;
    if (block.address != 0) {
      block.address += (slice * device.slice_rows + row) * device.pitch;
    } else {
      block.z += slice;
      block.y += row;
    }
    piece->offset = (slice * height + row) * width;
    piece->bytes = rows * width;
    piece->enqueue = [=, &driver](std::byte* chunk) {
      return rows_to_host(driver, block, width, rows, chunk, stream);
    };
    row += rows;
    if (row == height) {
      row = 0;
      ++slice;
    }
    return true;
  };
}

// Finishes the call.
void copy_between_contexts(CallContext& call, const CUDA_MEMCPY3D& rows, uint64_t from, uint64_t to,
                           CUstream stream) {
  CUDA_MEMCPY3D_PEER copy = {};
  copy.srcXInBytes = rows.srcXInBytes;
  copy.srcY = rows.srcY;
  copy.srcZ = rows.srcZ;
  copy.srcMemoryType = rows.srcMemoryType;
  copy.srcDevice = rows.srcDevice;
  copy.srcArray = rows.srcArray;
  copy.srcContext = call.handle<CUcontext>(from, HandleType::kContext);
  copy.srcPitch = rows.srcPitch;
  copy.srcHeight = rows.srcHeight;
  copy.dstXInBytes = rows.dstXInBytes;
  copy.dstY = rows.dstY;
  copy.dstZ = rows.dstZ;
  copy.dstMemoryType = rows.dstMemoryType;
  copy.dstDevice = rows.dstDevice;
  copy.dstArray = rows.dstArray;
  copy.dstContext = call.handle<CUcontext>(to, HandleType::kContext);
  copy.dstPitch = rows.dstPitch;
  copy.dstHeight = rows.dstHeight;
  copy.WidthInBytes = rows.WidthInBytes;
  copy.Height = rows.Height;
  copy.Depth = rows.Depth;
  if (!call.valid()) return call.refuse();
  if (call.driver().cuMemcpy3DPeerAsync == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(call.driver().cuMemcpy3DPeerAsync(&copy, stream));
}

// The product, or nullopt when nobody can mean it.
std::optional<uint64_t> product(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t ab = 0, abc = 0;
  if (__builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, &abc)) return std::nullopt;
  return abc;
}

}  // namespace

// --- Linear memory

void farcallMemcpyHtoD(CallContext& call) {
  const auto args = call.args<schema::FarcallMemcpyHtoD>();
  const CUstream stream = stream_of(call, args.getStream());
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuMemcpyHtoDAsync_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  const CUdeviceptr destination = args.getDestination();
  const size_t bytes = call.payload().size();
  call.finish(copy_payload(call, stream, args.getOrdered(), [&](const void* source) {
    return driver.cuMemcpyHtoDAsync_v2(destination, source, bytes, stream);
  }));
}

void farcallMemcpyDtoH(CallContext& call) {
  const auto args = call.args<schema::FarcallMemcpyDtoH>();
  const CUstream stream = stream_of(call, args.getStream());
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuMemcpyDtoHAsync_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  const CUdeviceptr source = args.getSource();
  const uint64_t bytes = args.getBytes();
  call.finish(copy_to_host(call, stream, [&, offset = uint64_t{0}](Piece* piece) mutable {
    if (offset == bytes) return false;
    piece->offset = offset;
    piece->bytes = std::min<uint64_t>(Staging::kChunkBytes, bytes - offset);
    piece->enqueue = [&driver, stream, from = source + offset,
                      count = piece->bytes](std::byte* to) {
      return driver.cuMemcpyDtoHAsync_v2(to, from, count, stream);
    };
    offset += piece->bytes;
    return true;
  }));
}

void farcallMemcpyDtoD(CallContext& call) {
  const auto args = call.args<schema::FarcallMemcpyDtoD>();
  const CUstream stream = stream_of(call, args.getStream());
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuMemcpyDtoDAsync_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(driver.cuMemcpyDtoDAsync_v2(args.getDestination(), args.getSource(), args.getBytes(),
                                          stream));
}

void farcallMemAlloc(CallContext& call) {
  const auto args = call.args<schema::FarcallMemAlloc>();
  const DriverTable& driver = call.driver();
  CUdeviceptr address = 0;
  size_t pitch = 0;
  int result = CUDA_ERROR_NOT_SUPPORTED;
  if (args.getElementBytes() != 0) {
    if (driver.cuMemAllocPitch_v2 != nullptr) {
      result = driver.cuMemAllocPitch_v2(&address, &pitch, args.getWidthBytes(), args.getHeight(),
                                         args.getElementBytes());
    }
  } else if (driver.cuMemAlloc_v2 != nullptr) {
    const auto bytes = product(args.getWidthBytes(), std::max<uint64_t>(1, args.getHeight()), 1);
    if (!bytes) return call.finish(CUDA_ERROR_OUT_OF_MEMORY);
    result = driver.cuMemAlloc_v2(&address, *bytes);
  }
  if (result == CUDA_SUCCESS) {
    auto results = call.results<schema::FarcallMemAllocResults>();
    results.setAddress(address);
    results.setPitchBytes(pitch);
  }
  call.finish(result);
}

void farcallMemFree(CallContext& call) {
  const auto args = call.args<schema::FarcallMemFree>();
  if (call.driver().cuMemFree_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(call.driver().cuMemFree_v2(args.getAddress()));
}

void farcallMemRange(CallContext& call) {
  const auto args = call.args<schema::FarcallMemRange>();
  if (call.driver().cuMemGetAddressRange_v2 == nullptr)
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUdeviceptr base = 0;
  size_t bytes = 0;
  const CUresult result = call.driver().cuMemGetAddressRange_v2(&base, &bytes, args.getAddress());
  if (result == CUDA_SUCCESS) {
    auto results = call.results<schema::FarcallMemRangeResults>();
    results.setBase(base);
    results.setBytes(bytes);
  }
  call.finish(result);
}

// --- Rows

void farcallMemcpyRows(CallContext& call) {
  const auto args = call.args<schema::FarcallMemcpyRows>();
  const CUstream stream = stream_of(call, args.getStream());
  const RowSide device = side_of(call, args, args.getDevice());
  const uint64_t width = args.getWidthBytes(), height = args.getHeight(), depth = args.getDepth();
  const auto bytes = product(width, height, depth);
  if (!bytes) call.invalidate("the copy's size is beyond all bounds");
  if (args.getToDevice() && bytes && *bytes != call.payload().size()) {
    call.invalidate("the payload is not as large as the rows it should hold");
  }
  if (!args.getToDevice() && width > Staging::kChunkBytes) {
    call.invalidate("a row is larger than a payload");
  }
  if (!call.valid()) return call.refuse();
  if (*bytes == 0) return call.finish(CUDA_SUCCESS);
  const DriverTable& driver = call.driver();
  if (driver.cuMemcpy3DAsync_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  if (!args.getToDevice()) {
    return call.finish(
        copy_to_host(call, stream, row_pieces(driver, device, width, height, depth, stream)));
  }

  call.finish(copy_payload(call, stream, args.getOrdered(), [&](const void* source) {
    CUDA_MEMCPY3D copy = {};
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = source;
    copy.srcPitch = width;
    copy.srcHeight = height;
    put_destination(copy, device);
    copy.WidthInBytes = width;
    copy.Height = height;
    copy.Depth = depth;
    return driver.cuMemcpy3DAsync_v2(&copy, stream);
  }));
}

void farcallMemcpyRowsDtoD(CallContext& call) {
  const auto args = call.args<schema::FarcallMemcpyRowsDtoD>();
  const CUstream stream = stream_of(call, args.getStream());
  const auto from = args.getSource();
  const auto to = args.getDestination();
  CUDA_MEMCPY3D copy = {};
  put_source(copy, side_of(call, from, from.getAddress()));
  put_destination(copy, side_of(call, to, to.getAddress()));
  copy.WidthInBytes = args.getWidthBytes();
  copy.Height = args.getHeight();
  copy.Depth = args.getDepth();
  if (args.getPeer())
    return copy_between_contexts(call, copy, from.getContext(), to.getContext(), stream);
  if (!call.valid()) return call.refuse();
  if (call.driver().cuMemcpy3DAsync_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(call.driver().cuMemcpy3DAsync_v2(&copy, stream));
}

}  // namespace farcall::server::handlers
