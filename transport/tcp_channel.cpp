// TCP: a SocketChannel over a socket set up for many small messages and for bulk, which notices
// when the peer's host has vanished without a word (power cut, cable).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "base/log.h"
#include "transport/socket_channel.h"

namespace farcall::transport {
namespace {

// Within this round trip we are in one machine or one rack, where bbr's pacing halves the bandwidth
// and fixed buffers beat autotuning; on longer links the kernel's own choices are better.
constexpr uint32_t kShortLinkMicrosMax = 1000;
// Each retransmission waits twice as long as the one before, the first at least 200 ms: eight
// without an answer are at least 51 s of silence, whatever the peer's program is doing, since its
// kernel would answer.
constexpr uint8_t kUnansweredMax = 8;

template <class T>
bool set_option(int fd, int level, int name, const T& value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

int sysctl_number(const char* path) {
  std::ifstream file(path);
  int value = 0;
  return file >> value ? value : 0;
}

// Asking for a size turns autotuning off, so it must only be done where the size is then granted.
void fix_buffers(int fd) {
  if (sysctl_number("/proc/sys/net/core/wmem_max") >= kSocketBufferBytes) {
    set_option(fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
  }
  if (sysctl_number("/proc/sys/net/core/rmem_max") >= kSocketBufferBytes) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes);
  }
}

void prefer_cubic_to_bbr(int fd) {
  char algorithm[16] = {};
  socklen_t size = sizeof algorithm - 1;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, algorithm, &size) != 0) return;
  if (std::string_view(algorithm) != "bbr") return;
  // Not every kernel has it and not everyone may choose it: then it stays as it was.
  ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

bool read_info(int fd, tcp_info& info) {
  socklen_t size = sizeof info;
  std::memset(&info, 0, sizeof info);
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
}

bool configure(int fd) {
  // Without it a batch and the waiting call behind it take 48 ms instead of 6 us.
  if (!set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)) return false;

  // A vanished host, nothing in flight: keepalive finds out after 40 s.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 20);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
  // With bytes in flight keepalive is off, and the kernel alone would try for 15 minutes.
  // TCP_USER_TIMEOUT would end that, but also a healthy connection whose peer has not read for as
  // long (a server in a long call), so blocked calls come back now and then and ask
  // peer_vanished().
  const timeval silent = {kSilentWaitSeconds, 0};
  set_option(fd, SOL_SOCKET, SO_RCVTIMEO, silent);
  set_option(fd, SOL_SOCKET, SO_SNDTIMEO, silent);

  tcp_info info;
  if (read_info(fd, info) && info.tcpi_rtt < kShortLinkMicrosMax) {
    prefer_cubic_to_bbr(fd);
    fix_buffers(fd);
  }
  return true;
}

std::string describe(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return fmt::format("tcp://{}:{}", text, ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return fmt::format("tcp://[{}]:{}", text, ntohs(v6.sin6_port));
}

class TcpChannel final : public SocketChannel {
 public:
  using SocketChannel::SocketChannel;

  Caps caps() const override { return {}; }

 protected:
  bool peer_vanished() const override {
    tcp_info info;
    return read_info(native_handle(), info) &&
           (info.tcpi_retransmits >= kUnansweredMax || info.tcpi_probes >= kUnansweredMax);
  }
};

}  // namespace

Result<std::unique_ptr<Channel>> make_tcp_channel(UniqueFd fd, const ChannelOptions& options) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    log::debug("a TCP connection was gone before it could be used: {}", std::strerror(errno));
    return Status::kDisconnected;
  }
  std::string peer = describe(address);
  if (!make_blocking_cloexec(fd.get()) || !configure(fd.get())) {
    log::error("{}: setting the socket up: {}", peer, std::strerror(errno));
    return Status::kDisconnected;
  }
  return std::unique_ptr<Channel>(
      std::make_unique<TcpChannel>(std::move(fd), std::move(peer), options));
}

}  // namespace farcall::transport
