#include "transport/channel.h"

#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "transport/socket_channel.h"

namespace farcall::transport {
namespace {

// -1 if fd is not a socket or has no such property.
int socket_property(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

}  // namespace

Result<std::unique_ptr<Channel>> adopt(UniqueFd fd, const ChannelOptions& options) {
  const int domain = socket_property(fd.get(), SO_DOMAIN);
  const bool is_stream = socket_property(fd.get(), SO_TYPE) == SOCK_STREAM &&
                         socket_property(fd.get(), SO_ACCEPTCONN) == 0;
  if (is_stream && (domain == AF_INET || domain == AF_INET6) &&
      socket_property(fd.get(), SO_PROTOCOL) == IPPROTO_TCP) {
    return make_tcp_channel(std::move(fd), options);
  }
  if (is_stream && domain == AF_UNIX) return make_unix_channel(std::move(fd), options);
  log::error("descriptor {} is not a connected TCP or Unix stream socket", fd.get());
  return Status::kInvalid;
}

Status send_bytes(Channel& channel, std::span<const std::byte> bytes) {
  const iovec piece = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  return channel.send({&piece, 1});
}

Status receive_exactly(Channel& channel, std::span<std::byte> into, Deadline deadline) {
  while (!into.empty()) {
    const Result<size_t> got = channel.receive(into, deadline);
    if (!got.ok()) return got.status();
    into = into.subspan(*got);
  }
  return Status::kOk;
}

}  // namespace farcall::transport
