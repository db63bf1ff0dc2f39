// Linear copies of both APIs, cut into the four directions. A copy from host memory returns when
// its source may be reused and does not wait for the server; one to host memory waits, unless the
// destination is pinned and the call is an asynchronous one: then the bytes arrive before the
// program's next wait on that stream returns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

enum class Direction : uint8_t { kHostToHost, kHostToDevice, kDeviceToHost, kDeviceToDevice };

constexpr Direction direction_of(bool to_device, bool from_device) {
  if (to_device) return from_device ? Direction::kDeviceToDevice : Direction::kHostToDevice;
  return from_device ? Direction::kDeviceToHost : Direction::kHostToHost;
}
// By what the table of allocations knows; memory it does not know is the program's own.
FARCALL_API Direction classify(uint64_t destination, uint64_t source);

// `stream` is a wire id. Results are CUresults.
FARCALL_API int copy_to_device(Session& session, uint64_t destination, const void* source,
                               size_t bytes, rpc::HandleId stream, bool async);
FARCALL_API int copy_to_host(Session& session, void* destination, uint64_t source, size_t bytes,
                             rpc::HandleId stream, bool async);
FARCALL_API int copy_on_device(Session& session, uint64_t destination, uint64_t source,
                               size_t bytes, rpc::HandleId stream, bool async);
FARCALL_API int copy(Session& session, Direction direction, uint64_t destination, uint64_t source,
                     size_t bytes, rpc::HandleId stream, bool async);

// An asynchronous copy will write to host memory from now on.
void note_copy_to_host();
// Waits, if need be, until no asynchronous copy will write to host memory any more.
FARCALL_API int finish_copies_to_host(Session& session);

// Two- and three-dimensional copies: `height` rows of `width_bytes` in each of `depth` slices. A
// side is host or device memory with a pitch, or an array.
struct Side {
  uint64_t address = 0;     // of the first row; 0: `array`
  rpc::HandleId array = 0;  // with x in bytes, y, z
  uint64_t x_bytes = 0, y = 0, z = 0;
  uint64_t pitch_bytes = 0;   // from row to row
  uint64_t slice_rows = 0;    // rows from slice to slice
  rpc::HandleId context = 0;  // of a copy between devices; 0: the current one
};
struct Extent {
  uint64_t width_bytes = 0, height = 1, depth = 1;
};
FARCALL_API int copy_rows(Session& session, Direction direction, const Side& destination,
                          const Side& source, const Extent& extent, rpc::HandleId stream,
                          bool async = false);

}  // namespace farcall::client
