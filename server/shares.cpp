#include "server/shares.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace farcall::server {
namespace {

constexpr size_t kOffersMax = 4096;
constexpr time_t kSecondsMax = 5;  // for another worker to answer

struct Address {
  sockaddr_un address = {};
  socklen_t bytes = 0;
};

Address address_of(const Shares::Name& name) {
  std::string text = "farcall-share-";
  for (const std::byte each : name) text += fmt::format("{:02x}", unsigned(each));
  Address out;
  out.address.sun_family = AF_UNIX;
  std::memcpy(out.address.sun_path + 1, text.data(), text.size());  // a NUL first: abstract
  out.bytes = socklen_t(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return out;
}

bool same_user(int socket) {
  ucred who = {};
  socklen_t bytes = sizeof who;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && who.uid == geteuid();
}

// One byte, and with it a descriptor.
struct Message {
  Message() {
    vector.iov_base = &byte;
    vector.iov_len = 1;
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
  }
  char byte = 0;
  iovec vector = {};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header = {};
};

void send_file(int socket, int file) {
  Message message;
  cmsghdr* const part = CMSG_FIRSTHDR(&message.header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &file, sizeof file);
  if (sendmsg(socket, &message.header, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
    log::warning("cannot share memory: {}", std::strerror(errno));
}

}  // namespace

Shares::~Shares() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    if (wake_) (void)eventfd_write(wake_.get(), 1);
  }
  if (thread_.joinable()) thread_.join();
}

bool Shares::offer(UniqueFd file, Name* out) {
  if (getrandom(out->data(), out->size(), 0) != ssize_t(out->size())) return false;
  UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const Address address = address_of(*out);
  if (!listener ||
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address.address), address.bytes) !=
          0 ||
      listen(listener.get(), 16) != 0) {
    log::warning("cannot offer memory to other clients: {}", std::strerror(errno));
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (offers_.size() >= kOffersMax) return false;
  if (!wake_) wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return false;
  offers_.push_back({std::move(listener), std::move(file)});
  if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
  (void)eventfd_write(wake_.get(), 1);
  return true;
}

void Shares::serve() {
  for (;;) {
    std::vector<pollfd> waiting;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      waiting.push_back({wake_.get(), POLLIN, 0});
      for (const Offer& each : offers_) waiting.push_back({each.listener.get(), POLLIN, 0});
    }
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    eventfd_t count = 0;
    if (waiting[0].revents != 0) (void)eventfd_read(waiting[0].fd, &count);
    const std::lock_guard lock(mutex_);  // offers only grow: the order is the same
    for (size_t i = 1; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      const UniqueFd peer(accept4(waiting[i].fd, nullptr, nullptr, SOCK_CLOEXEC));
      if (peer && same_user(peer.get())) send_file(peer.get(), offers_[i - 1].file.get());
    }
  }
}

UniqueFd Shares::take(const Name& name) {
  const UniqueFd peer(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const Address address = address_of(name);
  const timeval patience = {kSecondsMax, 0};
  if (!peer || setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      connect(peer.get(), reinterpret_cast<const sockaddr*>(&address.address), address.bytes) !=
          0 ||
      !same_user(peer.get())) {
    return UniqueFd();
  }
  Message message;
  if (recvmsg(peer.get(), &message.header, MSG_CMSG_CLOEXEC) != 1) return UniqueFd();
  const cmsghdr* const part = CMSG_FIRSTHDR(&message.header);
  if (part == nullptr || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS ||
      part->cmsg_len != CMSG_LEN(sizeof(int))) {
    return UniqueFd();
  }
  int file = -1;
  std::memcpy(&file, CMSG_DATA(part), sizeof file);
  return UniqueFd(file);
}

}  // namespace farcall::server
