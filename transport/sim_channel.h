// A connection that exists only in memory and is as nasty as a seed makes it: reads return
// arbitrary parts of what was sent, bytes arrive late, and the link may be cut after any byte. For
// tests of everything above a Channel: client, daemon and worker in one process, without a network,
// with the failing seed in the test's name.
//
// The choices come from the seed; how threads interleave does not. A test that drives both ends
// from one thread is fully repeatable.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "transport/channel.h"

namespace farcall::transport {

// The time by which a simulated link delivers. With kVirtual nobody ever sleeps for a delay:
// receiving bytes moves the clock to the moment of their arrival, so now_ns() adds up what the
// exchange would have taken on such a link. One clock may serve many links. Deadlines of receive()
// are real time in either case.
class SimClock {
 public:
  enum class Mode : uint8_t { kReal, kVirtual };
  explicit SimClock(Mode mode) : mode_(mode) {}

  Mode mode() const { return mode_; }
  uint64_t now_ns() const {
    return mode_ == Mode::kReal ? farcall::now_ns() : virtual_ns_.load(std::memory_order_relaxed);
  }
  void advance_to(uint64_t moment);  // never back; only for kVirtual

 private:
  Mode mode_;
  std::atomic<uint64_t> virtual_ns_ = 0;
};

struct SimOptions {
  uint64_t seed = 1;
  bool splits_reads = true;  // else a read returns all that is there and fits
  // Each send arrives this much later, drawn evenly; order is kept.
  std::chrono::nanoseconds delay_min = {};
  std::chrono::nanoseconds delay_max = {};
  // Sent and not yet received, per direction; beyond this the sender blocks.
  size_t bytes_in_flight_max = 256 << 10;
  // The whole link is cut once this many bytes went that way. Exactly these bytes still arrive.
  std::optional<uint64_t> cut_after_near_sent = {};
  std::optional<uint64_t> cut_after_far_sent = {};
  std::shared_ptr<SimClock> clock = {};  // none: real time
};

struct SimPair {
  std::unique_ptr<Channel> near;
  std::unique_ptr<Channel> far;
};
SimPair make_sim_pair(const SimOptions& options = {});

}  // namespace farcall::transport
