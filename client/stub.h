// What every generated stub is made of. docs/internals/generated-code.md shows a stub of each class
// whole.
#pragma once

#include <cuda.h>
#include <driver_types.h>

#include <type_traits>
#include <utility>

#include "client/session.h"

namespace farcall::client {

// Runs a stub's body: connects on first use, counts, traces (FARCALL_LOG=trace), keeps exceptions
// inside. For the runtime API (R = cudaError_t) it also makes the primary context of the thread's
// device current and records a failure as the thread's last error.
//   body: int(Session&)
template <class R, class Body>
R enter(rpc::Opcode op, Body&& body) noexcept;

// The same for functions that are answered without a session (class `local`): no connection is
// made.
//   body: R()
template <class R, class Body>
R enter_local(rpc::Opcode op, Body&& body) noexcept;

// An exported function that nobody implemented: logs its name once, returns NOT_SUPPORTED (801 in
// both APIs).
template <class R>
R not_supported(const char* name, const char* reason) noexcept;

// A remoted call of the calling thread.
class Call : public rpc::CallWriter {
 public:
  Call(Session& session, rpc::Opcode op)
      : rpc::CallWriter(session.connection(), op, thread_state().lane) {}
};

// A `cached` call: arguments are built aside, looked up, and sent only if the answer is not known.
class CachedCall {
 public:
  CachedCall(Session& session, rpc::Opcode op);
  template <class T>
  typename T::Builder args();
  rpc::Reply wait();
};

// Handles the program gives us are ids we minted.
template <class Handle>
rpc::HandleId id_of(Handle handle) {
  return reinterpret_cast<rpc::HandleId>(handle);
}
template <class Handle>
Handle handle_from(rpc::HandleId id) {
  return reinterpret_cast<Handle>(id);
}
// Streams: 0, 1 and 2 keep their meaning; with `per_thread_default` (the _ptsz and _ptds entry
// points) 0 means 2, and 2 becomes the stream of this lane, created on first use.
rpc::HandleId stream_id(Session& session, const void* stream, bool per_thread_default);

}  // namespace farcall::client
