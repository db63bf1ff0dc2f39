// What TCP and Unix channels share: the data path of a connected, blocking stream socket, straight
// on the descriptor. Sending blocks in sendmsg; receiving spins with MSG_DONTWAIT or blocks in recv
// as the WaitTuner says. Private to this folder; everyone else sees Channel.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <atomic>
#include <string>
#include <vector>

#include "transport/channel.h"

namespace farcall::transport {

class SocketChannel : public Channel {
 public:
  SocketChannel(UniqueFd fd, std::string peer, const ChannelOptions& options)
      : fd_(std::move(fd)), peer_(std::move(peer)), tuner_(options.wait) {}

  Status send(std::span<const iovec> pieces) override;
  Result<size_t> receive(std::span<std::byte> into, Deadline deadline) override;
  Result<size_t> try_receive(std::span<std::byte> into) override;
  void shutdown() override;
  Status send_fd(int fd, std::span<const iovec> pieces) override;
  Result<UniqueFd> receive_fd() override;
  int native_handle() const override { return fd_.get(); }
  Counters counters() const override;
  std::string peer() const override { return peer_; }

 protected:
  // What one read brought: bytes > 0, or 0 at the end of the stream, or -1 and an errno.
  struct Read {
    ssize_t bytes;
    int error;
    bool would_block() const { return bytes < 0 && (error == EAGAIN || error == EWOULDBLOCK); }
  };
  // One read, without EINTR; `flags` is 0 or MSG_DONTWAIT.
  virtual Read read_some(std::span<std::byte> into, int flags);
  // Asked when nothing has moved for kSilentWait: is the peer's host gone, though the kernel still
  // tries?
  virtual bool peer_vanished() const { return false; }

  // Sends everything; `control`, if any, goes with the first byte. Returns an errno, and what was
  // sent in `sent`.
  int send_all(std::span<const iovec> pieces, std::span<std::byte> control, size_t& sent);
  bool sending_ended() const { return sending_over_ || shut_down_.load(std::memory_order_relaxed); }
  Status end_sending(int error);

 private:
  Read block_until_readable(std::span<std::byte> into, Deadline deadline);
  Result<size_t> finish_read(const Read& read);
  void report(const char* what, int error);

  UniqueFd fd_;
  std::string peer_;
  WaitTuner tuner_;  // the receiver's
  std::atomic<bool> shut_down_ = false;
  std::atomic<bool> reported_ = false;  // one line per channel, whichever thread meets the error
  bool sending_over_ = false;           // the sender's
  bool receiving_over_ = false;         // the receiver's
  // Each has one writer, so a relaxed load and store is enough, without a locked instruction.
  std::atomic<uint64_t> bytes_sent_ = 0;
  std::atomic<uint64_t> send_calls_ = 0;
  std::atomic<uint64_t> bytes_received_ = 0;
  std::atomic<uint64_t> receive_calls_ = 0;
};

// Sets the connected socket up and wraps it. kDisconnected if it has lost its peer already.
Result<std::unique_ptr<Channel>> make_tcp_channel(UniqueFd fd, const ChannelOptions& options);
Result<std::unique_ptr<Channel>> make_unix_channel(UniqueFd fd, const ChannelOptions& options);

// Blocking and close-on-exec, whatever it was before.
bool make_blocking_cloexec(int fd);
// After this long without progress a blocked TCP call asks peer_vanished().
constexpr int kSilentWaitSeconds = 5;
// Below 256 KiB bulk throughput falls to a half, above 1 MiB it stays flat
// (bench/transport_bench.cpp --socket-buffer).
constexpr int kSocketBufferBytes = 1 << 20;

}  // namespace farcall::transport
