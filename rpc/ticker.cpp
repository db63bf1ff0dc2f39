#include "rpc/ticker.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#include <mutex>
#include <utility>

#include "base/clock.h"

namespace farcall::rpc {
namespace {

constexpr timespec kTick = {.tv_sec = 0, .tv_nsec = 20'000};
constexpr uint64_t kIdleAfterNs = 2'000'000;
// Ticks; about a millisecond. A send that takes that long is a large payload or a stuck server.
constexpr int kDrainEvery = 30;

}  // namespace

Ticker::Ticker(Batch& batch, Actions actions) : batch_(batch), actions_(std::move(actions)) {
  // The program's signals are for the program's threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Ticker::~Ticker() {
  stop_.store(true, std::memory_order_seq_cst);
  wake();
  thread_.join();
}

void Ticker::run() {
  ::pthread_setname_np(::pthread_self(), "farcall-ticker");
  ::prctl(PR_SET_TIMERSLACK, 1);  // ns; the default of 50 us would be most of the lateness
  uint64_t last_activity = now_ns();
  int sending_ticks = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &kTick, nullptr);
    const uint64_t now = now_ns();
    const uint64_t give_up_at = give_up_at_ns_.load(std::memory_order_relaxed);
    if (give_up_at != 0 && now >= give_up_at) {
      give_up_at_ns_.store(0, std::memory_order_relaxed);
      actions_.give_up();
      continue;
    }
    if (batch_.sending()) {
      last_activity = now;
      if (++sending_ticks % kDrainEvery == 0) actions_.drain();
    } else if (!batch_.empty()) {
      last_activity = now;
      sending_ticks = 0;
      actions_.flush();
    } else if (now - last_activity > kIdleAfterNs && give_up_at == 0) {
      sleep_until_noticed();
      last_activity = now_ns();
    }
  }
}

void Ticker::sleep_until_noticed() {
  asleep_.store(1, std::memory_order_seq_cst);
  // Either an append before this section is seen here, or an append after it sees asleep_.
  bool empty;
  {
    const std::lock_guard guard(batch_);
    empty = batch_.empty();
  }
  while (empty && asleep_.load(std::memory_order_seq_cst) != 0 &&
         !stop_.load(std::memory_order_seq_cst) &&
         give_up_at_ns_.load(std::memory_order_seq_cst) == 0) {
    futex_wait(asleep_, 1);
  }
  asleep_.store(0, std::memory_order_relaxed);
}

void Ticker::wake() {
  if (asleep_.exchange(0, std::memory_order_seq_cst) != 0) futex_wake(&asleep_, 1);
}

void Ticker::give_up_at(uint64_t moment_ns) {
  give_up_at_ns_.store(moment_ns, std::memory_order_seq_cst);
  wake();
}

}  // namespace farcall::rpc
