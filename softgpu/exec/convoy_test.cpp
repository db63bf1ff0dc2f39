// Warps that go together and part: the same results whether a block's warps go in convoys or, as
// while a checker watches, each by itself. Blocks of 20 warps are three convoys.
#include <gtest/gtest.h>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

constexpr uint32_t kThreads = 20 * 32 - 7;

// A kernel with %t the thread's index, %rd the address of its result in %r0, and shared memory.
std::string kernel(const std::string& body, const std::string& before = "") {
  return ".version 8.5\n.target sm_90\n.address_size 64\n" + before +
         ".shared .align 4 .b8 sh[4096];\n"
         ".visible .entry k(.param .u64 out) {\n"
         ".reg .b64 %rd, %rd<20>; .reg .b32 %t, %s, %r<30>; .reg .pred %p<9>;\n"
         "ld.param.u64 %rd, [out]; mov.u32 %t, %tid.x; mad.wide.u32 %rd, %t, 4, %rd;\n"
         "mov.u32 %r0, 0; mov.u32 %s, sh; mad.lo.u32 %s, %t, 4, %s;\n" +
         body + "\nst.global.u32 [%rd], %r0;\nret;\n}\n";
}

class ConvoyTest : public testing::TestWithParam<bool> {
 protected:
  template <class F>
  void expect(const std::string& text, F expected, uint32_t threads = kThreads) {
    TestDevice device(2, CheckTools{.memory = GetParam()});
    auto program = device.load(text);
    ASSERT_TRUE(program);
    auto out = device.array<uint32_t>(threads);
    // More than one, as each worker uses its blocks again.
    for (int round = 0; round < 2; ++round) {
      std::fill(out.begin(), out.end(), ~0u);
      device.launch(*program, "k", {1}, {threads}, Params(out.data()));
      for (uint32_t t = 0; t < threads; ++t) ASSERT_EQ(out[t], expected(t)) << "thread " << t;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(WithAndWithout, ConvoyTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Alone" : "Together"; });

TEST_P(ConvoyTest, WholeWarpsPassByAnIf) {
  expect(kernel("setp.ge.u32 %p0, %t, 70; @%p0 bra B; add.u32 %r0, %r0, 1; setp.lt.u32 %p1, %t, 64;"
                "@%p1 bra B; add.u32 %r0, %r0, 2;\n"
                "B: add.u32 %r0, %r0, 8;"),
         [](uint32_t t) { return 8u + (t < 70 ? 1 : 0) + (t >= 64 && t < 70 ? 2 : 0); });
}

TEST_P(ConvoyTest, WhatAnIfSkipsIsGuardedToo) {
  // Threads come to the skipped instructions with lanes that wait inside, behind and at their end.
  expect(kernel("and.b32 %r1, %t, 3; setp.eq.u32 %p0, %r1, 0; setp.eq.u32 %p1, %r1, 1; "
                "setp.gt.u32 %p2, %t, 320; @%p1 bra INSIDE;\n"
                "@%p0 bra END; add.u32 %r0, %r0, 1; @%p2 add.u32 %r0, %r0, 10;\n"
                "INSIDE: add.u32 %r0, %r0, 100; @!%p2 add.u32 %r0, %r0, 1000;\n"
                "END: @%p2 bra LAST; mov.u32 %r2, 7; st.shared.u32 [%s], %r2; "
                "ld.shared.u32 %r2, [%s]; add.u32 %r0, %r0, %r2;\nLAST: "),
         [](uint32_t t) {
           const bool far = t > 320;
           uint32_t sum = far ? 0 : 7;
           if (t % 4 == 0) return sum;
           if (t % 4 != 1) sum += far ? 11 : 1;
           return sum + (far ? 100 : 1100);
         });
}

TEST_P(ConvoyTest, LoopsInLoopsOfDifferentLengths) {
  // The second time round, lanes and warps leave the inner loop where all have left it before.
  expect(kernel("mov.u32 %r1, 0; and.b32 %r3, %t, 127; rem.u32 %r3, %r3, 7;\n"
                "OUTER: mov.u32 %r2, 0;\n"
                "INNER: add.u32 %r0, %r0, 1; add.u32 %r2, %r2, 1; setp.lt.u32 %p0, %r2, %r3; "
                "@%p0 bra INNER;\n"
                "add.u32 %r0, %r0, 100; add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 3;"
                "@%p1 bra OUTER;"),
         [](uint32_t t) { return 300 + 3 * std::max(1u, (t & 127) % 7); });
}

TEST_P(ConvoyTest, BarriersInLoopsThatWarpsLeaveEarly) {
  // Thread t exits after t / 50 rounds; the rest add up what their neighbours have written.
  expect(kernel("mov.u32 %r1, 0; div.u32 %r3, %t, 50; st.shared.u32 [%s], %t;\n"
                "LOOP: setp.ge.u32 %p0, %r1, %r3; @%p0 bra OUT;\n"
                "bar.sync 0; ld.shared.u32 %r4, [%s]; add.u32 %r0, %r0, %r4; bar.sync 0;\n"
                "add.u32 %r4, %r4, 1; st.shared.u32 [%s], %r4; add.u32 %r1, %r1, 1; bra LOOP;\n"
                "OUT: "),
         [](uint32_t t) {
           const uint32_t rounds = t / 50;
           return rounds * t + rounds * (rounds - 1) / 2;
         });
}

TEST_P(ConvoyTest, ATreeOfSumsAcrossWarps) {
  expect(kernel("st.shared.u32 [%s], %t; bar.sync 0; mov.u32 %r1, 512;\n"
                "LOOP: add.u32 %r2, %t, %r1; setp.ge.u32 %p0, %t, %r1; mov.u32 %r3, %ntid.x; "
                "setp.ge.or.u32 %p0, %r2, %r3, %p0; @%p0 bra SKIP;\n"
                "shl.b32 %r2, %r1, 2; add.u32 %r2, %s, %r2; ld.shared.u32 %r3, [%r2]; "
                "ld.shared.u32 %r4, [%s]; add.u32 %r4, %r4, %r3; st.shared.u32 [%s], %r4;\n"
                "SKIP: bar.sync 0; shr.u32 %r1, %r1, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra LOOP;\n"
                "ld.shared.u32 %r0, [sh];"),
         [](uint32_t) { return kThreads * (kThreads - 1) / 2; });
}

TEST_P(ConvoyTest, BarriersOfSomeWarpsWithinTheConvoy) {
  // Warps 0-1 meet at barrier 1, 2-3 at barrier 2, and so on, again and again.
  expect(
      kernel("shr.u32 %r1, %t, 6; add.u32 %r1, %r1, 1; mov.u32 %r2, 0; xor.b32 %r5, %s, 128;\n"
             "LOOP: add.u32 %r3, %t, %r2; st.shared.u32 [%s], %r3; bar.sync %r1, 64; "
             "ld.shared.u32 %r4, [%r5]; add.u32 %r0, %r0, %r4; bar.sync %r1, 64;\n"
             "add.u32 %r2, %r2, 1; setp.lt.u32 %p0, %r2, 5; @%p0 bra LOOP;",
             ".shared .align 1024 .b8 aligned[8];\n"),
      [](uint32_t t) { return 5 * (t ^ 32) + 10; }, 20 * 32 / 64 * 64);
}

TEST_P(ConvoyTest, SomeArriveAndGoOnWhereOthersWait) {
  // Even warps only arrive, odd ones wait for them, and all go on together.
  expect(
      kernel("shr.u32 %r1, %t, 5; and.b32 %r1, %r1, 1; setp.eq.u32 %p0, %r1, 0;\n"
             "@%p0 st.shared.u32 [%s], 5; @%p0 bar.arrive 3, 640; @!%p0 bar.sync 3, 640;\n"
             "@!%p0 ld.shared.u32 %r0, [%s+-128]; bar.sync 0; add.u32 %r0, %r0, 1;"),
      [](uint32_t t) { return (t / 32 % 2 == 0 ? 0u : 5u) + 1; }, 640);
}

TEST_P(ConvoyTest, ReductionsAtBarriersCountEveryWarp) {
  expect(kernel("and.b32 %r1, %t, 1; setp.ne.u32 %p0, %r1, 0; bar.red.popc.u32 %r2, 0, %p0;"
                "setp.eq.u32 %p1, %t, 77; bar.red.or.pred %p2, 0, %p1; selp.u32 %r3, 1000, 0, %p2;"
                "add.u32 %r0, %r2, %r3;"),
         [](uint32_t) { return kThreads / 2 + 1000; });
}

TEST_P(ConvoyTest, AWarpMayWaitForAnotherOneInALoop) {
  // Threads of warp 0 spin until the last warp, behind them, has written; that one comes to it only
  // when those before it give way.
  expect(kernel("setp.ge.u32 %p0, %t, 32; @%p0 bra OTHERS;\n"
                "SPIN: ld.volatile.shared.u32 %r0, [sh+4000]; setp.ne.u32 %p1, %r0, 9; "
                "@%p1 bra SPIN; bra END;\n"
                "OTHERS: setp.ne.u32 %p2, %t, 600; @%p2 bra END; mov.u32 %r0, 9; "
                "st.volatile.shared.u32 [sh+4000], %r0;\nEND: "),
         [](uint32_t t) { return t < 32 || t == 600 ? 9u : 0u; });
}

TEST_P(ConvoyTest, LocksBetweenWarps) {
  // Every thread takes the lock once: forward progress of lanes and of warps.
  expect(
      kernel("mov.u32 %r1, 0; setp.ne.u32 %p0, %t, 0; @%p0 bra READY; "
             "st.shared.u32 [sh], 0; st.shared.u32 [sh+4], 0;\nREADY: bar.sync 0;\n"
             "LOCK: atom.shared.cas.b32 %r1, [sh], 0, 1; setp.ne.u32 %p1, %r1, 0; "
             "@%p1 bra LOCK;\n"
             "ld.volatile.shared.u32 %r2, [sh+4]; add.u32 %r2, %r2, 1; "
             "st.volatile.shared.u32 [sh+4], %r2; membar.cta; atom.shared.exch.b32 %r1, [sh], 0;"
             "\nbar.sync 0; ld.shared.u32 %r0, [sh+4];"),
      [](uint32_t) { return 100u; }, 100);
}

TEST_P(ConvoyTest, CallsAndTablesLeadDifferentWays) {
  expect(kernel("{ .param .b32 a; .param .b32 r; st.param.b32 [a], %t; call (r), f, (a); "
                "ld.param.b32 %r0, [r]; }\n"
                "rem.u32 %r1, %t, 3; TS: .branchtargets A, B, C; brx.idx %r1, TS;\n"
                "A: add.u32 %r0, %r0, 1; bra END; B: add.u32 %r0, %r0, 2; bra END;\n"
                "C: add.u32 %r0, %r0, 3;\nEND: ",
                ".func (.param .b32 r) f(.param .b32 a) { .reg .b32 %x; .reg .pred %p; "
                "ld.param.b32 %x, [a]; setp.lt.u32 %p, %x, 200; @%p bra L; mul.lo.u32 %x, %x, 2;\n"
                "L: st.param.b32 [r], %x; ret; }\n"),
         [](uint32_t t) { return (t < 200 ? t : 2 * t) + t % 3 + 1; });
}

TEST_P(ConvoyTest, ShufflesAndVotesOfWholeAndPartialWarps) {
  expect(kernel("setp.lt.u32 %p0, %t, 176; @!%p0 bra SKIP; activemask.b32 %r1; "
                "shfl.sync.bfly.b32 %r2, %t, 1, 31, %r1; vote.sync.ballot.b32 %r3, %p0, %r1; "
                "popc.b32 %r3, %r3; mad.lo.u32 %r0, %r3, 1000, %r2;\nSKIP: bar.warp.sync -1; "
                "add.u32 %r0, %r0, 1;"),
         [](uint32_t t) {
           if (t >= 176) return 1u;
           return (t < 160 ? 32000u : 16000u) + (t ^ 1) + 1;
         });
}

// No handler has run yet that could say for whom.
TEST(ConvoyFaultTest, WarpsThatOnlyBranchCanBeStopped) {
  TestMemory memory;
  EngineOptions options;
  options.workers = 1;
  options.warp_turns_max = 2;
  const auto engine = Engine::create(memory, std::move(options));
  const std::string_view text =
      ".version 8.5\n.target sm_90\n.address_size 64\n.visible .entry k() { L: bra L; }";
  LoadError error{};
  const auto program = engine->load({&text, 1}, &error);
  ASSERT_TRUE(program) << error.message;
  Launch launch;
  launch.kernel = program->kernel("k", &error);
  ASSERT_NE(launch.kernel, nullptr) << error.message;
  launch.block = {64};
  const auto fault = engine->launch(launch);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kTimeout);
}

TEST(ConvoyFaultTest, AFaultNamesTheThreadThatDidIt) {
  TestDevice device;
  auto program =
      device.load(kernel("setp.ne.u32 %p0, %t, 300; @%p0 bra END; mov.u64 %rd1, 64; "
                         "ld.global.u32 %r0, [%rd1];\nEND: bar.sync 0;"));
  auto out = device.array<uint32_t>(kThreads);
  const auto fault = device.try_launch(*program, "k", {1}, {kThreads}, Params(out.data()));
  ASSERT_TRUE(fault);
  EXPECT_NE(fault->message.find("thread (300,0,0)"), std::string::npos) << fault->message;
}

}  // namespace
}  // namespace farcall::softgpu
