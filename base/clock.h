// Time that only goes forward. now_ns() is for measuring; a Deadline is a moment after which a wait
// gives up, made once by whoever knows the budget and passed down, so that a wait of several steps
// can't take several budgets.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>
#include <limits>

namespace farcall {

inline uint64_t now_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

class Deadline {
 public:
  static constexpr Deadline never() { return Deadline(kNever); }
  static constexpr Deadline at_ns(uint64_t moment) { return Deadline(moment); }
  static Deadline after(std::chrono::nanoseconds wait) {
    if (wait == std::chrono::nanoseconds::max()) return never();
    if (wait.count() <= 0) return Deadline(0);
    const uint64_t now = now_ns();
    const uint64_t moment = now + static_cast<uint64_t>(wait.count());
    return moment < now ? never() : Deadline(moment);
  }

  constexpr bool is_never() const { return moment_ == kNever; }
  constexpr uint64_t moment_ns() const { return moment_; }
  bool expired() const { return !is_never() && now_ns() >= moment_; }
  // Zero once expired; nanoseconds::max() for never.
  std::chrono::nanoseconds remaining() const {
    if (is_never()) return std::chrono::nanoseconds::max();
    const uint64_t now = now_ns();
    return std::chrono::nanoseconds(now >= moment_ ? 0 : moment_ - now);
  }
  // For poll(2) and its kin: rounded up so that the wait never ends early, -1 for never.
  int remaining_ms() const {
    if (is_never()) return -1;
    const auto left = (remaining().count() + 999'999) / 1'000'000;
    return left > std::numeric_limits<int>::max() ? std::numeric_limits<int>::max()
                                                  : static_cast<int>(left);
  }

 private:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
  constexpr explicit Deadline(uint64_t moment) : moment_(moment) {}

  uint64_t moment_;
};

}  // namespace farcall
