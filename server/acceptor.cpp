#include "server/acceptor.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/log.h"

namespace farcall::server {
namespace {

// A refused client needs a moment to read why: closing at once while its bytes lie unread would
// reset the connection and destroy the sentence.
constexpr std::chrono::milliseconds kFarewell{1000};
// Until when a door out of descriptors stays shut.
constexpr std::chrono::milliseconds kBackOff{1000};
// Newcomers get turns: one that sends fast must not keep the loop.
constexpr int kAcceptsPerTurn = 32;
constexpr size_t kDiscardedBytesMax = 1 << 20;
constexpr int kRefusalsLoggedPerSecond = 20;

// Asio watches a descriptor that somebody else owns. release() before the owner passes it to
// another process: the registration belongs to the open file and would survive our close.
class Watch {
 public:
  // A descriptor that can't be watched (the system's limit of watches) gives an error to every
  // wait.
  Watch(asio::io_context& io, int fd) : descriptor_(io) {
    asio::error_code error;
    descriptor_.assign(fd, error);
    if (error) log::error("cannot watch a connection: {}", error.message());
  }
  ~Watch() { release(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  template <class Handler>
  void on_readable(Handler handler) {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, std::move(handler));
  }
  void release() {
    if (descriptor_.is_open()) descriptor_.release();
  }

 private:
  asio::posix::stream_descriptor descriptor_;
};

// Never waits: nothing was sent on this connection before, and a refusal fits any send buffer.
bool say(transport::Channel& channel, const rpc::Refusal& refusal) {
  if (rpc::refuse(channel, refusal) != Status::kOk) return false;
  ::shutdown(channel.native_handle(), SHUT_WR);
  return true;
}

}  // namespace

// --- One connection without a complete hello

class Acceptor::Newcomer : public std::enable_shared_from_this<Newcomer> {
 public:
  Newcomer(Acceptor& owner, std::unique_ptr<transport::Channel> channel)
      : owner_(owner),
        peer_(channel->peer()),
        watch_(owner.io_, channel->native_handle()),
        timer_(owner.io_),
        channel_(std::move(channel)),
        receiver_(rpc::HelloReceiver::From::kClient) {}

  void start() {
    timer_.expires_after(owner_.limits_.hello_timeout);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->on_timeout();
    });
    wait();
  }

  // Says why and waits for the other side to close.
  void refuse(const rpc::Refusal& refusal) {
    owner_.log_refusal(peer_, refusal.reason);
    if (!say(*channel_, refusal)) return leave();
    leaving_ = true;
    timer_.expires_after(kFarewell);  // ends the wait of start()
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->leave();
    });
    wait();
  }

  // Ends it here and now. The last reference may go with this call's return.
  void leave() {
    const auto self = shared_from_this();
    watch_.release();
    timer_.cancel();
    channel_.reset();
    owner_.forget(this);
  }

  bool leaving() const { return leaving_; }
  const std::string& peer() const { return peer_; }

 private:
  void wait() {
    if (waiting_) return;
    waiting_ = true;
    watch_.on_readable([self = shared_from_this()](const asio::error_code& error) {
      self->waiting_ = false;
      if (error || !self->channel_) return;
      self->leaving_ ? self->discard() : self->read();
    });
  }

  void on_timeout() {
    if (!channel_ || leaving_) return;
    refuse({.reason = "no hello within " + std::to_string(owner_.limits_.hello_timeout.count()) +
                      " ms of connecting",
            .status = kStatusUnavailable});
  }

  void read() {
    switch (receiver_.poll(*channel_)) {
      case Status::kOk:
        return arrive();
      case Status::kBusy:
        return wait();
      case Status::kProtocol:
        return refuse_protocol();
      default:
        log::debug("{}: left without a hello", peer_);
        return leave();
    }
  }

  void refuse_protocol() {
    const uint32_t version = receiver_.peer_protocol_version();
    refuse({.reason = version != 0 ? rpc::protocol_mismatch(version) : receiver_.problem(),
            .status = kStatusVersionMismatch});
  }

  void arrive() {
    rpc::HelloMessage hello = receiver_.take();
    auto client = rpc::read_hello(hello.words());
    if (!client)
      return refuse({.reason = "the hello does not decode", .status = kStatusVersionMismatch});
    const auto self = shared_from_this();
    watch_.release();  // from here on the connection may become a worker's
    Arrival arrival{std::move(channel_), std::move(hello), client.take()};
    if (const auto refusal = owner_.on_arrival_(arrival)) {
      owner_.log_refusal(peer_, refusal->reason);
      // All that it sent has been read, so closing does not reset the connection.
      if (arrival.channel) say(*arrival.channel, *refusal);
    }
    leave();
  }

  void discard() {
    std::byte scratch[4096];
    for (;;) {
      const auto got = channel_->try_receive(scratch);
      if (!got) return leave();
      if (*got == 0) return wait();
      discarded_ += *got;
      if (discarded_ > kDiscardedBytesMax) return leave();
    }
  }

  Acceptor& owner_;
  const std::string peer_;
  Watch watch_;
  asio::steady_timer timer_;
  std::unique_ptr<transport::Channel> channel_;
  rpc::HelloReceiver receiver_;
  size_t discarded_ = 0;
  bool leaving_ = false, waiting_ = false;
};

// --- A listener and its place in the event loop

class Acceptor::Door : public std::enable_shared_from_this<Door> {
 public:
  Door(Acceptor& owner, std::unique_ptr<transport::Listener> listener)
      : owner_(owner),
        listener_(std::move(listener)),
        watch_(owner.io_, listener_->native_handle()),
        timer_(owner.io_) {}

  transport::Listener& listener() { return *listener_; }

  void wait() {
    watch_.on_readable([self = shared_from_this()](const asio::error_code& error) {
      if (!error && self->listener_) self->owner_.accept_all(*self);
    });
  }
  void wait_after_back_off() {
    timer_.expires_after(kBackOff);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error && self->listener_) self->wait();
    });
  }
  void close() {
    watch_.release();
    timer_.cancel();
    listener_.reset();
  }

 private:
  Acceptor& owner_;
  std::unique_ptr<transport::Listener> listener_;
  Watch watch_;
  asio::steady_timer timer_;
};

// --- The acceptor

Acceptor::Acceptor(asio::io_context& io, Limits limits, OnArrival on_arrival)
    : io_(io),
      limits_(limits),
      on_arrival_(std::move(on_arrival)),
      reserve_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

Acceptor::~Acceptor() {
  closed_ = true;
  for (const auto& door : doors_) door->close();
  while (!newcomers_.empty()) newcomers_.front()->leave();
}

void Acceptor::add(std::unique_ptr<transport::Listener> listener) {
  doors_.push_back(std::make_shared<Door>(*this, std::move(listener)));
  doors_.back()->wait();
}

void Acceptor::close() {
  if (std::exchange(closed_, true)) return;
  for (const auto& door : doors_) door->close();
  doors_.clear();
  const auto leaving = newcomers_;  // refuse() may take them off the list
  for (const auto& newcomer : leaving) {
    if (!newcomer->leaving()) {
      newcomer->refuse({.reason = "this server is shutting down; try another one, or later",
                        .status = kStatusUnavailable});
    }
  }
}

// A flood at the door is no flood in the log.
void Acceptor::log_refusal(const std::string& peer, const std::string& reason) {
  const uint64_t second = now_ns() / 1'000'000'000;
  if (second != refusals_second_) {
    const int untold = refusals_in_second_ - kRefusalsLoggedPerSecond;
    if (untold > 0) log::info("... and {} more were refused", untold);
    refusals_second_ = second;
    refusals_in_second_ = 0;
  }
  if (++refusals_in_second_ <= kRefusalsLoggedPerSecond) {
    log::info("{}: refused: {}", peer, reason);
  }
}

size_t Acceptor::half_open() const { return newcomers_.size(); }

void Acceptor::accept_all(Door& door) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    auto channel = door.listener().accept();
    if (channel) {
      admit(channel.take());
      continue;
    }
    // Out of descriptors looks like an empty queue; readable and empty at the first try is the
    // former.
    if (i == 0 && turn_away_waiting(door.listener())) return door.wait_after_back_off();
    break;
  }
  door.wait();
}

void Acceptor::admit(std::unique_ptr<transport::Channel> channel) {
  if (newcomers_.size() >= size_t(limits_.half_open_max)) {
    log_refusal(newcomers_.front()->peer(), "without a hello for longest of too many");
    newcomers_.front()->leave();
  }
  newcomers_.push_back(std::make_shared<Newcomer>(*this, std::move(channel)));
  newcomers_.back()->start();
}

void Acceptor::forget(Newcomer* newcomer) {
  newcomers_.remove_if([newcomer](const auto& other) { return other.get() == newcomer; });
}

// True if the reserved descriptor made the difference, so there are no others.
bool Acceptor::turn_away_waiting(transport::Listener& listener) {
  bool starved = false;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    reserve_.reset();
    auto channel = listener.accept();
    if (channel) {
      starved = true;
      say(**channel, {.reason = "this server is out of file descriptors; try again later",
                      .status = kStatusUnavailable});
      *channel = nullptr;
    }
    reserve_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!channel) break;
  }
  return starved || !reserve_;
}

}  // namespace farcall::server
