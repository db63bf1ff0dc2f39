#include "transport/socket_channel.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/fault.h"
#include "base/log.h"

namespace farcall::transport {
namespace {

void add(std::atomic<uint64_t>& counter, uint64_t amount) {
  counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

// Where a send stands in its pieces. Usually one window covers them all and is handed to the kernel
// as it is; a copy is made only to go on in the middle of a piece.
class Cursor {
 public:
  explicit Cursor(std::span<const iovec> pieces) : rest_(pieces) { skip_empty(); }

  bool done() const { return rest_.empty(); }
  std::span<const iovec> window() {
    if (offset_ == 0) return rest_.first(std::min<size_t>(rest_.size(), IOV_MAX));
    const size_t count = std::min(rest_.size(), resumed_.size());
    std::copy_n(rest_.begin(), count, resumed_.begin());
    resumed_[0].iov_base = static_cast<std::byte*>(rest_[0].iov_base) + offset_;
    resumed_[0].iov_len = rest_[0].iov_len - offset_;
    return std::span(resumed_).first(count);
  }
  void advance(size_t bytes) {
    while (bytes > 0) {
      const size_t left = rest_.front().iov_len - offset_;
      if (bytes < left) {
        offset_ += bytes;
        return;
      }
      bytes -= left;
      offset_ = 0;
      rest_ = rest_.subspan(1);
    }
    skip_empty();
  }

 private:
  void skip_empty() {
    while (offset_ == 0 && !rest_.empty() && rest_.front().iov_len == 0) rest_ = rest_.subspan(1);
  }

  std::span<const iovec> rest_;
  size_t offset_ = 0;  // of rest_[0], already sent
  std::array<iovec, 64> resumed_;
};

// The peer went away: expected at the end of every connection, so not worth a warning.
bool is_ordinary_end(int error) { return error == EPIPE || error == ECONNRESET; }

timespec to_timespec(std::chrono::nanoseconds wait) {
  return {static_cast<time_t>(wait.count() / 1'000'000'000),
          static_cast<long>(wait.count() % 1'000'000'000)};
}

}  // namespace

bool make_blocking_cloexec(int fd) {
  const int status = ::fcntl(fd, F_GETFL);
  const int flags = ::fcntl(fd, F_GETFD);
  return status >= 0 && flags >= 0 && ::fcntl(fd, F_SETFL, status & ~O_NONBLOCK) == 0 &&
         ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC) == 0;
}

int SocketChannel::send_all(std::span<const iovec> pieces, std::span<std::byte> control,
                            size_t& sent) {
  sent = 0;
  for (Cursor cursor(pieces); !cursor.done();) {
    const std::span<const iovec> window = cursor.window();
    msghdr message = {};
    message.msg_iov = const_cast<iovec*>(window.data());  // sendmsg doesn't write it
    message.msg_iovlen = window.size();
    if (sent == 0 && !control.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
    }
    const ssize_t taken = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (taken < 0) {
      if (errno == EINTR) continue;
      // Only a TCP socket has a send timeout: time to look whether anybody is there.
      if ((errno == EAGAIN || errno == EWOULDBLOCK) && !peer_vanished()) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? ETIMEDOUT : errno;
    }
    add(send_calls_, 1);
    add(bytes_sent_, static_cast<uint64_t>(taken));
    sent += static_cast<size_t>(taken);
    cursor.advance(static_cast<size_t>(taken));
  }
  return 0;
}

Status SocketChannel::send(std::span<const iovec> pieces) {
  if (sending_ended()) return Status::kDisconnected;
  size_t sent = 0;
  const int error = fault::hit("transport.send") ? ECONNRESET : send_all(pieces, {}, sent);
  return error == 0 ? Status::kOk : end_sending(error);
}

Status SocketChannel::end_sending(int error) {
  sending_over_ = true;
  report("sending", error);
  return Status::kDisconnected;
}

Status SocketChannel::send_fd(int, std::span<const iovec>) { return Status::kUnsupported; }
Result<UniqueFd> SocketChannel::receive_fd() { return Status::kUnsupported; }

SocketChannel::Read SocketChannel::read_some(std::span<std::byte> into, int flags) {
  for (;;) {
    const ssize_t bytes = ::recv(fd_.get(), into.data(), into.size(), flags);
    if (bytes >= 0) return {bytes, 0};
    if (errno != EINTR) return {-1, errno};
  }
}

SocketChannel::Read SocketChannel::block_until_readable(std::span<std::byte> into,
                                                        Deadline deadline) {
  for (;;) {
    if (deadline.is_never()) {
      const Read read = read_some(into, 0);
      if (!read.would_block()) return read;
    } else {
      const auto slice = std::min<std::chrono::nanoseconds>(
          deadline.remaining(), std::chrono::seconds(kSilentWaitSeconds));
      const timespec timeout = to_timespec(slice);
      pollfd poll = {fd_.get(), POLLIN, 0};
      const int ready = ::ppoll(&poll, 1, &timeout, nullptr);
      if (ready < 0 && errno != EINTR) return {-1, errno};
      if (ready > 0) {
        const Read read = read_some(into, MSG_DONTWAIT);
        if (!read.would_block()) return read;
      }
      if (deadline.expired()) return {-1, EAGAIN};
      if (ready != 0) continue;
    }
    if (peer_vanished()) return {-1, ETIMEDOUT};
  }
}

Result<size_t> SocketChannel::receive(std::span<std::byte> into, Deadline deadline) {
  assert(!into.empty());
  if (receiving_over_ || shut_down_.load(std::memory_order_relaxed)) return Status::kDisconnected;
  Read read = {};
  tuner_.wait(
      [&] {
        read = read_some(into, MSG_DONTWAIT);
        return !read.would_block();
      },
      [&] { read = block_until_readable(into, deadline); });
  if (read.would_block()) return Status::kTimeout;
  if (fault::hit("transport.receive")) read = {-1, ECONNRESET};
  return finish_read(read);
}

Result<size_t> SocketChannel::try_receive(std::span<std::byte> into) {
  assert(!into.empty());
  if (receiving_over_ || shut_down_.load(std::memory_order_relaxed)) return Status::kDisconnected;
  const Read read = read_some(into, MSG_DONTWAIT);
  if (read.would_block()) return size_t{0};
  return finish_read(read);
}

Result<size_t> SocketChannel::finish_read(const Read& read) {
  if (read.bytes > 0) {
    add(receive_calls_, 1);
    add(bytes_received_, static_cast<uint64_t>(read.bytes));
    return static_cast<size_t>(read.bytes);
  }
  receiving_over_ = true;
  if (read.bytes < 0) report("receiving", read.error);
  return read.bytes < 0 && read.error == EPROTO ? Status::kProtocol : Status::kDisconnected;
}

void SocketChannel::shutdown() {
  if (shut_down_.exchange(true)) return;
  ::shutdown(fd_.get(), SHUT_RDWR);  // fails only if the peer has gone already
}

Counters SocketChannel::counters() const {
  return {
      bytes_sent_.load(std::memory_order_relaxed), bytes_received_.load(std::memory_order_relaxed),
      send_calls_.load(std::memory_order_relaxed), receive_calls_.load(std::memory_order_relaxed)};
}

void SocketChannel::report(const char* what, int error) {
  if (is_ordinary_end(error) || shut_down_.load(std::memory_order_relaxed)) {
    log::debug("{}: {}: {}", peer_, what, std::strerror(error));
    return;
  }
  if (reported_.exchange(true)) return;
  log::error("{}: {}: {}", peer_, what, std::strerror(error));
}

}  // namespace farcall::transport
