// The engine against the reference on random programs: the same seeds every time. A longer search
// is `./dev fuzz random_programs`, or softgpu-random-programs by hand.
#include "softgpu/reference/random_programs.h"

#include <gtest/gtest.h>

namespace farcall::softgpu::reference {
namespace {

// Several tests, so that they run side by side.
class RandomProgramsTest : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomProgramsTest, testing::Values(0, 1000, 2000));

TEST_P(RandomProgramsTest, EngineAndReferenceAgree) {
  constexpr int kPrograms = 700;
  int unsupported = 0, too_long = 0;
  for (int k = 0; k < kPrograms; ++k) {
    const Outcome outcome = check_seed(GetParam() + static_cast<uint64_t>(k));
    ASSERT_NE(outcome.verdict, Verdict::kDiffer) << outcome.detail;
    ASSERT_NE(outcome.verdict, Verdict::kInvalid) << outcome.detail;
    unsupported += outcome.verdict == Verdict::kUnsupported ? 1 : 0;
    too_long += outcome.verdict == Verdict::kTooLong ? 1 : 0;
  }
  // Or else work would be in vain. The engine has every instruction of the generator.
  EXPECT_LT(too_long, kPrograms / 20);
  EXPECT_EQ(unsupported, 0);
}

}  // namespace
}  // namespace farcall::softgpu::reference
