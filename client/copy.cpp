#include "client/copy.h"

#include <cuda.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "client/program.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

using rpc::HandleId;
using rpc::Opcode;
namespace schema = rpc::schema;

// Copies of memory that kernels see are made where they run.
bool visible(uint64_t address) { return program().visible.contains(address); }
bool visible(const void* address) { return visible(reinterpret_cast<uint64_t>(address)); }

bool on_device(uint64_t address) {
  const auto known = program().allocations.find(address);
  return (known.has_value() && known->kind == MemoryKind::kDevice) || visible(address);
}

// Part of a known allocation that the copy would leave: the driver would say so, and can do it
// later than we can.
bool beyond(uint64_t address, size_t bytes) {
  const auto known = program().allocations.find(address);
  return known.has_value() && !is_pinned(known->kind) &&
         bytes > known->bytes - (address - known->address);
}

const std::byte* as_bytes(uint64_t address) { return reinterpret_cast<const std::byte*>(address); }

bool pinned(const void* address) {
  const auto known = program().allocations.find(reinterpret_cast<uint64_t>(address));
  return known.has_value() && is_pinned(known->kind);
}

// An asynchronous copy to pinned memory was posted since somebody last waited for all of them.
std::atomic<bool> copies_under_way{false};

int synchronize_stream(Session& session, HandleId stream) {
  Call call(session, Opcode::k_farcallStreamSynchronize);
  call.args<schema::FarcallStreamSynchronize>().setStream(stream);
  return call.wait().result();
}

// After a copy that the program waits for: what it, and what was before it, has written to memory
// that the program sees, may be looked at now.
int copy_is_done(Session& session, HandleId stream, bool async) {
  if (async || !program().visible.busy() || program().graphs.capturing()) return CUDA_SUCCESS;
  return synchronize_stream(session, stream);
}

// Whatever the program calls its sides.
Direction truly(Direction said, uint64_t destination, uint64_t source) {
  if (!memory_is_visible()) return said;
  const bool to = said == Direction::kHostToDevice || said == Direction::kDeviceToDevice;
  const bool from = said == Direction::kDeviceToHost || said == Direction::kDeviceToDevice;
  return direction_of(to || visible(destination), from || visible(source));
}

}  // namespace

Direction classify(uint64_t destination, uint64_t source) {
  return direction_of(on_device(destination), on_device(source));
}

int copy_to_device(Session& session, uint64_t destination, const void* source, size_t bytes,
                   HandleId stream, bool async) {
  if (bytes == 0) return CUDA_SUCCESS;
  if (destination == 0 || source == nullptr || beyond(destination, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  if (visible(source)) {
    return copy_on_device(session, destination, reinterpret_cast<uint64_t>(source), bytes, stream,
                          async);
  }
  const bool capturing = program().graphs.capturing();
  if (capturing && async) {
    bool captured = false;
    const int failed = capture_copy(session, const_cast<void*>(source), destination, bytes,
                                    /*to_device=*/true, stream, &captured);
    if (failed != CUDA_SUCCESS || captured) return failed;
  }
  if (const int failed = program().host_functions.make_room(session, bytes)) return failed;
  const std::span<const std::byte> all(static_cast<const std::byte*>(source), bytes);
  for (size_t offset = 0; offset < bytes; offset += rpc::kPayloadBytesMax) {
    Call call(session, Opcode::k_farcallMemcpyHtoD);
    auto args = call.args<schema::FarcallMemcpyHtoD>();
    args.setDestination(destination + offset);
    args.setStream(stream);
    args.setOrdered(!async);
    call.payload(all.subspan(offset, std::min(rpc::kPayloadBytesMax, bytes - offset)));
    // A capture refuses copies that aren't asynchronous, and says so at the call.
    if (const int failed = capturing ? call.wait().result() : call.post()) return failed;
  }
  return copy_is_done(session, stream, async);
}

int copy_to_host(Session& session, void* destination, uint64_t source, size_t bytes,
                 HandleId stream, bool async) {
  if (bytes == 0) return CUDA_SUCCESS;
  if (destination == nullptr || source == 0 || beyond(source, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  if (visible(destination)) {
    return copy_on_device(session, reinterpret_cast<uint64_t>(destination), source, bytes, stream,
                          async);
  }
  if (async && program().graphs.capturing()) {
    bool captured = false;
    const int failed =
        capture_copy(session, destination, source, bytes, /*to_device=*/false, stream, &captured);
    if (failed != CUDA_SUCCESS || captured) return failed;
  }
  // CUDA, too, returns from an asynchronous copy to pageable memory only when the bytes are there.
  const bool posted = async && pinned(destination);
  if (posted) {
    if (const int failed = program().host_functions.make_room(session, bytes)) return failed;
  }
  Call call(session, Opcode::k_farcallMemcpyDtoH);
  auto args = call.args<schema::FarcallMemcpyDtoH>();
  args.setSource(source);
  args.setBytes(bytes);
  args.setStream(stream);
  const rpc::DataSink sink{static_cast<std::byte*>(destination), bytes};
  if (posted) {
    note_copy_to_host();
    return call.post(sink);
  }
  return call.wait(sink).result();
}

void note_copy_to_host() { copies_under_way.store(true, std::memory_order_relaxed); }

int finish_copies_to_host(Session& session) {
  if (!copies_under_way.exchange(false, std::memory_order_relaxed)) return CUDA_SUCCESS;
  Call call(session, Opcode::k_farcallContextSynchronize);
  call.args<schema::FarcallContextSynchronize>();
  return call.wait().result();
}

int copy_on_device(Session& session, uint64_t destination, uint64_t source, size_t bytes,
                   HandleId stream, bool async) {
  if (bytes == 0) return CUDA_SUCCESS;
  if (destination == 0 || source == 0 || beyond(destination, bytes) || beyond(source, bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  {
    Call call(session, Opcode::k_farcallMemcpyDtoD);
    auto args = call.args<schema::FarcallMemcpyDtoD>();
    args.setDestination(destination);
    args.setSource(source);
    args.setBytes(bytes);
    args.setStream(stream);
    if (const int failed = call.post()) return failed;
  }
  return copy_is_done(session, stream, async);
}

int copy(Session& session, Direction direction, uint64_t destination, uint64_t source, size_t bytes,
         HandleId stream, bool async) {
  switch (truly(direction, destination, source)) {
    case Direction::kHostToDevice:
      return copy_to_device(session, destination, as_bytes(source), bytes, stream, async);
    case Direction::kDeviceToHost:
      return copy_to_host(session, reinterpret_cast<void*>(destination), source, bytes, stream,
                          async);
    case Direction::kDeviceToDevice:
      return copy_on_device(session, destination, source, bytes, stream, async);
    case Direction::kHostToHost: {
      // Ordered behind the stream's earlier work, which may still deliver into either buffer.
      if (const int failed = synchronize_stream(session, stream)) return failed;
      if (bytes > 0) std::memmove(reinterpret_cast<void*>(destination), as_bytes(source), bytes);
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_VALUE;
}

namespace {

// Rows per call such that a payload stays within its limit.
uint64_t rows_per_call(uint64_t width_bytes) {
  return std::max<uint64_t>(1, rpc::kPayloadBytesMax / std::max<uint64_t>(1, width_bytes));
}

void describe(schema::FarcallMemcpyRows::Builder args, const Side& device, uint64_t row,
              uint64_t slice, uint64_t width_bytes, uint64_t rows, bool to_device,
              HandleId stream) {
  if (device.address != 0) {
    args.setDevice(device.address + (slice * device.slice_rows + row) * device.pitch_bytes);
  } else {
    args.setArray(device.array);
    args.setXBytes(device.x_bytes);
    args.setY(device.y + row);
    args.setZ(device.z + slice);
  }
  args.setPitchBytes(device.pitch_bytes);
  args.setSliceRows(device.slice_rows);
  args.setWidthBytes(width_bytes);
  args.setHeight(rows);
  args.setDepth(1);
  args.setToDevice(to_device);
  args.setOrdered(to_device);  // also for asynchronous copies, which may as well be
  args.setStream(stream);
}

int rows_result(int result) {
  if (result != CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) return result;
  detail::log_not_supported("cuMemcpy2DAsync or cuMemcpy3DAsync with host memory",
                            "in a capture only linear copies are");
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace

int copy_rows(Session& session, Direction direction, const Side& destination, const Side& source,
              const Extent& extent, HandleId stream, bool async) {
  direction = truly(direction, destination.address, source.address);
  if (extent.width_bytes == 0 || extent.height == 0 || extent.depth == 0) return CUDA_SUCCESS;
  if (direction == Direction::kDeviceToDevice) {
    Call call(session, Opcode::k_farcallMemcpyRowsDtoD);
    auto args = call.args<schema::FarcallMemcpyRowsDtoD>();
    const auto put = [](schema::CopySide::Builder to, const Side& from) {
      to.setAddress(from.address);
      to.setArray(from.array);
      to.setXBytes(from.x_bytes);
      to.setY(from.y);
      to.setZ(from.z);
      to.setPitchBytes(from.pitch_bytes);
      to.setSliceRows(from.slice_rows);
      to.setContext(from.context);
    };
    put(args.initDestination(), destination);
    put(args.initSource(), source);
    args.setWidthBytes(extent.width_bytes);
    args.setHeight(extent.height);
    args.setDepth(extent.depth);
    args.setStream(stream);
    args.setPeer(destination.context != source.context);
    const int failed = call.post();
    return failed != CUDA_SUCCESS ? failed : copy_is_done(session, stream, async);
  }
  if (direction == Direction::kHostToHost) {
    if (const int failed = synchronize_stream(session, stream)) return failed;
    for (uint64_t slice = 0; slice < extent.depth; ++slice) {
      for (uint64_t row = 0; row < extent.height; ++row) {
        std::memmove(
            reinterpret_cast<void*>(destination.address + (slice * destination.slice_rows + row) *
                                                              destination.pitch_bytes),
            as_bytes(source.address + (slice * source.slice_rows + row) * source.pitch_bytes),
            extent.width_bytes);
      }
    }
    return CUDA_SUCCESS;
  }

  if (extent.width_bytes > rpc::kPayloadBytesMax) {
    if (destination.address == 0 || source.address == 0) return CUDA_ERROR_NOT_SUPPORTED;
    for (uint64_t slice = 0; slice < extent.depth; ++slice) {
      for (uint64_t row = 0; row < extent.height; ++row) {
        const auto at = [&](const Side& side) {
          return side.address + (slice * side.slice_rows + row) * side.pitch_bytes;
        };
        if (const int failed = copy(session, direction, at(destination), at(source),
                                    extent.width_bytes, stream, async)) {
          return failed;
        }
      }
    }
    return CUDA_SUCCESS;
  }

  const bool to_device = direction == Direction::kHostToDevice;
  const Side& host = to_device ? source : destination;
  const Side& device = to_device ? destination : source;
  const auto host_row = [&](uint64_t slice, uint64_t row) {
    return reinterpret_cast<std::byte*>(host.address +
                                        (slice * host.slice_rows + row) * host.pitch_bytes);
  };
  const uint64_t step = rows_per_call(extent.width_bytes);
  std::vector<std::byte> packed;
  for (uint64_t slice = 0; slice < extent.depth; ++slice) {
    for (uint64_t row = 0; row < extent.height; row += step) {
      const uint64_t rows = std::min(step, extent.height - row);
      packed.resize(rows * extent.width_bytes);
      if (to_device) {
        for (uint64_t i = 0; i < rows; ++i) {
          std::memcpy(&packed[i * extent.width_bytes], host_row(slice, row + i),
                      extent.width_bytes);
        }
      }
      Call call(session, Opcode::k_farcallMemcpyRows);
      describe(call.args<schema::FarcallMemcpyRows>(), device, row, slice, extent.width_bytes, rows,
               to_device, stream);
      if (to_device) {
        call.payload(packed);
        // A stream that captures refuses it, which must be known at the call.
        const bool wait = program().graphs.capturing();
        if (const int failed = wait ? call.wait().result() : call.post_blocking()) {
          return wait ? rows_result(failed) : failed;
        }
        continue;
      }
      const int result = call.wait({packed.data(), packed.size()}).result();
      if (result != CUDA_SUCCESS) return rows_result(result);
      for (uint64_t i = 0; i < rows; ++i) {
        std::memcpy(host_row(slice, row + i), &packed[i * extent.width_bytes], extent.width_bytes);
      }
    }
  }
  return copy_is_done(session, stream, async || !to_device);
}

}  // namespace farcall::client
