#include "base/spin_futex_lock.h"

#include <gtest/gtest.h>
#include <time.h>

#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace farcall {
namespace {

using namespace std::chrono_literals;

TEST(SpinFutexLock, TryLockSucceedsOnlyWhenFree) {
  SpinFutexLock lock;
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST(SpinFutexLock, ManyThreadsNeverMeetInside) {
  SpinFutexLock lock;
  // Plain variables: a lost update or a thread sanitizer would tell.
  long count = 0;
  int inside = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50'000; ++i) {
        const std::lock_guard guard(lock);
        EXPECT_EQ(++inside, 1);
        ++count;
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 200'000);
}

TEST(SpinFutexLock, SleepersAreAllWokenAndDoNotBurnCpuMeanwhile) {
  SpinFutexLock lock;
  lock.lock();
  std::vector<std::thread> threads;
  std::atomic<int> entered = 0;
  std::atomic<int64_t> cpu_ns = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      {
        const std::lock_guard guard(lock);
        ++entered;
      }
      timespec used;
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
      cpu_ns += used.tv_sec * 1'000'000'000 + used.tv_nsec;
    });
  }
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(entered, 0);
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(entered, 4);
  EXPECT_LT(cpu_ns, 4 * 100'000'000) << "waiting 200 ms should be sleeping";
}

TEST(SpinFutexLock, TryLockForGivesUpAtItsTimeAndGetsTheLockWhenItIsFreed) {
  SpinFutexLock lock;
  lock.lock();
  EXPECT_TRUE(lock.held());
  std::thread([&] { EXPECT_FALSE(lock.try_lock_for(std::chrono::milliseconds(2))); }).join();
  std::thread other([&] {
    EXPECT_TRUE(lock.try_lock_for(std::chrono::seconds(30)));
    lock.unlock();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  lock.unlock();
  other.join();
  EXPECT_TRUE(lock.try_lock_for(std::chrono::nanoseconds(0)));
  lock.unlock();
  EXPECT_FALSE(lock.held());
}

}  // namespace
}  // namespace farcall
