// The door: accepts connections and listens to what they say first, without ever waiting for one of
// them. A newcomer has `hello_timeout` to send a Preamble and a Hello of bounded size; then it is
// handed on, or told in a sentence why not. At most `half_open_max` newcomers are kept: one more
// pushes out the oldest, since an honest client says hello at once and whoever holds connections
// open without a word is not one.
//
// When the process runs out of descriptors, a reserved one lets the waiting connection be accepted
// and told; then the door stays shut for a moment, instead of spinning on a listener that is
// readable for ever.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>

#include "base/unique_fd.h"
#include "rpc/hello.h"
#include "transport/channel.h"
#include "transport/listener.h"

namespace farcall::server {

// CUresults that refused clients' calls return, spelled out because the daemon knows no CUDA.
constexpr int kStatusUnavailable = 46;       // CUDA_ERROR_DEVICE_UNAVAILABLE
constexpr int kStatusVersionMismatch = 803;  // CUDA_ERROR_SYSTEM_DRIVER_MISMATCH

// A client that has introduced itself.
struct Arrival {
  std::unique_ptr<transport::Channel> channel;
  rpc::HelloMessage hello;
  rpc::ClientFacts client;
};

class Acceptor {
 public:
  struct Limits {
    std::chrono::milliseconds hello_timeout;
    int half_open_max;
  };
  // Called for each client whose hello fits. A refusal is sent to it; the channel, taken or not, is
  // the callee's.
  using OnArrival = std::function<std::optional<rpc::Refusal>(Arrival&)>;

  Acceptor(asio::io_context& io, Limits limits, OnArrival on_arrival);
  ~Acceptor();

  void add(std::unique_ptr<transport::Listener> listener);
  // No new connections; those at the door are told to go.
  void close();
  size_t half_open() const;

 private:
  class Newcomer;
  class Door;

  void accept_all(Door& door);
  void admit(std::unique_ptr<transport::Channel> channel);
  void forget(Newcomer* newcomer);
  void log_refusal(const std::string& peer, const std::string& reason);
  bool turn_away_waiting(transport::Listener& listener);

  asio::io_context& io_;
  const Limits limits_;
  const OnArrival on_arrival_;
  std::list<std::shared_ptr<Door>> doors_;
  std::list<std::shared_ptr<Newcomer>> newcomers_;  // oldest first
  UniqueFd reserve_;
  bool closed_ = false;
  uint64_t refusals_second_ = 0;
  int refusals_in_second_ = 0;
};

}  // namespace farcall::server
