#include "base/spin_futex_lock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/wait_tuner.h"

namespace farcall {
namespace {

// About 2 us: a hundred appends, an eighth of a wake-up.
constexpr int kSpins = 50;

// Not std::atomic::wait: libstdc++ calls sched_yield in it, which costs time slices next to a busy
// neighbour.
void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  static_assert(sizeof word == sizeof(uint32_t));
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value,
            nullptr, nullptr, 0);
}

}  // namespace

void SpinFutexLock::lock_slowly() {
  // Asked once per thread: with one CPU the holder can't go on while we spin.
  static thread_local const int spins = usable_cpu_count() > 1 ? kSpins : 0;
  for (int i = 0; i < spins; ++i) {
    if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    cpu_pause();
  }
  // From here on we hold it, if at all, as "awaited": we can't know whether others sleep as well.
  while (state_.exchange(kHeldAndAwaited, std::memory_order_acquire) != kFree) {
    futex(state_, FUTEX_WAIT, kHeldAndAwaited);
  }
}

void SpinFutexLock::wake_one() { futex(state_, FUTEX_WAKE, 1); }

}  // namespace farcall
