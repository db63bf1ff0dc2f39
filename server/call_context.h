// One call on its way through the worker: arguments in, handles resolved, result and data out.
// Generated dispatch functions and the hand-written ones in handlers/ see nothing else of the
// worker.
#pragma once

#include <capnp/message.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "rpc/handle_id.h"
#include "rpc/opcodes.h"
#include "rpc/wire.h"

namespace farcall::server {

struct DriverTable;   // generated: one member per export of libcuda, null if the driver lacks it
struct RuntimeTable;  // generated: the same for libcudart
class Worker;

class CallContext {
 public:
  rpc::Opcode opcode() const;
  uint32_t sequence() const;
  bool wants_reply() const;

  // The arguments. A message that does not decode (capnp validates on access and throws) is caught
  // by the dispatcher and ends the session with kProtocol.
  template <class T>
  typename T::Reader args();
  std::span<const std::byte> payload() const;

  const DriverTable& driver() const;
  const RuntimeTable& runtime() const;
  Worker& worker() const;  // staging, image store, pending copies: for handlers/

  // id -> object. An unknown, stale or mistyped id marks the call invalid and gives nullptr; check
  // valid() once after the last one. 0 is a null handle and valid; kStreamLegacy and
  // kStreamPerThread pass through for streams.
  template <class Handle>
  Handle handle(rpc::HandleId id, rpc::HandleType type);
  bool valid() const;
  void invalidate(std::string_view
                      why);  // an argument that does not fit: result INVALID_VALUE, logged at debug

  // After success. bind: the client minted `id`. A second object under a live id ends the session.
  void bind(rpc::HandleId id, rpc::HandleType type, void* object);
  void unbind(rpc::HandleId id, rpc::HandleType type);
  // The id of an object the driver gave us: known already, or minted here.
  rpc::HandleId intern(rpc::HandleType type, void* object);

  // The results struct of the reply; only when wants_reply().
  template <class T>
  typename T::Builder results();
  // Streams bytes to the destination the client named for this call. Before finish().
  void send_data(uint64_t offset, std::span<const std::byte> bytes);
  // Exactly once. A failure nobody waits for becomes the session's asynchronous error.
  void finish(int result);
  // finish(CUDA_ERROR_INVALID_HANDLE or INVALID_VALUE), for calls that valid() refuses.
  void refuse();
};

// One row per opcode; generated (gen/server/dispatch_table.cpp), indexed by opcode - kFirstOpcode.
struct DispatchEntry {
  void (*run)(CallContext&) = nullptr;  // null: not in this build, answered NOT_SUPPORTED
  const char* name = nullptr;
  bool blocking = false;  // may wait for the GPU: never on the dispatcher's thread
  bool runtime = false;   // needs libcudart
};
std::span<const DispatchEntry> dispatch_table();

}  // namespace farcall::server
