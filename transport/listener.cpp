#include "transport/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "transport/socket_channel.h"

namespace farcall::transport {
namespace {

Status refuse(const Url& url, const std::string& why) {
  log::error("cannot listen on {}: {}", url.text(), why);
  return Status::kInvalid;
}

UniqueFd open_socket(int family) {
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

class SocketListener : public Listener {
 public:
  SocketListener(UniqueFd fd, Url url, const ListenOptions& options)
      : fd_(std::move(fd)), url_(std::move(url)), options_(options) {}

  Result<std::unique_ptr<Channel>> accept() override;
  int native_handle() const override { return fd_.get(); }
  const Url& url() const override { return url_; }

 private:
  UniqueFd fd_;
  Url url_;
  ListenOptions options_;
  bool full_reported_ = false;
};

// Not Asio's accept: it would leave a moment in which the descriptor survives an exec.
Result<std::unique_ptr<Channel>> SocketListener::accept() {
  for (;;) {
    UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) {
      full_reported_ = false;
      auto channel = url_.kind == Url::Kind::kTcp
                         ? make_tcp_channel(std::move(fd), options_.channel)
                         : make_unix_channel(std::move(fd), options_.channel);
      if (channel.ok()) return channel;
      continue;  // it came and went
    }
    switch (errno) {
      case EAGAIN:
        return Status::kBusy;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        if (!full_reported_) log::error("{}: cannot accept: {}", url_.text(), std::strerror(errno));
        full_reported_ = true;
        return Status::kBusy;
      case EBADF:
      case EINVAL:
      case ENOTSOCK:
      case EOPNOTSUPP:
        assert(!"the listening socket is sound");
        [[fallthrough]];
      // EINTR, ECONNABORTED and whatever the network did to this one connection: try the next.
      default:
        continue;
    }
  }
}

Result<std::unique_ptr<Listener>> listen_tcp(const Url& url, const ListenOptions& options) {
  using asio::ip::tcp;
  asio::io_context io;
  tcp::resolver resolver(io);
  asio::error_code error;
  const auto found =
      resolver.resolve(url.host, std::to_string(url.port), tcp::resolver::passive, error);
  if (error) return refuse(url, error.message());

  const tcp::endpoint endpoint = found.begin()->endpoint();
  UniqueFd fd = open_socket(endpoint.protocol().family());
  const int on = 1;  // a restarted server needn't wait for the connections of the last one to fade
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0 ||
      ::listen(fd.get(), options.backlog) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return refuse(url, std::strerror(errno));
  }
  Url bound_url = url;
  bound_url.port =
      ntohs(bound.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(bound).sin_port
                                       : reinterpret_cast<const sockaddr_in6&>(bound).sin6_port);
  return std::unique_ptr<Listener>(
      std::make_unique<SocketListener>(std::move(fd), std::move(bound_url), options));
}

// The socket file goes with its listener, unless somebody has put another one in its place.
class UnixListener final : public SocketListener {
 public:
  UnixListener(UniqueFd fd, Url url, const ListenOptions& options)
      : SocketListener(std::move(fd), std::move(url), options) {
    known_ = ::lstat(this->url().path.c_str(), &file_) == 0;
  }
  ~UnixListener() override {
    struct stat now = {};
    if (known_ && ::lstat(url().path.c_str(), &now) == 0 && now.st_ino == file_.st_ino &&
        now.st_dev == file_.st_dev) {
      ::unlink(url().path.c_str());
    }
  }

 private:
  struct stat file_ = {};
  bool known_ = false;
};

// Two servers that start at once must not take each other's fresh socket for a stale one. The lock
// is on the folder, so that no lock file stays behind; it goes with the descriptor.
UniqueFd lock_folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::flock(fd.get(), LOCK_EX) != 0) fd.reset();
  return fd;
}

bool is_stale_socket(const sockaddr_un& address) {
  struct stat file = {};
  if (::lstat(address.sun_path, &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  const UniqueFd probe = open_socket(AF_UNIX);
  // Success, EAGAIN (a full backlog) and EACCES all mean that somebody may be there.
  return probe &&
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

Result<std::unique_ptr<Listener>> listen_unix(const Url& url, const ListenOptions& options) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (url.path.size() >= sizeof address.sun_path) return refuse(url, "the path is too long");
  std::memcpy(address.sun_path, url.path.c_str(), url.path.size() + 1);

  const UniqueFd lock = lock_folder_of(url.path);
  UniqueFd fd = open_socket(AF_UNIX);
  if (!lock || !fd) return refuse(url, std::strerror(errno));
  const auto bind = [&] {
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  };
  bool bound = bind();
  if (!bound && errno == EADDRINUSE) {
    if (!is_stale_socket(address)) {
      return refuse(url, "somebody listens there, or the file is no socket");
    }
    ::unlink(address.sun_path);
    bound = bind();
  }
  // Nobody can connect before listen(), so the permissions are right from the first moment.
  if (!bound || ::chmod(address.sun_path, options.unix_mode) != 0 ||
      ::listen(fd.get(), options.backlog) != 0) {
    const int error = errno;
    if (bound) ::unlink(address.sun_path);
    return refuse(url, std::strerror(error));
  }
  return std::unique_ptr<Listener>(std::make_unique<UnixListener>(std::move(fd), url, options));
}

}  // namespace

Result<std::unique_ptr<Channel>> Listener::accept(Deadline deadline) {
  for (;;) {
    auto channel = accept();
    if (channel.ok() || channel.status() != Status::kBusy) return channel;
    if (deadline.expired()) return Status::kTimeout;
    pollfd poll = {native_handle(), POLLIN, 0};
    ::poll(&poll, 1, deadline.remaining_ms());
  }
}

Result<std::unique_ptr<Listener>> listen(const Url& url, const ListenOptions& options) {
  try {
    return url.kind == Url::Kind::kTcp ? listen_tcp(url, options) : listen_unix(url, options);
  } catch (
      const std::exception& problem) {  // Asio, when the process is out of descriptors or memory
    return refuse(url, problem.what());
  }
}

}  // namespace farcall::transport
