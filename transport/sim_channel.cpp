#include "transport/sim_channel.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <vector>

namespace farcall::transport {
namespace {

// What one send() call put on the way.
struct Parcel {
  std::vector<std::byte> bytes;
  size_t taken = 0;
  uint64_t arrival_ns = 0;
};

struct Direction {
  std::deque<Parcel> parcels;
  size_t in_flight = 0;
  uint64_t sent = 0;
  uint64_t last_arrival_ns = 0;
  std::optional<uint64_t> cut_after;
  bool ended = false;  // no more bytes will be sent
  std::mt19937_64 random;
};

// Both directions under one lock: this is for tests, and a cut takes both at once.
struct Link {
  std::mutex mutex;
  std::condition_variable changed;
  Direction directions[2];
  SimOptions options;

  uint64_t draw(Direction& direction, uint64_t low, uint64_t high) {
    return std::uniform_int_distribution<uint64_t>(low, high)(direction.random);
  }
  void end() {
    for (Direction& direction : directions) direction.ended = true;
    changed.notify_all();
  }
};

class SimChannel final : public Channel {
 public:
  SimChannel(std::shared_ptr<Link> link, int side)
      : link_(std::move(link)),
        out_(link_->directions[side]),
        in_(link_->directions[1 - side]),
        name_(fmt_name(side)) {}
  ~SimChannel() override {
    const std::lock_guard lock(link_->mutex);
    link_->end();
  }

  Status send(std::span<const iovec> pieces) override;
  Result<size_t> receive(std::span<std::byte> into, Deadline deadline) override;
  Result<size_t> try_receive(std::span<std::byte> into) override;
  void shutdown() override {
    const std::lock_guard lock(link_->mutex);
    shut_down_ = true;
    link_->end();
  }
  Status send_fd(int, std::span<const iovec>) override { return Status::kUnsupported; }
  Result<UniqueFd> receive_fd() override { return Status::kUnsupported; }
  int native_handle() const override { return -1; }
  Caps caps() const override { return {}; }
  Counters counters() const override {
    const std::lock_guard lock(link_->mutex);
    return counters_;
  }
  std::string peer() const override { return name_; }

 private:
  std::string fmt_name(int side) const {
    return (side == 0 ? "sim far end, seed " : "sim near end, seed ") +
           std::to_string(link_->options.seed);
  }
  bool send_piece(std::unique_lock<std::mutex>& lock, std::span<const std::byte> bytes,
                  uint64_t arrival_ns);
  uint64_t choose_arrival();
  size_t take(std::span<std::byte> into);
  bool has_arrived() const {
    return !in_.parcels.empty() && in_.parcels.front().arrival_ns <= link_->options.clock->now_ns();
  }
  // The stream is over for the receiver: after its own shutdown at once, else when all bytes are
  // taken.
  bool receiving_over() const { return shut_down_ || (in_.ended && in_.parcels.empty()); }

  std::shared_ptr<Link> link_;
  Direction& out_;
  Direction& in_;
  std::string name_;
  Counters counters_;
  bool shut_down_ = false;
};

uint64_t SimChannel::choose_arrival() {
  const SimOptions& options = link_->options;
  const uint64_t delay = link_->draw(out_, static_cast<uint64_t>(options.delay_min.count()),
                                     static_cast<uint64_t>(options.delay_max.count()));
  out_.last_arrival_ns = std::max(out_.last_arrival_ns, options.clock->now_ns() + delay);
  return out_.last_arrival_ns;
}

Status SimChannel::send(std::span<const iovec> pieces) {
  std::unique_lock lock(link_->mutex);
  if (out_.ended) return Status::kDisconnected;
  const uint64_t arrival_ns = choose_arrival();
  const uint64_t before = counters_.bytes_sent;
  bool whole = true;
  for (const iovec& piece : pieces) {
    whole =
        whole && send_piece(lock, {static_cast<const std::byte*>(piece.iov_base), piece.iov_len},
                            arrival_ns);
  }
  if (counters_.bytes_sent != before) ++counters_.send_calls;
  return whole ? Status::kOk : Status::kDisconnected;
}

bool SimChannel::send_piece(std::unique_lock<std::mutex>& lock, std::span<const std::byte> bytes,
                            uint64_t arrival_ns) {
  while (!bytes.empty()) {
    const size_t room_max = link_->options.bytes_in_flight_max;
    link_->changed.wait(lock, [&] { return out_.ended || out_.in_flight < room_max; });
    if (out_.ended) return false;
    size_t count = std::min(bytes.size(), room_max - out_.in_flight);
    const bool cuts = out_.cut_after && *out_.cut_after - out_.sent <= count;
    if (cuts) count = static_cast<size_t>(*out_.cut_after - out_.sent);
    if (count > 0) {
      out_.parcels.push_back(
          {{bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count)}, 0, arrival_ns});
    }
    out_.in_flight += count;
    out_.sent += count;
    counters_.bytes_sent += count;
    bytes = bytes.subspan(count);
    if (cuts) {
      link_->end();
      return bytes.empty();  // the sender learns of the cut with its next byte, as with a real one
    }
    link_->changed.notify_all();
  }
  return true;
}

// The lock is held and the first parcel has arrived.
size_t SimChannel::take(std::span<std::byte> into) {
  const SimOptions& options = link_->options;
  size_t limit = into.size();
  // Half of the reads are whole, some stop after a few bytes, the others anywhere.
  if (options.splits_reads) {
    const uint64_t kind = link_->draw(in_, 0, 7);
    if (kind == 0) limit = link_->draw(in_, 1, std::min<size_t>(limit, 8));
    if (kind >= 5) limit = link_->draw(in_, 1, limit);
  }
  size_t count = 0;
  const uint64_t now = options.clock->now_ns();
  while (count < limit && !in_.parcels.empty() && in_.parcels.front().arrival_ns <= now) {
    Parcel& parcel = in_.parcels.front();
    const size_t part = std::min(limit - count, parcel.bytes.size() - parcel.taken);
    std::memcpy(into.data() + count, parcel.bytes.data() + parcel.taken, part);
    parcel.taken += part;
    count += part;
    if (parcel.taken == parcel.bytes.size()) in_.parcels.pop_front();
  }
  in_.in_flight -= count;
  counters_.bytes_received += count;
  ++counters_.receive_calls;
  link_->changed.notify_all();
  return count;
}

Result<size_t> SimChannel::receive(std::span<std::byte> into, Deadline deadline) {
  assert(!into.empty());
  SimClock& clock = *link_->options.clock;
  std::unique_lock lock(link_->mutex);
  for (;;) {
    if (receiving_over()) return Status::kDisconnected;
    if (!in_.parcels.empty()) clock.advance_to(in_.parcels.front().arrival_ns);
    if (has_arrived()) return take(into);
    if (deadline.expired()) return Status::kTimeout;
    uint64_t wake_ns = deadline.moment_ns();
    if (!in_.parcels.empty()) wake_ns = std::min(wake_ns, in_.parcels.front().arrival_ns);
    if (wake_ns == Deadline::never().moment_ns()) {
      link_->changed.wait(lock);
    } else {
      // steady_clock is CLOCK_MONOTONIC, the clock of now_ns().
      link_->changed.wait_until(
          lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(wake_ns)));
    }
  }
}

Result<size_t> SimChannel::try_receive(std::span<std::byte> into) {
  assert(!into.empty());
  const std::lock_guard lock(link_->mutex);
  if (receiving_over()) return Status::kDisconnected;
  if (has_arrived()) return take(into);
  // Looking takes time: else a loop of try_receive would never end on a virtual clock.
  if (!in_.parcels.empty()) link_->options.clock->advance_to(in_.parcels.front().arrival_ns);
  return size_t{0};
}

}  // namespace

void SimClock::advance_to(uint64_t moment) {
  if (mode_ == Mode::kReal) return;
  uint64_t now = virtual_ns_.load(std::memory_order_relaxed);
  while (now < moment &&
         !virtual_ns_.compare_exchange_weak(now, moment, std::memory_order_relaxed)) {
  }
}

SimPair make_sim_pair(const SimOptions& options) {
  assert(options.delay_min <= options.delay_max && options.bytes_in_flight_max > 0);
  auto link = std::make_shared<Link>();
  link->options = options;
  if (!link->options.clock) {
    link->options.clock = std::make_shared<SimClock>(SimClock::Mode::kReal);
  }
  for (uint64_t side = 0; side < 2; ++side) {
    Direction& direction = link->directions[side];
    direction.random.seed(options.seed * 2 + side);
    direction.cut_after = side == 0 ? options.cut_after_near_sent : options.cut_after_far_sent;
  }
  return {std::make_unique<SimChannel>(link, 0), std::make_unique<SimChannel>(link, 1)};
}

}  // namespace farcall::transport
