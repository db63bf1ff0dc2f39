// One call on its way through the worker: arguments in, handles resolved, result and data out.
// Generated dispatch functions and the hand-written ones in handlers/ see nothing else of the
// worker.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "rpc/frame.h"
#include "rpc/handle_id.h"
#include "rpc/message.h"
#include "rpc/opcodes.h"
#include "rpc/wire.h"

namespace farcall::server {

struct DriverTable;   // generated: one member per export of libcuda, null if the driver lacks it
struct RuntimeTable;  // generated: the same for libcudart
class Worker;

class CallContext {
 public:
  // The frame and its bytes outlive the call.
  CallContext(Worker& worker, const rpc::Frame& frame, bool blocking)
      : worker_(worker), frame_(frame), blocking_(blocking), arguments_(frame.message) {}
  CallContext(const CallContext&) = delete;
  CallContext& operator=(const CallContext&) = delete;

  rpc::Opcode opcode() const { return rpc::Opcode(frame_.call); }
  uint32_t sequence() const { return frame_.sequence(); }
  bool wants_reply() const { return frame_.has(rpc::kWantsReply); }

  // The arguments. A message that does not decode (capnp validates on access and throws) is caught
  // by the dispatcher and ends the session with kProtocol.
  template <class T>
  typename T::Reader args() {
    return arguments_.root<T>();
  }
  std::span<const std::byte> payload() const { return frame_.payload; }
  // The payload lies in a chunk of the worker's staging memory, which goes back after the call
  // unless the handler takes it: nullptr if it doesn't lie there.
  std::byte* take_staged_payload() {
    if (!frame_.placed || payload_taken_) return nullptr;
    payload_taken_ = true;
    return const_cast<std::byte*>(frame_.payload.data());
  }

  const DriverTable& driver() const;
  const RuntimeTable& runtime() const;
  // Staging, image store, pending copies: for handlers/.
  Worker& worker() const { return worker_; }

  // id -> object. An unknown, stale or mistyped id marks the call invalid and gives nullptr; check
  // valid() once after the last one. 0 is a null handle and valid; kStreamLegacy and
  // kStreamPerThread pass through for streams.
  template <class Handle>
  Handle handle(rpc::HandleId id, rpc::HandleType type) {
    return (Handle)resolve(id, type);  // NOLINT: some of CUDA's handles are integers
  }
  bool valid() const { return problem_ == Problem::kNone; }
  // An argument that does not fit: result INVALID_VALUE, logged at debug.
  void invalidate(std::string_view why);

  // After success. bind: the client minted `id`. A second object under a live id ends the session.
  void bind(rpc::HandleId id, rpc::HandleType type, void* object);
  void unbind(rpc::HandleId id, rpc::HandleType type);
  // The id of an object the driver gave us: known already, or minted here.
  rpc::HandleId intern(rpc::HandleType type, void* object);

  // The results struct of the reply; only when wants_reply().
  template <class T>
  typename T::Builder results() {
    return results_.emplace().builder().template initRoot<T>();
  }
  // Streams bytes to the destination the client named for this call. Before finish().
  void send_data(uint64_t offset, std::span<const std::byte> bytes);
  // Exactly once. A failure nobody waits for becomes the session's asynchronous error.
  void finish(int result);
  // finish(CUDA_ERROR_INVALID_HANDLE or INVALID_VALUE), for calls that valid() refuses.
  void refuse();
  bool finished() const { return finished_; }
  int result() const { return result_; }

 private:
  enum class Problem : uint8_t { kNone, kHandle, kValue };

  void* resolve(rpc::HandleId id, rpc::HandleType type);
  void* look_up(rpc::HandleId id, rpc::HandleType type);
  void drop_destination();

  Worker& worker_;
  const rpc::Frame& frame_;
  const bool blocking_;
  bool finished_ = false;
  bool payload_taken_ = false;
  int result_ = 0;
  Problem problem_ = Problem::kNone;
  rpc::MessageDecoder arguments_;
  std::optional<rpc::ScratchMessage<>> results_;
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
