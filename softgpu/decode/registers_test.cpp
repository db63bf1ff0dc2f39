// Registers share a place exactly when no path needs both.
#include "softgpu/decode/registers.h"

#include <gtest/gtest.h>

#include "softgpu/ptx/parser.h"

namespace farcall::softgpu {
namespace {

class RegistersTest : public testing::Test {
 protected:
  void plan(const std::string& body) {
    ptx::ParseError error;
    module_ = ptx::parse_module(
        ".version 8.5\n.target sm_90\n.entry k() { .reg .b32 %r<10>; .reg .b64 %d<10>; .reg .pred "
        "%p<3>;\n" +
            body + "\n}",
        &error);
    ASSERT_TRUE(module_) << error.message;
    const auto problem = ptx::parse_body(module_->functions[0]);
    ASSERT_FALSE(problem) << problem->message;
    plan_ = plan_registers(module_->functions[0]);
  }
  bool share(int a, int b) const { return plan_.place[a] == plan_.place[b]; }

  std::unique_ptr<ptx::Module> module_;
  RegisterPlan plan_;
};

TEST_F(RegistersTest, OneAfterTheOtherShare) {
  plan("mov.u32 %r0, 1; not.b32 %r1, %r0; not.b32 %r2, %r1; not.b32 %r3, %r2;");
  EXPECT_TRUE(share(0, 2));
  EXPECT_TRUE(share(1, 3));
  EXPECT_FALSE(share(0, 1)) << "an instruction's result does not overwrite its operand";
  EXPECT_EQ(plan_.count[0], 2u);
  EXPECT_EQ(plan_.place[9], -1) << "never named";
}

TEST_F(RegistersTest, TheTwoSidesOfAMoveShareUnlessBothAreNeeded) {
  plan("mov.u32 %r0, 1; mov.u32 %r1, %r0; not.b32 %r2, %r1;");
  EXPECT_TRUE(share(0, 1));
  EXPECT_FALSE(share(1, 2));
  plan("mov.u32 %r0, 1; mov.u32 %r1, %r0; add.u32 %r2, %r1, %r0;");
  EXPECT_FALSE(share(0, 1));
  plan("mov.u32 %r0, 1; setp.eq.u32 %p0, %r0, 1; @%p0 mov.u32 %r1, %r0; not.b32 %r2, %r1;");
  EXPECT_FALSE(share(0, 1)) << "the other lanes keep what they had";
  // The place is free only when the copy is dead too.
  plan("mov.u32 %r0, 1; mov.u32 %r1, %r0; mov.u32 %r2, 5; add.u32 %r3, %r1, %r2;");
  EXPECT_FALSE(share(1, 2));
}

TEST_F(RegistersTest, WidthsAreApart) {
  plan("mov.u32 %r0, 1; mov.u64 %d0, 1; mov.u32 %r1, 2;");
  EXPECT_EQ(plan_.count[0], 1u);
  EXPECT_EQ(plan_.count[1], 1u);
}

TEST_F(RegistersTest, AValueThatALoopNeedsAgainLivesThroughIt) {
  plan(
      "mov.u32 %r0, 1; mov.u32 %r1, 0; L: add.u32 %r2, %r1, %r0; mov.u32 %r3, %r2; mov.u32 %r1, "
      "%r3; setp.lt.u32 %p0, %r1, 9; @%p0 bra L; mov.u32 %r4, %r1;");
  for (int other : {1, 2, 3}) EXPECT_FALSE(share(0, other)) << other;
  EXPECT_FALSE(share(1, 3));
}

TEST_F(RegistersTest, AValueCarriedAroundTheLoopInTheTextsOrderBackwards) {
  // %r2 is used above its definition: it comes from the round before.
  plan(
      "mov.u32 %r2, 0; mov.u32 %r5, 0; L: mov.u32 %r0, %r2; mov.u32 %r1, %r0; add.u32 %r5, %r5, "
      "%r1; mov.u32 %r2, %r5; setp.lt.u32 %p0, %r5, 9; @%p0 bra L;");
  EXPECT_FALSE(share(2, 5));
  plan(
      "L: mov.u32 %r0, %r2; mov.u32 %r1, %r0; mov.u32 %r2, %r1; mov.u32 %r3, 4; setp.lt.u32 %p0, "
      "%r3, 9; @%p0 bra L;");
  EXPECT_FALSE(share(2, 3)) << "live around the back edge";
}

TEST_F(RegistersTest, AGuardedResultKeepsTheOtherLanes) {
  plan(
      "mov.u32 %r0, 1; mov.u32 %r1, 2; setp.eq.u32 %p0, %r1, 2; mov.u32 %r2, 3; @%p0 mov.u32 %r0, "
      "%r2; mov.u32 %r3, %r0;");
  EXPECT_FALSE(share(0, 1));
  EXPECT_FALSE(share(0, 2));
}

TEST_F(RegistersTest, ConditionalDefinitionsInALoop) {
  // A round may skip the definition and use the value of an earlier one.
  plan(
      "mov.u32 %r0, 0; L: setp.eq.u32 %p0, %r0, 3; @%p0 bra SKIP; mov.u32 %r1, %r0; SKIP: mov.u32 "
      "%r2, 7; add.u32 %r3, %r1, %r2; mov.u32 %r0, %r3; setp.lt.u32 %p1, %r0, 99; @%p1 bra L;");
  for (int other : {0, 2, 3}) EXPECT_FALSE(share(1, other)) << other;
}

TEST_F(RegistersTest, OperandsOfStoresBarriersAndBranchesAreUses) {
  plan(
      "mov.u64 %d0, 0; mov.u32 %r0, 1; mov.u32 %r1, 2; mov.u32 %r2, 3; T: .branchtargets A; "
      "st.global.u32 [%d0], %r0; bar.sync %r1; A: brx.idx %r2, T;");
  EXPECT_FALSE(share(0, 1));
  EXPECT_FALSE(share(1, 2));
  EXPECT_FALSE(share(0, 2));
}

TEST_F(RegistersTest, AJumpWithoutATargetIsLeftToTheDecoder) {
  plan("mov.u32 %r0, 1; mov.u32 %r1, %r0; mov.u32 %r2, %r1; bra;");
  EXPECT_TRUE(share(0, 2));
}

}  // namespace
}  // namespace farcall::softgpu
