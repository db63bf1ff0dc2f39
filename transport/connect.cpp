#include "transport/connect.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/fault.h"
#include "base/log.h"
#include "transport/socket_channel.h"

namespace farcall::transport {
namespace {

using asio::ip::tcp;

Status refuse(const Url& url, Status status, const std::string& why) {
  log::error("cannot connect to {}: {}", url.text(), why);
  return status;
}

// Asio's own open() leaves a moment in which a fork() elsewhere in the program would leak the
// descriptor.
UniqueFd open_socket(int family) {
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

// TCP may connect a socket to itself when client and server are one host, nobody listens, and the
// kernel picks the very port as the client's own.
bool is_connected_to_itself(const tcp::socket& socket) {
  asio::error_code ignored;
  return socket.local_endpoint(ignored) == socket.remote_endpoint(ignored);
}

// One address. On success `fd` is the connected socket.
asio::error_code connect_to(asio::io_context& io, const tcp::endpoint& endpoint,
                            std::chrono::nanoseconds timeout, UniqueFd& fd) {
  UniqueFd opened = open_socket(endpoint.protocol().family());
  if (!opened) return {errno, asio::error::get_system_category()};
  tcp::socket socket(io);
  asio::error_code error;
  socket.assign(endpoint.protocol(), opened.get(), error);
  if (error) return error;
  (void)opened.release();

  std::optional<asio::error_code> outcome;
  socket.async_connect(endpoint, [&outcome](const asio::error_code& result) { outcome = result; });
  io.restart();
  io.run_for(timeout);
  if (!outcome) {
    socket.close(error);
    io.restart();
    io.run();  // the handler refers to our stack: let it come, cancelled
    return asio::error::timed_out;
  }
  if (*outcome) return *outcome;
  if (is_connected_to_itself(socket)) return asio::error::connection_refused;
  fd.reset(socket.release(error));
  return error;
}

Result<std::unique_ptr<Channel>> connect_tcp(const Url& url, Deadline deadline,
                                             const ChannelOptions& options) {
  if (url.port == 0) return refuse(url, Status::kInvalid, "port 0 is for listening only");
  asio::io_context io;
  tcp::resolver resolver(io);
  asio::error_code error;
  const auto found = resolver.resolve(url.host, std::to_string(url.port), error);
  if (error) return refuse(url, Status::kDisconnected, error.message());

  // A dead address (often the IPv6 one) may not eat the time of those behind it.
  size_t left = found.size();
  for (const auto& entry : found) {
    UniqueFd fd;
    error = connect_to(io, entry.endpoint(), deadline.remaining() / left--, fd);
    if (!error) return make_tcp_channel(std::move(fd), options);
  }
  return refuse(url, error == asio::error::timed_out ? Status::kTimeout : Status::kDisconnected,
                error.message());
}

// Blocking, with the kernel's own timeout: a Unix socket in non-blocking mode answers EAGAIN when
// the server's backlog is full, and there is no event to wait for then.
Result<std::unique_ptr<Channel>> connect_unix(const Url& url, Deadline deadline,
                                              const ChannelOptions& options) {
  UniqueFd fd = open_socket(AF_UNIX);
  if (!fd) return refuse(url, Status::kDisconnected, std::strerror(errno));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (url.path.size() >= sizeof address.sun_path) {
    return refuse(url, Status::kInvalid, "the path is too long");
  }
  std::memcpy(address.sun_path, url.path.c_str(), url.path.size() + 1);

  for (;;) {
    const auto micros = deadline.is_never()
                            ? 0  // zero means no timeout
                            : std::max<int64_t>(1, deadline.remaining().count() / 1000);
    const timeval timeout = {micros / 1'000'000, micros % 1'000'000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      break;
    if (errno == EAGAIN) return refuse(url, Status::kTimeout, "the server does not accept");
    if (errno != EINTR) return refuse(url, Status::kDisconnected, std::strerror(errno));
  }
  const timeval none = {};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  return make_unix_channel(std::move(fd), options);
}

}  // namespace

Result<std::unique_ptr<Channel>> connect(const Url& url, std::chrono::nanoseconds timeout,
                                         const ChannelOptions& options) {
  if (fault::hit("transport.connect")) {
    return refuse(url, Status::kDisconnected, "it fails on purpose");
  }
  const Deadline deadline = Deadline::after(timeout);
  try {
    return url.kind == Url::Kind::kTcp ? connect_tcp(url, deadline, options)
                                       : connect_unix(url, deadline, options);
  } catch (
      const std::exception& problem) {  // Asio, when the process is out of descriptors or memory
    return refuse(url, Status::kDisconnected, problem.what());
  }
}

}  // namespace farcall::transport
