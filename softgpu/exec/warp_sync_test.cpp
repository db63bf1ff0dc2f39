// Lanes of a warp that come to an instruction with a mask of members by different ways: the same
// instruction in an outer and an inner call, or bar.warp.sync at several places.
#include "softgpu/exec/warp_sync.h"

#include <gmock/gmock.h>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

class WarpSyncTest : public testing::Test {
 protected:
  // What the lanes of one warp leave in an array.
  static std::vector<uint32_t> run(TestDevice& device, const std::string& text) {
    const auto program = device.load(".version 8.5\n.target sm_90\n.address_size 64\n" + text);
    if (!program) return {};
    auto out = device.array<uint32_t>(32);
    device.launch(*program, "k", {1}, {32}, Params(out.data()));
    return {out.begin(), out.end()};
  }
  std::vector<uint32_t> run(const std::string& text) { return run(device_, text); }
  template <class F>
  static std::vector<uint32_t> each(F f) {
    std::vector<uint32_t> values(32);
    for (uint32_t lane = 0; lane < 32; ++lane) values[lane] = f(lane);
    return values;
  }

  TestDevice device_;
};

// k(out): out[lane] = visit(lane % 3, lane), where visit calls itself n times first.
std::string recursion(const std::string& at_the_bottom) {
  return ".shared .align 4 .b32 shared[32];\n"
         ".func (.param .b32 r) visit(.param .b32 n, .param .b32 v) {\n"
         " .reg .b32 %n, %v, %r<9>; .reg .pred %p, %q;\n"
         " ld.param.b32 %n, [n]; ld.param.b32 %v, [v]; setp.eq.u32 %p, %n, 0; @%p bra BOTTOM;\n"
         " sub.u32 %n, %n, 1;\n"
         " { .param .b32 m, w, s; st.param.b32 [m], %n; st.param.b32 [w], %v;\n"
         "   call (s), visit, (m, w); ld.param.b32 %r0, [s]; }\n"
         " bra END;\n"
         "BOTTOM:\n" +
         at_the_bottom +
         "\nEND: st.param.b32 [r], %r0; ret;\n}\n"
         ".visible .entry k(.param .u64 out) {\n"
         " .reg .b64 %a, %b; .reg .b32 %t, %n, %r;\n"
         " ld.param.u64 %a, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %b, %t, 4; add.u64 %a, %a, "
         "%b;\n"
         " rem.u32 %n, %t, 3;\n"
         " { .param .b32 m, w, s; st.param.b32 [m], %n; st.param.b32 [w], %t;\n"
         "   call (s), visit, (m, w); ld.param.b32 %r, [s]; }\n"
         " st.global.u32 [%a], %r;\n ret;\n}\n";
}

TEST_F(WarpSyncTest, LanesOfDifferentDepthsShuffleTogether) {
  // The neighbour is always in another call.
  EXPECT_EQ(run(recursion("add.u32 %r1, %v, 100; shfl.sync.bfly.b32 %r0, %r1, 1, 31, -1;")),
            each([](uint32_t lane) { return (lane ^ 1) + 100; }));
}

TEST_F(WarpSyncTest, LanesOfDifferentDepthsVoteTogether) {
  EXPECT_EQ(run(recursion("and.b32 %r1, %v, 1; setp.ne.u32 %q, %r1, 0;\n"
                          "vote.sync.ballot.b32 %r0, %q, -1;")),
            each([](uint32_t) { return 0xaaaaaaaa; }));
}

TEST_F(WarpSyncTest, ABarrierOfTheWarpIsOneForAllDepths) {
  // Whatever was written before it, the others read behind it; and again, so that nobody passes
  // twice.
  EXPECT_EQ(run(recursion("mov.u32 %r1, shared; shl.b32 %r2, %v, 2; add.u32 %r1, %r1, %r2;\n"
                          "st.shared.u32 [%r1], %v; bar.warp.sync -1;\n"
                          "mov.u32 %r3, shared; xor.b32 %r4, %r2, 4; add.u32 %r3, %r3, %r4;\n"
                          "ld.shared.u32 %r5, [%r3]; bar.warp.sync -1;\n"
                          "add.u32 %r5, %r5, 1000; st.shared.u32 [%r1], %r5; bar.warp.sync -1;\n"
                          "ld.shared.u32 %r0, [%r3];")),
            each([](uint32_t lane) { return lane + 1000; }));
}

// Odd lanes wait in a function, even ones in the kernel; each writes before and reads after.
constexpr char kTwoPlaces[] = R"(
.shared .align 4 .b32 shared[32];
.func (.param .b32 r) other_place(.param .b32 v) {
 .reg .b32 %v, %r<5>;
 ld.param.b32 %v, [v]; mov.u32 %r0, shared; shl.b32 %r1, %v, 2; add.u32 %r2, %r0, %r1;
 st.shared.u32 [%r2], %v;
 bar.warp.sync -1;
 xor.b32 %r1, %r1, 4; add.u32 %r2, %r0, %r1; ld.shared.u32 %r3, [%r2];
 st.param.b32 [r], %r3; ret;
}
.visible .entry k(.param .u64 out) {
 .reg .b64 %a, %b; .reg .b32 %t, %r<5>; .reg .pred %p;
 ld.param.u64 %a, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %b, %t, 4; add.u64 %a, %a, %b;
 and.b32 %r0, %t, 1; setp.ne.u32 %p, %r0, 0; @%p bra ODD;
 mov.u32 %r0, shared; shl.b32 %r1, %t, 2; add.u32 %r2, %r0, %r1;
 st.shared.u32 [%r2], %t;
 bar.warp.sync -1;
 xor.b32 %r1, %r1, 4; add.u32 %r2, %r0, %r1; ld.shared.u32 %r3, [%r2];
 bra END;
ODD:
 { .param .b32 w, s; st.param.b32 [w], %t; call (s), other_place, (w); ld.param.b32 %r3, [s]; }
END:
 st.global.u32 [%a], %r3; ret;
}
)";

TEST_F(WarpSyncTest, ABarrierOfTheWarpIsOneForAllPlaces) {
  EXPECT_EQ(run(kTwoPlaces), each([](uint32_t lane) { return lane ^ 1; }));
}

TEST_F(WarpSyncTest, RacecheckKnowsThatTheyHaveMet) {
  CheckTools races;
  races.races = true;
  TestDevice checked(1, races);
  EXPECT_EQ(run(checked, kTwoPlaces), each([](uint32_t lane) { return lane ^ 1; }));
  EXPECT_TRUE(checked.findings.empty()) << checked.findings[0].title;
}

}  // namespace
}  // namespace farcall::softgpu
