// Unix sockets: a SocketChannel that also passes descriptors. They arrive with bytes, in the middle
// of any read, so every read takes them along and queues them for receive_fd().
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <deque>

#include "base/log.h"
#include "transport/socket_channel.h"

namespace farcall::transport {
namespace {

// A peer may not fill our table of descriptors: more than this many that nobody asked for end the
// channel.
constexpr size_t kQueuedFdsMax = 16;
// The kernel ends a read behind the bytes that carry descriptors, and we send one at a time.
constexpr size_t kFdsPerReadMax = 4;

class UnixChannel final : public SocketChannel {
 public:
  using SocketChannel::SocketChannel;

  Caps caps() const override { return {.passes_fds = true, .same_host = true}; }

  Status send_fd(int fd, std::span<const iovec> pieces) override;

  Result<UniqueFd> receive_fd() override {
    if (queue_.empty()) return Status::kInvalid;
    UniqueFd fd = std::move(queue_.front());
    queue_.pop_front();
    return fd;
  }

 protected:
  Read read_some(std::span<std::byte> into, int flags) override;

 private:
  bool queue_fds(msghdr& message);

  std::deque<UniqueFd> queue_;  // the receiver's
};

Status UnixChannel::send_fd(int fd, std::span<const iovec> pieces) {
  if (sending_ended()) return Status::kDisconnected;
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control = {};
  auto* header = reinterpret_cast<cmsghdr*>(control.data());
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);

  size_t sent = 0;
  const int error = send_all(pieces, control, sent);
  // Nothing left yet and the stream is whole: the descriptor was the problem.
  if (sent == 0 && (error == 0 || error == EBADF)) return Status::kInvalid;
  if (sent == 0 && error == ETOOMANYREFS) return Status::kBusy;
  return error == 0 ? Status::kOk : end_sending(error);
}

SocketChannel::Read UnixChannel::read_some(std::span<std::byte> into, int flags) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * kFdsPerReadMax)> control;
  for (;;) {
    iovec piece = {into.data(), into.size()};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t bytes = ::recvmsg(native_handle(), &message, flags | MSG_CMSG_CLOEXEC);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return {-1, errno};
    const bool has_control = message.msg_controllen > 0 || (message.msg_flags & MSG_CTRUNC) != 0;
    if (has_control && !queue_fds(message)) return {-1, EPROTO};
    return {bytes, 0};
  }
}

// False if the peer sent more than is allowed, or if this process has no room for more descriptors.
bool UnixChannel::queue_fds(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      queue_.emplace_back(fd);
    }
  }
  return (message.msg_flags & MSG_CTRUNC) == 0 && queue_.size() <= kQueuedFdsMax;
}

std::string describe_peer(int fd) {
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return "unix peer";
  return fmt::format("unix peer pid {} uid {}", credentials.pid, credentials.uid);
}

}  // namespace

Result<std::unique_ptr<Channel>> make_unix_channel(UniqueFd fd, const ChannelOptions& options) {
  sockaddr_un address = {};
  socklen_t size = sizeof address;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    log::debug("a Unix socket has no peer: {}", std::strerror(errno));
    return Status::kDisconnected;
  }
  std::string peer = describe_peer(fd.get());
  if (!make_blocking_cloexec(fd.get())) {
    log::error("{}: setting the socket up: {}", peer, std::strerror(errno));
    return Status::kDisconnected;
  }
  // Granted up to net.core.wmem_max; a Unix socket has no autotuning that could be lost.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBufferBytes, sizeof kSocketBufferBytes);
  return std::unique_ptr<Channel>(
      std::make_unique<UnixChannel>(std::move(fd), std::move(peer), options));
}

}  // namespace farcall::transport
