// A door for clients: a listening TCP or Unix socket. Its descriptor can be polled, so that it fits
// any event loop; with Asio: wrap a dup() of native_handle() in a posix::stream_descriptor,
// async_wait(wait_read), then accept() until kBusy. It belongs to one thread.
#pragma once

#include <sys/types.h>

#include <memory>

#include "transport/channel.h"
#include "transport/url.h"

namespace farcall::transport {

struct ListenOptions {
  ChannelOptions channel = {};  // of the accepted channels
  int backlog = 128;
  mode_t unix_mode = 0600;  // permissions of the socket file: who may connect
};

class Listener {
 public:
  virtual ~Listener() = default;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The next waiting connection. kBusy when there is none and when this process is out of
  // descriptors (logged); then wait for readable, or a moment, and try again.
  virtual Result<std::unique_ptr<Channel>> accept() = 0;
  // The same, waiting until the deadline: kTimeout.
  Result<std::unique_ptr<Channel>> accept(Deadline deadline);

  virtual int native_handle() const = 0;
  virtual const Url& url()
      const = 0;  // what clients connect to: with the port that was given for port 0

 protected:
  Listener() = default;
};

// A unix socket file that is there already is taken over only if nobody listens on it; it is
// removed when the Listener goes. kInvalid, logged, when the address is in use or not ours.
Result<std::unique_ptr<Listener>> listen(const Url& url, const ListenOptions& options = {});

}  // namespace farcall::transport
