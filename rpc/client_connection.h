// The client's end of a session: one open batch, one channel, and the threads that wait for
// answers.
//
// Application threads append calls to the batch under a short lock; the call is encoded in place.
// Whoever must wait, or finds the batch full, sends it: there is no I/O thread on that path. A
// ticker sends batches that have aged (docs/decisions/0002). Of the waiting threads one reads the
// channel and completes the others.
#pragma once

#include <capnp/message.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "rpc/handle_id.h"
#include "rpc/opcodes.h"  // generated: enum class Opcode : uint16_t { k_cuInit = 16, ... }
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc {

struct Lane {
  uint32_t id = 0;
  HandleId context = 0;
};

// Where the bytes of a call's kData frames go. Must stay valid until the call is answered, or, for
// a call nobody waits for, until the program may look at the bytes.
struct DataSink {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

struct ConnectionStats {
  uint64_t calls_async = 0, calls_waiting = 0;
  uint64_t round_trips = 0;  // times a thread waited for the server, the hello excepted
  uint64_t bytes_up = 0, bytes_down = 0;
  uint64_t blocked_ns = 0;
  uint64_t flushes = 0;
};

// The answer to one call. Owns its words.
class Reply {
 public:
  // The call's own result or, if that is success, the first unreported failure of an earlier
  // asynchronous call. A session that is gone gives kSessionLostResult.
  int result() const { return result_; }
  bool has_results() const;
  template <class T>
  typename T::Reader results();  // valid while this Reply lives
  std::span<const std::byte> payload() const;
  // ... implementation detail
 private:
  friend class ClientConnection;
  friend class CallWriter;
  int result_ = 0;
  struct Body;
  std::shared_ptr<Body> body_;
};

constexpr int kSessionLostResult =
    46;  // CUDA_ERROR_DEVICE_UNAVAILABLE = cudaErrorDevicesUnavailable

class ClientConnection {
 public:
  // Hello is done and accepted; `channel` is ours from here.
  explicit ClientConnection(std::unique_ptr<transport::Channel> channel);
  ~ClientConnection();

  // Text printed by kernels; called by a thread that waits, in the order of the server.
  void set_output_handler(std::function<void(std::string_view text, bool is_stderr)> handler);
  Status flush();      // sends the open batch
  bool lost() const;   // no answer will come any more; calls fail at once
  void abandon();      // in a forked child: never touch the descriptor again
  void say_goodbye();  // flushes and ends in good order; later calls fail
  ConnectionStats stats() const;
  // First failure of an asynchronous call not yet reported; cleared by the call.
  int take_async_error();
};

// One call being written into the open batch, in place. Holds the batch lock from construction to
// post() or wait(); destroyed without either, the call is taken back. So: no blocking, no other
// call, in between.
class CallWriter {
 public:
  CallWriter(ClientConnection& connection, Opcode op, const Lane& lane);
  ~CallWriter();
  CallWriter(const CallWriter&) = delete;
  CallWriter& operator=(const CallWriter&) = delete;

  // The call's root struct; call it once, before payload().
  template <class T>
  typename T::Builder args();
  // At most kPayloadBytesMax. Small ones are copied; larger ones are borrowed until post() or
  // wait() returns, which then have sent them.
  void payload(std::span<const std::byte> bytes);

  // Nobody waits. Returns 0, or kSessionLostResult. With a sink: its bytes arrive before the answer
  // to any later call that waits for the same stream.
  int post();
  int post(DataSink sink);
  // Sends everything and waits. kData frames go to `sink`.
  Reply wait();
  Reply wait(DataSink sink);
};

}  // namespace farcall::rpc
