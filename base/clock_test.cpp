#include "base/clock.h"

#include <gtest/gtest.h>

namespace farcall {
namespace {

using namespace std::chrono_literals;

TEST(Deadline, NeverNeverExpires) {
  EXPECT_FALSE(Deadline::never().expired());
  EXPECT_EQ(Deadline::never().remaining(), std::chrono::nanoseconds::max());
  EXPECT_EQ(Deadline::never().remaining_ms(), -1);
  EXPECT_TRUE(Deadline::after(std::chrono::nanoseconds::max()).is_never());
}

TEST(Deadline, ABudgetOfNothingOrLessIsOver) {
  for (const auto budget : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
    EXPECT_TRUE(Deadline::after(budget).expired());
    EXPECT_EQ(Deadline::after(budget).remaining(), 0ns);
    EXPECT_EQ(Deadline::after(budget).remaining_ms(), 0);
  }
}

TEST(Deadline, ExpiresWhenItsTimeHasPassedAndNotBefore) {
  const uint64_t start = now_ns();
  const Deadline deadline = Deadline::after(2ms);
  EXPECT_LE(deadline.remaining(), 2ms);
  while (!deadline.expired()) {
  }
  EXPECT_GE(now_ns() - start, 2'000'000u);
}

TEST(Deadline, MillisecondsAreRoundedUpSoThatPollDoesNotReturnEarly) {
  const int left = Deadline::at_ns(now_ns() + 5'000'001'000).remaining_ms();
  EXPECT_LE(left, 5001);
  EXPECT_GE(left, 4000);
  EXPECT_EQ(Deadline::after(100h * 24 * 365).remaining_ms(), std::numeric_limits<int>::max());
}

}  // namespace
}  // namespace farcall
