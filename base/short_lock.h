// A mutex for sections of some ten nanoseconds, such as an append to a batch: a thread that finds
// it taken spins a moment before it sleeps, because the holder is nearly done and a wake-up costs a
// hundred times what it is waiting for. Four bytes, nothing to destroy. Not recursive, not fair.
// Works with std::lock_guard and std::unique_lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "base/futex.h"
#include "base/wait_tuner.h"

namespace farcall {

class ShortLock {
 public:
  ShortLock() = default;
  ShortLock(const ShortLock&) = delete;
  ShortLock& operator=(const ShortLock&) = delete;

  void lock() {
    if (!try_lock()) lock_slowly(Deadline::never());
  }
  bool try_lock() {
    uint32_t free = kFree;
    return state_.compare_exchange_strong(free, kTaken, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  bool try_lock_for(std::chrono::nanoseconds wait) {
    return try_lock() || lock_slowly(Deadline::after(wait));
  }
  void unlock() {
    if (state_.exchange(kFree, std::memory_order_release) == kContended) futex_wake(&state_, 1);
  }
  // A glance, for statistics and heuristics: true may be old by the time it is looked at.
  bool taken() const { return state_.load(std::memory_order_relaxed) != kFree; }

 private:
  enum : uint32_t { kFree, kTaken, kContended };
  // About 2 us: several appends, and less than the cheapest wake-up.
  static constexpr int kSpins = 50;

  __attribute__((noinline)) bool lock_slowly(Deadline deadline) {
    for (int i = 0; i < kSpins; ++i) {
      if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return true;
      cpu_pause();
    }
    // Whoever sleeps leaves kContended behind, also when it gets the lock itself: others may sleep.
    while (state_.exchange(kContended, std::memory_order_acquire) != kFree) {
      if (deadline.is_never()) {
        futex_wait(state_, kContended);
        continue;
      }
      const auto left = deadline.remaining();
      if (left.count() == 0) return false;
      futex_wait_for(state_, kContended, left);
    }
    return true;
  }

  std::atomic<uint32_t> state_{kFree};
};

}  // namespace farcall
