#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

namespace farcall::log {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string stderr_of(void (*action)()) {
  testing::internal::CaptureStderr();
  action();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, WarningsAreShownAndInfosAreNot) {
  EXPECT_THAT(stderr_of([] { warning("{} cards are missing", 2); }),
              HasSubstr("warning: 2 cards are missing\n"));
  EXPECT_EQ(stderr_of([] { info("all is well"); }), "");
  EXPECT_FALSE(enabled(Level::kInfo));
  EXPECT_TRUE(enabled(Level::kError));
}

TEST(Log, ALineNamesItsProcess) {
  EXPECT_THAT(stderr_of([] { error("x"); }), HasSubstr(" farcall error: x\n"));
  set_name("worker 12");
  EXPECT_THAT(stderr_of([] { error("x"); }), HasSubstr(" farcall[worker 12] error: x\n"));
}

TEST(Log, NothingIsWrittenToStdout) {
  testing::internal::CaptureStdout();
  stderr_of([] { error("x"); });
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(Log, ForeignTextCannotForgeALine) {
  const std::string line =
      stderr_of([] { error("client says '{}'", "bye\n12:00:00.000 farcall error: fire\x1b[2J"); });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, HasSubstr("bye\\x0a12:00"));
  EXPECT_THAT(line, Not(HasSubstr("\x1b")));
}

TEST(LogDeathTest, TheEnvironmentDecidesTheLevel) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ::setenv("FARCALL_LOG", "debug", 1);
  EXPECT_EXIT(
      {
        set_level(Level::kError);  // has no say
        debug("a detail");
        ::_exit(0);
      },
      testing::ExitedWithCode(0), "a detail");
  ::unsetenv("FARCALL_LOG");
}

}  // namespace
}  // namespace farcall::log
