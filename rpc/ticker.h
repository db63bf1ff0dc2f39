// Sends batches that have aged: a thread that looks at the batch every 20 us while there was
// activity in the last 2 ms, and then sleeps until an append wakes it. Compared with a sender
// thread that is woken for every batch this costs the application a tenth, because waking is the
// expensive part (docs/decisions/0002).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

#include "base/futex.h"
#include "rpc/batch.h"

namespace farcall::rpc {

class Ticker {
 public:
  struct Actions {
    std::function<void()> flush;
    // Another thread has been sending for a while: maybe the server can't read because it
    // can't send, and somebody must receive.
    std::function<void()> drain;
    // A moment, and what to do when it passes: the way to bound a send.
    std::function<void()> give_up;
  };
  Ticker(Batch& batch, Actions actions);
  ~Ticker();

  // After every append, without the append lock: a load, unless the ticker sleeps.
  void notice() {
    if (asleep_.load(std::memory_order_relaxed) != 0) wake();
  }
  // give_up() is called once, at this moment (now_ns()), unless the ticker has ended before.
  void give_up_at(uint64_t moment_ns);

 private:
  void run();
  void sleep_until_noticed();
  void wake();

  Batch& batch_;
  const Actions actions_;
  std::atomic<uint32_t> asleep_{0};  // also the word that the ticker sleeps on
  std::atomic<uint64_t> give_up_at_ns_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace farcall::rpc
