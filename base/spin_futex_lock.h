// A lock for very short sections that many threads enter all the time (appending a call to the open
// batch): it spins a moment, because the holder is done in a few nanoseconds, and then sleeps on a
// futex, because the holder may have lost its CPU. An uncontended lock and unlock are one atomic
// instruction each. Use with std::lock_guard. For anything longer than an append, std::mutex says
// more about you.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace farcall {

class SpinFutexLock {
 public:
  SpinFutexLock() = default;
  SpinFutexLock(const SpinFutexLock&) = delete;
  SpinFutexLock& operator=(const SpinFutexLock&) = delete;

  void lock() {
    if (!try_lock()) lock_slowly(Deadline::never());
  }
  bool try_lock() {
    uint32_t expected = kFree;
    return state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  bool try_lock_for(std::chrono::nanoseconds wait) {
    return try_lock() || lock_slowly(Deadline::after(wait));
  }
  void unlock() {
    if (state_.exchange(kFree, std::memory_order_release) == kHeldAndAwaited) wake_one();
  }
  // A glance, old by the time it is looked at.
  bool held() const { return state_.load(std::memory_order_relaxed) != kFree; }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kHeld = 1;
  static constexpr uint32_t kHeldAndAwaited = 2;  // somebody sleeps, or is about to

  bool lock_slowly(Deadline deadline);  // false at the deadline
  void wake_one();

  std::atomic<uint32_t> state_ = kFree;
};

}  // namespace farcall
