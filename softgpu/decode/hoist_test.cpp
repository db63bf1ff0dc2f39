// What runs before a kernel is only what cannot matter where it stands.
#include "softgpu/decode/hoist.h"

#include <gtest/gtest.h>

#include <string>

#include "softgpu/ptx/parser.h"

namespace farcall::softgpu {
namespace {

class HoistTest : public testing::Test {
 protected:
  // One letter for each instruction: g, b, w, or - for those that stay.
  std::string plan(const std::string& body) {
    ptx::ParseError error;
    module_ = ptx::parse_module(
        ".version 8.5\n.target sm_90\n.entry k(.param .u64 p, .param .u32 n) {\n"
        ".reg .b32 %r<20>; .reg .b64 %d<10>; .reg .pred %p<3>; .local .b8 frame[16];\n" +
            body + "\n}",
        &error);
    if (!module_) return error.message;
    if (const auto problem = ptx::parse_body(module_->functions[0])) return problem->message;
    std::string letters;
    for (const Lasting lasting : plan_hoisting(module_->functions[0]).instructions)
      letters += "-wbg"[static_cast<int>(lasting)];
    return letters;
  }
  std::unique_ptr<ptx::Module> module_;
};

TEST_F(HoistTest, ParametersAndConstantsLastForTheGrid) {
  EXPECT_EQ(plan("ld.param.u64 %d0, [p]; ld.param.u32 %r0, [n]; mov.u32 %r1, 7; "
                 "cvta.to.global.u64 %d1, %d0; mad.lo.u32 %r2, %r0, %r1, 3; mov.u32 %r3, %ntid.x;"),
            "gggggg");
}

TEST_F(HoistTest, BlocksAndThreadsTogetherAreComputedInPlace) {
  EXPECT_EQ(plan("mov.u32 %r0, %ctaid.x; mov.u32 %r1, %tid.x; shl.b32 %r2, %r0, 4; "
                 "shl.b32 %r3, %r1, 2; add.u32 %r4, %r2, %r3; add.u32 %r5, %r4, 1;"),
            "bwbw--");
}

TEST_F(HoistTest, AddressesOfLocalVariablesAndSharedMemory) {
  EXPECT_EQ(plan("mov.u64 %d0, frame; add.u64 %d1, %d0, 8; cvta.shared.u64 %d2, 16; "
                 "ld.param.u64 %d3, [p]; cvta.local.u64 %d4, %d0; "
                 "cvta.to.shared.u64 %d5, %d2; cvta.shared::cluster.u64 %d6, 16;"),
            "wwbgw--")
      << "in a cluster, an address may be another block's";
}

TEST_F(HoistTest, WhatIsWrittenTwiceStays) {
  EXPECT_EQ(plan("mov.u32 %r0, 0; L: add.u32 %r0, %r0, 1; mov.u32 %r1, %r0; "
                 "setp.lt.u32 %p0, %r0, 9; @%p0 bra L;"),
            "-----");
}

TEST_F(HoistTest, WhatMayNotRunStays) {
  EXPECT_EQ(plan("mov.u32 %r0, %tid.x; setp.eq.u32 %p0, %r0, 0; @%p0 mov.u32 %r1, 5; "
                 "mov.u32 %r2, %r1;"),
            "w---");
}

TEST_F(HoistTest, WhatHasEffectsOrChangesStays) {
  EXPECT_EQ(plan("mov.u64 %d0, %clock64; ld.param.u64 %d1, [p]; ld.global.u32 %r0, [%d1]; "
                 "mov.u32 %r9, 3; add.cc.u32 %r1, %r9, 1; addc.u32 %r2, %r9, 0; "
                 "shfl.sync.idx.b32 %r3|%p0, %r9, 0, 31, -1; vote.sync.ballot.b32 %r4, 1, -1;"),
            "-g-g----");
}

TEST_F(HoistTest, AResultInTwoPlacesCountsAsWritingBoth) {
  EXPECT_EQ(plan("ld.param.u64 %d0, [p]; mov.b64 {%r0, %r1}, %d0; mov.u32 %r1, 5; "
                 "mov.b64 %d1, {%r0, %r0};"),
            "g---");
}

}  // namespace
}  // namespace farcall::softgpu
