// THE interface of this folder: a reliable, ordered stream of bytes to one peer. It knows no
// frames, no calls and no CUDA; rpc/ cuts the stream into frames. Get one from connect()
// (connect.h), Listener (listener.h), adopt() (an inherited descriptor) or make_sim_pair() (tests).
//
// Threads: one sender and one receiver may be active at a time, in different threads; whoever has
// several writers holds a lock around send(). shutdown(), counters(), caps() and peer() may be
// called from any thread.
//
// Ends: when the peer closes, when shutdown() was called or when the kernel reports an error, calls
// return kDisconnected, now and for ever. A peer that closes is not worth a log line above debug;
// any other error is logged once, here, with the kernel's words. Bytes that arrived before the
// peer's close are still received.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "base/wait_tuner.h"

namespace farcall::transport {

// What a channel can do beyond bytes; callers choose by these and never by kind.
struct Caps {
  bool passes_fds = false;  // send_fd and receive_fd work
  // Both ends certainly share a kernel, so a descriptor or a shared mapping means the same to both.
  // False for TCP even over loopback, which may be the near end of a tunnel.
  bool same_host = false;
};

// Exact totals since the channel was made. The calls are system calls that moved bytes; the guard
// of "one sendmsg per flush" is a test on send_calls.
struct Counters {
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t send_calls = 0;
  uint64_t receive_calls = 0;
};

struct ChannelOptions {
  WaitOptions wait = {};  // how receive() waits
};

class Channel {
 public:
  virtual ~Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Sends all bytes of all pieces, in order, or fails; with one system call when the kernel takes
  // them at once. Blocks while the peer's side is full. After a failure an unknown prefix has been
  // sent: the stream is over.
  virtual Status send(std::span<const iovec> pieces) = 0;

  // Receives between 1 and into.size() bytes, waiting for the first one as ChannelOptions::wait
  // says. kTimeout at the deadline (the channel stays usable), kDisconnected at the end. `into`
  // must not be empty.
  virtual Result<size_t> receive(std::span<std::byte> into,
                                 Deadline deadline = Deadline::never()) = 0;

  // The same without waiting: 0 when nothing is there now.
  virtual Result<size_t> try_receive(std::span<std::byte> into) = 0;

  // Ends the stream in both directions and wakes a sender and a receiver that are blocked here.
  // What was sent still arrives, and then the peer's receiver sees the end. A sender blocked there
  // may notice only when this channel is destroyed, since TCP goes on taking bytes: who sees the
  // end should shut down as well. Idempotent. The descriptor stays open until destruction, so no
  // other thread can meet a reused number.
  virtual void shutdown() = 0;

  // Only with caps().passes_fds; kUnsupported otherwise. The descriptor travels with the first byte
  // of `pieces` (at least one byte) and is duplicated: the caller keeps its own. On the other side,
  // receive_fd() hands out descriptors in order of arrival, once the bytes that carried them have
  // been received; kInvalid when there is none. So the protocol on top says in its bytes that a
  // descriptor comes along, and how many.
  virtual Status send_fd(int fd, std::span<const iovec> pieces) = 0;
  virtual Result<UniqueFd> receive_fd() = 0;

  // The descriptor to poll for readable (poll, epoll, Asio's stream_descriptor) or to hand to a
  // child process, which makes its own channel of it with adopt(); -1 if there is none. Still owned
  // by the channel.
  virtual int native_handle() const = 0;

  virtual Caps caps() const = 0;
  virtual Counters counters() const = 0;
  virtual std::string peer()
      const = 0;  // for logs: "tcp://10.0.0.7:51812", "unix peer pid 812 uid 1000"

 protected:
  Channel() = default;
};

// Makes a channel of a connected stream socket, TCP or Unix, whoever made it (a daemon that hands
// over an accepted connection, socketpair). The socket is set up here as connect() would: blocking,
// close-on-exec, TCP_NODELAY. Bytes that someone else has read before are not seen again. kInvalid,
// logged, if it is no such socket.
Result<std::unique_ptr<Channel>> adopt(UniqueFd fd, const ChannelOptions& options = {});

// Conveniences over the interface.
Status send_bytes(Channel& channel, std::span<const std::byte> bytes);
// Exactly into.size() bytes, for headers of known size. After kTimeout the position in the stream
// is unknown.
Status receive_exactly(Channel& channel, std::span<std::byte> into,
                       Deadline deadline = Deadline::never());

}  // namespace farcall::transport
