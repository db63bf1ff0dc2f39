#include "base/spin_futex_lock.h"

#include "base/futex.h"
#include "base/wait_tuner.h"

namespace farcall {
namespace {

// About 2 us: a hundred appends, an eighth of a wake-up.
constexpr int kSpins = 50;

}  // namespace

bool SpinFutexLock::lock_slowly(Deadline deadline) {
  // Asked once per thread: with one CPU the holder can't go on while we spin.
  static thread_local const int spins = usable_cpu_count() > 1 ? kSpins : 0;
  for (int i = 0; i < spins; ++i) {
    if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return true;
    cpu_pause();
  }
  // From here on we hold it, if at all, as "awaited": we can't know whether others sleep as well.
  while (state_.exchange(kHeldAndAwaited, std::memory_order_acquire) != kFree) {
    if (deadline.is_never()) {
      futex_wait(state_, kHeldAndAwaited);
    } else {
      const auto left = deadline.remaining();
      if (left.count() == 0) return false;
      futex_wait_for(state_, kHeldAndAwaited, left);
    }
  }
  return true;
}

void SpinFutexLock::wake_one() { futex_wake(&state_, 1); }

}  // namespace farcall
