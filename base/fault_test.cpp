#include "base/fault.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

namespace farcall::fault {
namespace {

// Which of the first ten passes fail, as "..x.......".
std::string ten_passes(std::string_view point) {
  std::string passes;
  for (int i = 0; i < 10; ++i) passes += hit(point) ? 'x' : '.';
  return passes;
}

TEST(Fault, NothingFailsUnlessArmed) { EXPECT_EQ(ten_passes("test.point"), ".........."); }

TEST(Fault, EachFormPicksItsPasses) {
  for (const auto& [spec, expected] :
       {std::pair("test.point", "xxxxxxxxxx"), std::pair("test.point@3", "..x......."),
        std::pair("test.point@3+", "..xxxxxxxx"), std::pair("test.point%4", "...x...x.."),
        std::pair("other,test.point@1", "x.........")}) {
    const Armed armed(spec);
    EXPECT_EQ(ten_passes("test.point"), expected) << spec;
  }
  EXPECT_EQ(ten_passes("test.point"), "..........");
}

TEST(Fault, OtherPointsAreLeftAlone) {
  const Armed armed("test.point");
  EXPECT_FALSE(hit("test.point2"));
  EXPECT_FALSE(hit("test"));
}

TEST(Fault, CountsPassesAndFailuresOfItsOwnPoints) {
  const Armed other("elsewhere");
  const Armed armed("test.point@2");
  ten_passes("test.point");
  EXPECT_EQ(armed.pass_count(), 10u);
  EXPECT_EQ(armed.failure_count(), 1u);
  EXPECT_EQ(other.pass_count(), 0u);
}

TEST(FaultDeathTest, AMalformedSpecificationEndsTheTest) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const char* spec : {"point@", "point@0", "point@x", "@3", "point%-1", "a,,b"}) {
    EXPECT_DEATH({ const Armed armed(spec); }, "malformed") << spec;
  }
}

TEST(FaultDeathTest, TheEnvironmentArmsPointsInEveryProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ::setenv("FARCALL_FAULTS", "test.point@2", 1);
  EXPECT_EXIT(
      {
        const bool first = hit("test.point");
        ::_exit(!first && hit("test.point") ? 42 : 1);
      },
      testing::ExitedWithCode(42), "");
  ::unsetenv("FARCALL_FAULTS");
}

}  // namespace
}  // namespace farcall::fault
