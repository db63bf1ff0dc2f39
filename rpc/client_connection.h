// The client's end of a session: one open batch, one channel, and the threads that wait for
// answers.
//
// Application threads append calls to the batch under a short lock; the call is encoded in place.
// Whoever must wait, or finds the batch full, sends it: there is no I/O thread on that path. A
// ticker sends batches that have aged (docs/decisions/0002). Of the waiting threads one reads the
// channel and completes the others (rpc/answers.h).
#pragma once

#include <capnp/message.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/api.h"
#include "base/status.h"
#include "rpc/answers.h"
#include "rpc/batch.h"
#include "rpc/handle_id.h"
#include "rpc/message.h"
#include "rpc/opcodes.h"  // generated: enum class Opcode : uint16_t { k_cuInit = 16, ... }
#include "rpc/reply.h"
#include "rpc/ticker.h"
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc {

struct Lane {
  uint32_t id = 0;
  HandleId context = 0;
};

struct ConnectionStats {
  uint64_t calls_async = 0, calls_waiting = 0;
  uint64_t round_trips = 0;  // times a thread waited for the server, the hello excepted
  uint64_t bytes_up = 0, bytes_down = 0;
  uint64_t blocked_ns = 0;
  uint64_t flushes = 0;
};

struct ConnectionOptions {
  bool batching = true;   // off: every call is sent at once (FARCALL_BATCH=off)
  bool blocking = false;  // every post() waits for its result (CUDA_LAUNCH_BLOCKING=1)
};

class FARCALL_API ClientConnection {
 public:
  // Hello is done and accepted; `channel` is ours from here.
  explicit ClientConnection(std::unique_ptr<transport::Channel> channel,
                            const ConnectionOptions& options = {});
  ~ClientConnection();  // no thread is in a call

  // Text printed by kernels, in the order of the server; called by a thread that waits or sends.
  // Set before the first call; must not make calls.
  void set_output_handler(Answers::OutputHandler handler);
  Status flush();                                // sends the open batch
  bool lost() const { return answers_.lost(); }  // no answer will come any more; calls fail at once
  void lose(std::string_view sentence) { answers_.lose(sentence); }  // and logs why
  void abandon();      // in a forked child: never touch the descriptor again
  void say_goodbye();  // flushes and ends in good order, or gives up soon; later calls fail
  // See Answers::next_host_function().
  std::optional<HostFunctionDue> next_host_function() { return answers_.next_host_function(); }
  ConnectionStats stats() const;
  // First failure of an asynchronous call not yet reported; cleared by the call.
  int take_async_error() { return answers_.take_async_error(); }
  // Before the program may reuse memory that post(sink) named: copies to it that haven't ended
  // (they failed, or the server lies) won't write to it any more.
  void close_sinks(std::span<const std::byte> memory) { answers_.close_sinks(memory); }
  // What post(sink) asked for may still be on its way to this memory.
  bool expects_data(std::span<const std::byte> memory) { return answers_.expects_data(memory); }

 private:
  friend class CallWriter;

  Status flush_or_lose();

  std::unique_ptr<transport::Channel> channel_;
  const ConnectionOptions options_;
  const transport::Counters counters_at_start_;
  bool abandoned_ = false;

  Answers answers_;
  Batch batch_;
  // Guarded by the batch's append lock.
  Lane lane_;            // of the last LaneSwitch sent
  uint64_t number_ = 0;  // of the last call
  std::atomic<uint64_t> calls_async_{0}, calls_waiting_{0};

  std::atomic<uint64_t> round_trips_{0}, blocked_ns_{0};
  std::unique_ptr<Ticker> ticker_;
};

// One call being written into the open batch, in place. Holds the batch lock from construction to
// post() or wait(); destroyed without either, the call is taken back. So: no blocking, no other
// call, in between.
class FARCALL_API CallWriter {
 public:
  CallWriter(ClientConnection& connection, Opcode op, const Lane& lane);
  ~CallWriter() noexcept(false);
  CallWriter(const CallWriter&) = delete;
  CallWriter& operator=(const CallWriter&) = delete;

  // The call's root struct; call it once, before payload().
  template <class T>
  typename T::Builder args() {
    return builder_.initRoot<T>();
  }
  // Instead of args(): a message that was built elsewhere.
  void message(MessageView message) { prebuilt_ = message; }
  // At most kPayloadBytesMax. Small ones are copied; larger ones are borrowed until post() or
  // wait() returns, which then have sent them.
  void payload(std::span<const std::byte> bytes) { payload_ = bytes; }

  // Nobody waits. Returns 0, or kSessionLostResult. With a sink: its bytes arrive before the answer
  // to any later call that waits for the same stream; see ClientConnection::close_sinks().
  int post();
  int post(DataSink sink);
  // Sends everything and waits. kData frames go to `sink`.
  Reply wait();
  Reply wait(DataSink sink);

 private:
  enum class Sent : uint8_t { kOpen, kCopied, kBorrowed, kRefused };

  std::span<capnp::word> frame() { return connection_.batch_.tail(); }
  int finish(uint16_t flags);
  void take_back();
  void unlock();

  ClientConnection& connection_;
  const Opcode op_;
  Sent state_ = Sent::kOpen;
  std::span<const std::byte> payload_;
  MessageView prebuilt_;
  kj::Array<capnp::word> flat_;  // of a message that didn't fit
  InPlaceBuilder builder_;       // in the words after the frame header
};

}  // namespace farcall::rpc
