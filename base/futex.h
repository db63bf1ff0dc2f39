// Sleeping on a word of memory, for the few places that need less than a mutex and a condition
// variable: a lock that spins first, a waiter that lives on a stack. Not std::atomic::wait:
// libstdc++ calls sched_yield in it, which costs time slices next to a busy neighbour.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace farcall {

// Returns when woken, at once if `word` isn't `expected`, after `timeout` (nullptr: never), and
// sometimes for no reason: the caller looks again.
inline void futex_wait(std::atomic<uint32_t>& word, uint32_t expected,
                       const timespec* timeout = nullptr) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, timeout,
            nullptr, 0);
}

inline void futex_wait_for(std::atomic<uint32_t>& word, uint32_t expected,
                           std::chrono::nanoseconds timeout) {
  const auto ns = timeout.count();
  const timespec relative{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  futex_wait(word, expected, &relative);
}

// The word need not exist any more: an address that nobody waits on is no error.
inline void futex_wake(std::atomic<uint32_t>* word, int count) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, count, nullptr,
            nullptr, 0);
}

}  // namespace farcall
