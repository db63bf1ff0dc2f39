// How to wait for something that another core will bring: block at once, or spin a few microseconds
// and then block. Waking a sleeping thread costs 5 us on bare metal and 16 us on a VM, so spinning
// can make a round trip ten times shorter; when both sides share one core it makes it ten times
// longer. No fixed choice is right, and which one is changes with every move of the scheduler, so
// the tuner measures: it keeps a running average of the whole wait under either policy, uses the
// cheaper one and tries the other once in 64 waits. Never sched_yield: next to a busy neighbour
// each yield costs a time slice (8-16 ms).
//
// A WaitTuner belongs to one waiting place and is used by one thread at a time.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"

namespace farcall {

inline void cpu_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// CPUs that the calling thread may run on.
inline int usable_cpu_count() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 2;  // more than 1024 CPUs
  return CPU_COUNT(&set);
}
// CPUs of the machine.
inline int online_cpu_count() {
  static const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  return static_cast<int>(count);
}

enum class SpinMode : uint8_t {
  kAuto,    // measure, as above
  kNever,   // always block at once
  kAlways,  // always spin first: only where cores are to spare
};

inline std::optional<SpinMode> parse_spin_mode(std::string_view text) {
  if (text == "auto") return SpinMode::kAuto;
  if (text == "never") return SpinMode::kNever;
  if (text == "always") return SpinMode::kAlways;
  return std::nullopt;
}

struct WaitOptions {
  SpinMode mode = SpinMode::kAuto;
  // Longer catches slower replies, and costs as much again whenever spinning was the wrong choice;
  // 20 us was the better of 20 and 50 when nothing is pinned (bench/transport_bench.cpp shows
  // both).
  std::chrono::nanoseconds spin = std::chrono::microseconds(20);
};

class WaitTuner {
 public:
  explicit WaitTuner(WaitOptions options = {}, int cpu_count = online_cpu_count())
      : options_(options), alone_(cpu_count < 2) {}

  // Waits until `ready()` is true. `block()` is the slow way: it sleeps until woken (or until the
  // caller's own deadline) and its return ends the wait, whatever ready() would say.
  template <class Ready, class Block>
  void wait(Ready&& ready, Block&& block) {
    const Arm arm = choose();
    const uint64_t start = now_ns();
    if (arm == kBlock || !spin(ready, start)) block();
    learn(arm, now_ns() - start);
  }

  const WaitOptions& options() const { return options_; }
  // For tests and traces: what the next wait would do if it were not a probe.
  bool prefers_spin() const {
    if (options_.mode != SpinMode::kAuto) return options_.mode == SpinMode::kAlways;
    return !alone_ && preferred() == kSpin;
  }
  // The running average of a policy, in ns; 0 while it hasn't been tried.
  uint64_t average_block_ns() const { return average_[kBlock]; }
  uint64_t average_spin_ns() const { return average_[kSpin]; }

 private:
  enum Arm : uint8_t { kBlock, kSpin };
  static constexpr uint32_t kProbeEvery = 64;

  Arm choose() {
    if (options_.mode == SpinMode::kNever) return kBlock;
    if (options_.mode == SpinMode::kAlways) return kSpin;
    if (alone_ || average_[kBlock] == 0) return kBlock;
    if (average_[kSpin] == 0) return kSpin;
    const bool probe = ++waits_ % kProbeEvery == 0;
    const Arm best = preferred();
    return probe ? other(best) : best;
  }
  // Spinning must be better by an eighth: at a tie (long waits, where neither matters) blocking
  // leaves the core to others.
  Arm preferred() const {
    if (average_[kSpin] == 0) return kBlock;
    return average_[kSpin] < average_[kBlock] - average_[kBlock] / 8 ? kSpin : kBlock;
  }
  static Arm other(Arm arm) { return arm == kBlock ? kSpin : kBlock; }

  template <class Ready>
  bool spin(Ready& ready, uint64_t start) {
    const auto limit = static_cast<uint64_t>(options_.spin.count());
    do {
      for (int i = 0; i < 8; ++i) {
        if (ready()) return true;
        cpu_pause();
      }
    } while (now_ns() - start < limit);
    return false;
  }
  // A wait longer than a few spins says nothing about the policy, only about the other side's work:
  // it is counted as that much and no more, so that a kernel of 10 ms doesn't hide what the short
  // waits taught.
  void learn(Arm arm, uint64_t elapsed) {
    if (options_.mode != SpinMode::kAuto) return;
    const uint64_t ceiling = std::max<uint64_t>(8 * options_.spin.count(), 1);
    const uint64_t sample = std::clamp<uint64_t>(elapsed, 1, ceiling);
    uint64_t& average = average_[arm];
    average = average == 0 ? sample : (average * 7 + sample + 4) / 8;
  }

  WaitOptions options_;
  bool alone_;
  std::array<uint64_t, 2> average_ = {0, 0};
  uint32_t waits_ = 0;
};

}  // namespace farcall
