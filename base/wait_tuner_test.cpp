// The tuner is tested with waits whose length the test decides, so no result depends on the
// scheduler's mood: an arm is made expensive by burning time in it.
#include "base/wait_tuner.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

namespace farcall {
namespace {

using namespace std::chrono_literals;

void burn(std::chrono::nanoseconds time) {
  const uint64_t start = now_ns();
  while (now_ns() - start < static_cast<uint64_t>(time.count())) {
  }
}

struct Count {
  int blocked = 0;
  int spun = 0;  // waits that looked at ready() at all
};

// One wait after which the event comes when spinning has lasted `spin_cost`, or blocking
// `block_cost`.
void wait_once(WaitTuner& tuner, std::chrono::nanoseconds spin_cost,
               std::chrono::nanoseconds block_cost, Count& count) {
  const uint64_t start = now_ns();
  bool has_spun = false;
  tuner.wait(
      [&] {
        has_spun = true;
        return now_ns() - start >= static_cast<uint64_t>(spin_cost.count());
      },
      [&] {
        ++count.blocked;
        burn(block_cost);
      });
  count.spun += has_spun ? 1 : 0;
}

TEST(WaitTuner, NeverBlocksAtOnceAndAlwaysSpinsFirst) {
  Count never;
  WaitTuner never_spins({.mode = SpinMode::kNever});
  for (int i = 0; i < 200; ++i) wait_once(never_spins, 0ns, 0ns, never);
  EXPECT_EQ(never.spun, 0);
  EXPECT_EQ(never.blocked, 200);
  EXPECT_FALSE(never_spins.prefers_spin());

  Count always;
  WaitTuner always_spins({.mode = SpinMode::kAlways});
  for (int i = 0; i < 200; ++i) wait_once(always_spins, 0ns, 0ns, always);
  EXPECT_EQ(always.spun, 200);
  EXPECT_EQ(always.blocked, 0);
}

TEST(WaitTuner, LearnsToSpinWhereWakeUpsAreDear) {
  WaitTuner tuner({.spin = 200us}, 2);
  Count count;
  for (int i = 0; i < 256; ++i) wait_once(tuner, 1us, 300us, count);
  EXPECT_TRUE(tuner.prefers_spin());
  EXPECT_LT(count.blocked, 30);
}

TEST(WaitTuner, LearnsToBlockWhereSpinningIsInVain) {
  WaitTuner tuner({.spin = 200us}, 2);
  Count count;
  for (int i = 0; i < 256; ++i) wait_once(tuner, 1s, 20us, count);
  EXPECT_FALSE(tuner.prefers_spin());
  EXPECT_EQ(count.blocked, 256);  // the probes block too, after having spun
  EXPECT_LE(count.spun, 20);
  EXPECT_GE(count.spun, 4);  // it goes on probing
}

TEST(WaitTuner, ChangesItsMindWhenTheWorldChanges) {
  WaitTuner tuner({.spin = 100us}, 2);
  Count count;
  for (int i = 0; i < 128; ++i) wait_once(tuner, 1us, 200us, count);
  EXPECT_TRUE(tuner.prefers_spin());
  for (int i = 0; i < 64 * 20 && tuner.prefers_spin(); ++i) wait_once(tuner, 1s, 1us, count);
  EXPECT_FALSE(tuner.prefers_spin());
  for (int i = 0; i < 64 * 100 && !tuner.prefers_spin(); ++i) wait_once(tuner, 1us, 200us, count);
  EXPECT_TRUE(tuner.prefers_spin());
}

TEST(WaitTuner, LongWaitsPreferBlocking) {
  WaitTuner tuner({.spin = 10us}, 2);
  Count count;
  for (int i = 0; i < 128; ++i) wait_once(tuner, 1s, 1ms, count);  // a kernel runs: neither helps
  EXPECT_FALSE(tuner.prefers_spin());
  EXPECT_LE(count.spun, 16);
}

TEST(WaitTuner, NeverSpinsOnAMachineWithOneCpu) {
  WaitTuner tuner({.spin = 100us}, 1);
  Count count;
  for (int i = 0; i < 200; ++i) wait_once(tuner, 0ns, 200us, count);
  EXPECT_EQ(count.spun, 0);
  EXPECT_EQ(count.blocked, 200);
}

TEST(WaitTuner, ReadyDuringTheSpinEndsTheWait) {
  WaitTuner tuner({.mode = SpinMode::kAlways, .spin = 10s});
  std::atomic<bool> flag = false;
  std::thread other([&] { flag = true; });
  bool has_blocked = false;
  tuner.wait([&] { return flag.load(); }, [&] { has_blocked = true; });
  other.join();
  EXPECT_FALSE(has_blocked);
}

TEST(SpinMode, ParsesItsThreeWords) {
  EXPECT_EQ(parse_spin_mode("auto"), SpinMode::kAuto);
  EXPECT_EQ(parse_spin_mode("never"), SpinMode::kNever);
  EXPECT_EQ(parse_spin_mode("always"), SpinMode::kAlways);
  EXPECT_EQ(parse_spin_mode("yes"), std::nullopt);
}

}  // namespace
}  // namespace farcall
