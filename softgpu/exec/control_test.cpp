// Control flow, calls, addresses, linking and refusals, with PTX written for the purpose.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

std::string module(const std::string& text) {
  return ".version 8.5\n.target sm_90\n.address_size 64\n" + text;
}

// A kernel of one array parameter, with %rd its address plus 4 * tid, %t tid, and some registers.
std::string kernel(const std::string& body, const std::string& before = "") {
  return module(before +
                ".visible .entry k(.param .u64 out) {\n"
                ".reg .b64 %rd, %rd<20>; .reg .b32 %t, %r<30>; .reg .b16 %h<4>; .reg .pred %p<9>; "
                ".reg .f32 %f<9>;\n"
                "ld.param.u64 %rd, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %rd0, %t, 4; add.u64 "
                "%rd, %rd, %rd0;\n" +
                body + "\nret;\n}\n");
}

class ControlTest : public testing::Test {
 protected:
  // What the kernel stores with `st.global.u32 [%rd], ...`.
  std::vector<uint32_t> run(const std::string& text, uint32_t threads = 32, uint32_t blocks = 1,
                            uint32_t dynamic_shared = 0) {
    auto program = device_.load(text);
    if (!program) return {};
    auto out = device_.array<uint32_t>(threads * 4);
    device_.launch(*program, "k", {blocks}, {threads}, Params(out.data()), dynamic_shared);
    return {out.begin(), out.begin() + threads};
  }
  Fault fault(const std::string& text, uint32_t threads = 32) {
    auto program = device_.load(text);
    auto out = device_.array<uint32_t>(threads);
    auto result = device_.try_launch(*program, "k", {1}, {threads}, Params(out.data()));
    EXPECT_TRUE(result);
    return result.value_or(Fault{});
  }
  template <class F>
  static std::vector<uint32_t> each(F f, uint32_t threads = 32) {
    std::vector<uint32_t> values(threads);
    for (uint32_t t = 0; t < threads; ++t) values[t] = f(t);
    return values;
  }

  TestDevice device_;
};

TEST_F(ControlTest, LoopsOfDifferentLengths) {
  EXPECT_EQ(run(kernel("mov.u32 %r0, 0; mov.u32 %r1, 0;\n"
                       "LOOP: setp.ge.u32 %p0, %r1, %t; @%p0 bra DONE; add.u32 %r0, %r0, %r1; "
                       "add.u32 %r1, %r1, 1; bra LOOP;\n"
                       "DONE: st.global.u32 [%rd], %r0;"),
                100),
            each([](uint32_t t) { return t * (t - 1) / 2; }, 100));
}

// Lanes leave the inner loop at the place where their group began the last time.
TEST_F(ControlTest, LoopsOfDifferentLengthsInALoop) {
  EXPECT_EQ(run(kernel("mov.u32 %r0, 0; mov.u32 %r2, 0;\n"
                       "OUTER: mov.u32 %r1, 0;\n"
                       "INNER: add.u32 %r0, %r0, 1; add.u32 %r1, %r1, 1; setp.le.u32 %p0, %r1, %t; "
                       "@%p0 bra INNER;\n"
                       "add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 3; @%p1 bra OUTER;\n"
                       "st.global.u32 [%rd], %r0;")),
            each([](uint32_t t) { return 3 * (t + 1); }));
  // The same with lanes that jump ahead.
  EXPECT_EQ(run(kernel("mov.u32 %r0, 0; mov.u32 %r2, 0; and.b32 %r3, %t, 1;\n"
                       "LOOP: setp.eq.u32 %p0, %r3, 0; @%p0 bra EVEN; add.u32 %r0, %r0, 1;\n"
                       "EVEN: add.u32 %r0, %r0, 1; add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 3; "
                       "@%p1 bra LOOP;\n"
                       "st.global.u32 [%rd], %r0;")),
            each([](uint32_t t) { return 3 * (1 + t % 2); }));
}

TEST_F(ControlTest, DivergedLanesMeetAgain) {
  // After the if, all lanes vote together.
  EXPECT_EQ(run(kernel("and.b32 %r0, %t, 3; setp.eq.u32 %p0, %r0, 0; mov.u32 %r2, 1; @%p0 bra A; "
                       "mov.u32 %r2, 2; bra B;\n"
                       "A: mov.u32 %r2, 5;\nB: activemask.b32 %r1; st.global.u32 [%rd], %r1;")),
            each([](uint32_t) { return ~0u; }));
}

TEST_F(ControlTest, IndexedBranches) {
  EXPECT_EQ(run(kernel("rem.u32 %r0, %t, 3; TS: .branchtargets A, B, C; brx.idx %r0, TS;\n"
                       "A: mov.u32 %r1, 10; bra END; B: mov.u32 %r1, 20; bra END; C: mov.u32 %r1, "
                       "30; END: st.global.u32 [%rd], %r1;")),
            each([](uint32_t t) { return (t % 3 + 1) * 10; }));
  EXPECT_EQ(
      fault(kernel("add.u32 %r0, %t, 1; TS: .branchtargets A; brx.idx %r0, TS; A: ret;")).kind,
      Fault::Kind::kIllegalInstruction);
}

TEST_F(ControlTest, PredicatedExitLeavesTheOthers) {
  EXPECT_EQ(
      run(kernel(
          "st.global.u32 [%rd], 1; setp.gt.u32 %p0, %t, 9; @%p0 exit; st.global.u32 [%rd], 2;")),
      each([](uint32_t t) { return t > 9 ? 1 : 2; }));
}

TEST_F(ControlTest, PartialWarpsHaveFewerMembers) {
  const auto out =
      run(kernel("vote.sync.ballot.b32 %r0, 1, 0xffffffff; st.global.u32 [%rd], %r0;"), 45);
  EXPECT_EQ(out[0], ~0u);
  EXPECT_EQ(out[44], (1u << 13) - 1);
}

TEST_F(ControlTest, SpecialRegisters) {
  const std::string text = kernel(
      "mov.u32 %r0, %laneid; mov.u32 %r1, %warpid; mov.u32 %r2, %lanemask_lt; mov.u32 %r3, "
      "%ntid.x; mov.u32 %r4, %nctaid.x;\n"
      "popc.b32 %r2, %r2; mad.lo.u32 %r0, %r1, 100, %r0; mad.lo.u32 %r0, %r2, 10000, %r0; add.u32 "
      "%r3, %r3, %r4;\n"
      "mad.lo.u32 %r0, %r3, 1000000, %r0; st.global.u32 [%rd], %r0;");
  EXPECT_EQ(
      run(text, 64),
      each([](uint32_t t) { return 65 * 1000000 + t % 32 * 10000 + t / 32 * 100 + t % 32; }, 64));
}

TEST_F(ControlTest, ThreadIndicesOfThreeDimensions) {
  auto program = device_.load(module(
      ".visible .entry k(.param .u64 out) { .reg .b32 %r<20>; .reg .b64 %rd<4>; ld.param.u64 %rd0, "
      "[out];\n"
      "mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z; mov.u32 %r3, %ctaid.x; "
      "mov.u32 %r4, %ctaid.y; mov.u32 %r5, %ctaid.z;\n"
      "mad.lo.u32 %r6, %r2, 4, %r1; mad.lo.u32 %r6, %r6, 3, %r0;\n"  // in the block of 3 x 4 x 5
      "mad.lo.u32 %r7, %r5, 2, %r4; mad.lo.u32 %r7, %r7, 2, %r3;\n"  // in the grid of 2 x 2 x 2
      "mad.lo.u32 %r8, %r7, 60, %r6; mul.wide.u32 %rd1, %r8, 4; add.u64 %rd0, %rd0, %rd1; add.u32 "
      "%r8, %r8, 1; st.global.u32 [%rd0], %r8; ret; }"));
  auto out = device_.array<uint32_t>(480);
  device_.launch(*program, "k", {2, 2, 2}, {3, 4, 5}, Params(out.data()));
  for (uint32_t i = 0; i < 480; ++i) EXPECT_EQ(out[i], i + 1);
}

// ---- barriers and members ----

TEST_F(ControlTest, BarrierReductions) {
  EXPECT_EQ(run(kernel("setp.lt.u32 %p0, %t, 50; bar.red.popc.u32 %r0, 0, %p0; bar.red.and.pred "
                       "%p1, 1, %p0; bar.red.or.pred %p2, 1, !%p0;\n"
                       "selp.u32 %r1, 1000, 0, %p1; selp.u32 %r2, 2000, 0, %p2; add.u32 %r0, %r0, "
                       "%r1; add.u32 %r0, %r0, %r2; st.global.u32 [%rd], %r0;"),
                96),
            each([](uint32_t) { return 2050; }, 96));
}

TEST_F(ControlTest, SomeWarpsArriveAndOthersWait) {
  // The second warp produces and does not wait; the first waits for 64 threads.
  EXPECT_EQ(
      run(kernel("setp.lt.u32 %p0, %t, 32; @%p0 bra CONSUMER; mov.u32 %r2, buffer; shl.b32 %r1, "
                 "%t, 2; add.u32 %r1, %r1, %r2; st.shared.u32 [%r1], %t; bar.arrive 3, 64; ret;\n"
                 "CONSUMER: bar.sync 3, 64; shl.b32 %r1, %t, 2; mov.u32 %r2, buffer; add.u32 %r1, "
                 "%r1, %r2; ld.shared.u32 %r0, [%r1+128]; st.global.u32 [%rd], %r0;",
                 ".shared .b32 buffer[64];\n"),
          64),
      each([](uint32_t t) { return t < 32 ? t + 32 : 0; }, 64));
}

TEST_F(ControlTest, DivergedLanesWaitForTheMembersTheyName) {
  // The halves of the warp come to the shuffle apart, and exchange values.
  EXPECT_EQ(
      run(kernel(
          "setp.lt.u32 %p0, %t, 16; mov.u32 %r1, %t; @%p0 bra A; mul.lo.u32 %r1, %t, 100; A: \n"
          "shfl.sync.bfly.b32 %r0, %r1, 16, 31, 0xffffffff; st.global.u32 [%rd], %r0;")),
      each([](uint32_t t) { return t < 16 ? (t ^ 16) * 100 : t ^ 16; }));
  // Two sets, each inside one branch.
  EXPECT_EQ(
      run(kernel(
          "setp.lt.u32 %p0, %t, 8; @%p0 bra A; vote.sync.ballot.b32 %r0, 1, 0xffffff00; bra B;\n"
          "A: vote.sync.ballot.b32 %r0, 1, 0x000000ff; B: st.global.u32 [%rd], %r0;")),
      each([](uint32_t t) { return t < 8 ? 0xffu : 0xffffff00u; }));
}

TEST_F(ControlTest, ReductionsOfTheWarp) {
  EXPECT_EQ(run(kernel("redux.sync.add.u32 %r0, %t, 0xffffffff; redux.sync.max.s32 %r1, %t, "
                       "0xffffffff; elect.sync _|%p0, 0xffffffff;\n"
                       "selp.u32 %r2, 1000000, 0, %p0; mad.lo.u32 %r0, %r1, 1000, %r0; add.u32 "
                       "%r0, %r0, %r2; st.global.u32 [%rd], %r0;")),
            each([](uint32_t t) { return 31000 + 496 + (t == 0 ? 1000000 : 0); }));
  EXPECT_EQ(run(kernel("shr.u32 %r1, %t, 4; match.all.sync.b32 %r0|%p0, %r1, 0xffffffff; "
                       "match.any.sync.b32 %r2, %r1, 0xffffffff; @%p0 mov.u32 %r2, 0;\n"
                       "add.u32 %r2, %r2, %r0; st.global.u32 [%rd], %r2;")),
            each([](uint32_t t) { return t < 16 ? 0xffffu : 0xffff0000u; }));
}

TEST_F(ControlTest, ABlockWhoseThreadsAllWaitIsAFault) {
  const Fault deadlock =
      fault(kernel("setp.lt.u32 %p0, %t, 16; @%p0 bar.sync 1, 64; bar.sync 2, 64;"));
  EXPECT_EQ(deadlock.kind, Fault::Kind::kDeadlock);
  EXPECT_THAT(deadlock.message, HasSubstr("every thread of the block waits"));
}

TEST_F(ControlTest, AnEngineWithALimitEndsWhatNeverEnds) {
  TestMemory memory;
  EngineOptions options;
  options.workers = 1;
  options.warp_turns_max = 2;
  const auto engine = Engine::create(memory, std::move(options));
  const std::string text = kernel("L: add.u32 %r0, %r0, 1; bra L;");
  const std::string_view view = text;
  LoadError error{};
  const auto program = engine->load({&view, 1}, &error);
  ASSERT_TRUE(program) << error.message;
  Launch launch;
  launch.kernel = program->kernel("k", &error);
  ASSERT_NE(launch.kernel, nullptr) << error.message;
  launch.block = {40};
  const Params params(uint64_t{0});
  launch.params = params.span();
  const auto fault = engine->launch(launch);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kTimeout);
  EXPECT_THAT(fault->message, HasSubstr("too many instructions"));
}

TEST_F(ControlTest, NanosleepLetsOthersRun) {
  EXPECT_EQ(run(kernel("setp.eq.u32 %p0, %t, 0; @%p0 bra WAIT; setp.eq.u32 %p1, %t, 63; @%p1 "
                       "st.volatile.shared.u32 [flag], 7; bra END;\n"
                       "WAIT: nanosleep.u32 100; ld.volatile.shared.u32 %r0, [flag]; setp.eq.u32 "
                       "%p2, %r0, 0; @%p2 bra WAIT; st.global.u32 [%rd], %r0; END:",
                       ".shared .u32 flag;\n"),
                64)[0],
            7u);
}

// ---- calls ----

TEST_F(ControlTest, FunctionsTakeAndGiveStructs) {
  EXPECT_EQ(run(kernel("{ .param .align 8 .b8 s[16]; .param .b32 r; st.param.b32 [s+0], %t; "
                       "st.param.b64 [s+8], 5; call.uni (r), f, (s); ld.param.b32 %r0, [r]; }\n"
                       "st.global.u32 [%rd], %r0;",
                       ".func (.param .b32 r) f(.param .align 8 .b8 s[16]) { .reg .b32 %a; .reg "
                       ".b64 %b; ld.param.b32 %a, [s]; ld.param.b64 %b, [s+8];\n"
                       ".reg .b32 %c; cvt.u32.u64 %c, %b; mad.lo.u32 %a, %a, %c, 1; st.param.b32 "
                       "[r], %a; ret; }\n")),
            each([](uint32_t t) { return t * 5 + 1; }));
}

TEST_F(ControlTest, RecursionKeepsRegistersPredicatesAndLocalMemory) {
  // f(n): keeps n in a register, a predicate and local memory across the inner call.
  const char* function =
      ".func (.param .b32 r) f(.param .b32 n) { .local .b32 kept[2]; .reg .b32 %n, %x, %y; .reg "
      ".pred %odd, %end;\n"
      "ld.param.b32 %n, [n]; and.b32 %x, %n, 1; setp.eq.u32 %odd, %x, 1; st.local.b32 [kept+4], "
      "%n; setp.eq.u32 %end, %n, 0; mov.u32 %y, 0; @%end bra OUT;\n"
      "{ .param .b32 p; .param .b32 q; sub.u32 %x, %n, 1; st.param.b32 [p], %x; call.uni (q), f, "
      "(p); ld.param.b32 %y, [q]; }\n"
      "ld.local.b32 %x, [kept+4]; add.u32 %y, %y, %x; add.u32 %y, %y, %n; @%odd add.u32 %y, %y, "
      "1000;\n"
      "OUT: st.param.b32 [r], %y; ret; }\n";
  EXPECT_EQ(
      run(kernel("{ .param .b32 p; .param .b32 q; and.b32 %r0, %t, 15; st.param.b32 [p], %r0; call "
                 "(q), f, (p); ld.param.b32 %r1, [q]; }\n st.global.u32 [%rd], %r1;",
                 function)),
      each([](uint32_t t) {
        const uint32_t n = t & 15;
        return n * (n + 1) + 1000 * ((n + 1) / 2);
      }));
}

// As PTX had it before there were parameters in memory.
TEST_F(ControlTest, ArgumentsInRegistersAndConstants) {
  EXPECT_EQ(
      run(kernel("mov.u64 %rd1, 5000000000; setp.lt.u32 %p0, %t, 20; mov.u32 %r3, 9;\n"
                 "@%p0 call (%r3), sum, (%t, 7, %rd1);\n"
                 "mov.u64 %rd2, sum;\n"
                 "P: .callprototype (.reg .u32 _) _ (.reg .u32 _, .reg .u16 _, .reg .u64 _);\n"
                 "mov.u16 %h0, 1; mov.u64 %rd3, 2;\n"
                 "call (%r4), %rd2, (%r3, %h0, %rd3), P;\n"
                 "st.global.u32 [%rd], %r4;",
                 ".func (.reg .u32 result) sum(.reg .u32 a, .reg .u16 b, .reg .u64 c) {\n"
                 ".reg .u32 %x, %y; .reg .pred %p;\n"
                 "cvt.u32.u16 %x, b; cvt.u32.u64 %y, c; add.u32 %x, %x, %y;\n"
                 "add.u32 result, %x, a; setp.eq.u32 %p, a, 3; @!%p ret;\n"
                 "add.u32 result, result, 100;\n}\n")),
      each([](uint32_t t) {
        const auto c = static_cast<uint32_t>(5000000000);
        const uint32_t first = t < 20 ? t + 7 + c + (t == 3 ? 100 : 0) : 9;
        return first + 1 + 2 + (first == 3 ? 100 : 0);
      }));
}

TEST_F(ControlTest, AllocaGivesBackWhatAFunctionTook) {
  const std::string filled =
      ".func (.param .b32 r) filled(.param .b32 n) {\n"
      ".reg .b32 %n, %i, %v, %s; .reg .b64 %p, %q, %z, %keep; .reg .pred %c;\n"
      "ld.param.b32 %n, [n]; mul.wide.u32 %z, %n, 4; stacksave.u64 %keep;\n"
      "alloca.u64 %p, 1000; alloca.u64 %p, %z, 16; and.b64 %q, %p, 15; cvt.u32.u64 %s, %q;\n"
      "mov.u32 %i, 0; mov.b64 %q, %p;\n"
      "W: st.local.u32 [%q], %i; add.u64 %q, %q, 4; add.u32 %i, %i, 1; setp.lt.u32 %c, %i, %n; @%c "
      "bra W;\n"
      "R: sub.u64 %q, %q, 4; ld.local.u32 %v, [%q]; add.u32 %s, %s, %v; setp.gt.u64 %c, %q, %p; "
      "@%c bra R;\n"
      "setp.eq.u32 %c, %n, 5; @%c stackrestore.u64 %keep;\n"
      "st.param.b32 [r], %s; ret;\n}\n";
  // A thousand times; only giving back keeps that inside the 64 KiB.
  EXPECT_EQ(run(kernel("mov.u32 %r0, 0; mov.u32 %r1, 0; add.u32 %r5, %t, 1;\n"
                       "AGAIN: { .param .b32 n, r; st.param.b32 [n], %r5; call (r), filled, (n); "
                       "ld.param.b32 %r2, [r]; }\n"
                       "add.u32 %r1, %r1, %r2; add.u32 %r0, %r0, 1; setp.lt.u32 %p0, %r0, 1000; "
                       "@%p0 bra AGAIN; st.global.u32 [%rd], %r1;",
                       filled),
                32, 3),
            each([](uint32_t t) { return 1000 * (t * (t + 1) / 2); }));
  EXPECT_EQ(fault(kernel("alloca.u64 %rd1, 100000;")).kind, Fault::Kind::kStackOverflow);
  EXPECT_EQ(fault(kernel("mov.u64 %rd1, -8; alloca.u64 %rd1, %rd1;")).kind,
            Fault::Kind::kStackOverflow);
  EXPECT_EQ(fault(kernel("mov.u64 %rd1, 8; stackrestore.u64 %rd1;")).kind,
            Fault::Kind::kIllegalAddress);
}

TEST_F(ControlTest, PointersToFunctionsDiverge) {
  const std::string text = kernel(
      "mul.wide.u32 %rd1, %t, 8; and.b64 %rd1, %rd1, 8; mov.u64 %rd2, table; add.u64 %rd1, %rd1, "
      "%rd2; ld.global.u64 %rd3, [%rd1];\n"
      "{ .param .b32 p; .param .b32 q; st.param.b32 [p], %t; proto: .callprototype (.param .b32 _) "
      "_ (.param .b32 _); call (q), %rd3, (p), proto; ld.param.b32 %r0, [q]; }\n"
      "activemask.b32 %r1; setp.eq.u32 %p0, %r1, 0xffffffff; @!%p0 mov.u32 %r0, 0; st.global.u32 "
      "[%rd], %r0;",
      ".func (.param .b32 r) f(.param .b32 n) { .reg .b32 %a; ld.param.b32 %a, [n]; add.u32 %a, "
      "%a, 100; st.param.b32 [r], %a; ret; }\n"
      ".func (.param .b32 r) g(.param .b32 n) { .reg .b32 %a; ld.param.b32 %a, [n]; add.u32 %a, "
      "%a, 200; st.param.b32 [r], %a; ret; }\n"
      ".global .u64 table[2] = {f, g};\n");
  EXPECT_EQ(run(text), each([](uint32_t t) { return t + (t % 2 != 0 ? 200 : 100); }));
}

TEST_F(ControlTest, CallsOfWhatIsNoFunctionAreFaults) {
  const Fault wild = fault(
      kernel("mov.u64 %rd3, 0x123456; { .param .b32 p; st.param.b32 [p], 0; call %rd3, (p); }"));
  EXPECT_EQ(wild.kind, Fault::Kind::kIllegalAddress);
  EXPECT_THAT(wild.message, HasSubstr("call of what is no function"));
}

TEST_F(ControlTest, AFunctionThatOnlyAPointerReachesMayBeUnsupported) {
  const std::string before =
      ".func good(.param .b32 n) { ret; }\n"
      ".func bad(.param .b32 n) { .reg .b32 %a; frobnicate.b32 %a, %a; ret; }\n"
      ".global .u64 table[2] = {good, bad};\n";
  auto call = [&](int which) {
    return kernel(
        "ld.global.u64 %rd3, [table+" + std::to_string(8 * which) +
            "]; { .param .b32 p; st.param.b32 [p], 0; call %rd3, (p); } st.global.u32 [%rd], 9;",
        before);
  };
  EXPECT_EQ(run(call(0)), each([](uint32_t) { return 9; }));
  const Fault bad = fault(call(1));
  EXPECT_EQ(bad.kind, Fault::Kind::kIllegalInstruction);
  EXPECT_THAT(bad.message, HasSubstr("unsupported instruction 'frobnicate.b32'"));
}

// ---- memory ----

TEST_F(ControlTest, DynamicSharedMemoryLiesBehindTheStatic) {
  EXPECT_EQ(run(kernel("mov.u32 %r0, dynamic; mov.u32 %r1, %dynamic_smem_size; mad.lo.u32 %r0, "
                       "%r0, 10000, %r1; st.global.u32 [%rd], %r0;\n"
                       "st.shared.u32 [fixed], %r1; mov.u64 %rd1, dynamic; cvta.shared.u64 %rd2, "
                       "%rd1; st.u8 [%rd2+255], 3;",
                       ".shared .b8 fixed[20];\n.extern .shared .align 16 .b8 dynamic[];\n"),
                1, 1, 256)[0],
            32u * 10000 + 256);
}

TEST_F(ControlTest, GenericAddressesKnowTheirSpace) {
  EXPECT_EQ(run(kernel(".local .b32 l; mov.u64 %rd1, s; cvta.shared.u64 %rd2, %rd1; mov.u64 %rd3, "
                       "l; cvta.local.u64 %rd4, %rd3;\n"
                       "isspacep.shared %p0, %rd2; isspacep.shared %p1, %rd4; isspacep.local %p2, "
                       "%rd4; isspacep.global %p3, %rd; isspacep.global %p4, %rd2;\n"
                       "selp.u32 %r0, 1, 0, %p0; selp.u32 %r1, 2, 0, %p1; selp.u32 %r2, 4, 0, %p2; "
                       "selp.u32 %r3, 8, 0, %p3; selp.u32 %r4, 16, 0, %p4;\n"
                       "or.b32 %r0, %r0, %r1; or.b32 %r0, %r0, %r2; or.b32 %r0, %r0, %r3; or.b32 "
                       "%r0, %r0, %r4;\n"
                       "cvta.to.shared.u64 %rd5, %rd2; setp.eq.u64 %p5, %rd5, %rd1; @%p5 or.b32 "
                       "%r0, %r0, 32; st.global.u32 [%rd], %r0;",
                       ".shared .b32 s;\n")),
            each([](uint32_t) { return 1 + 4 + 8 + 32; }));
}

TEST_F(ControlTest, NarrowLoadsExtendByTheirType) {
  EXPECT_EQ(
      run(kernel(
          "st.global.u32 [%rd], 0x8081fffe; ld.global.s8 %r0, [%rd]; ld.global.u8 %r1, [%rd+3]; "
          "ld.global.s16 %r2, [%rd+2]; ld.global.s8 %rd1, [%rd+2]; cvt.u32.u64 %r3, %rd1;\n"
          "add.s32 %r0, %r0, %r1; add.s32 %r0, %r0, %r2; add.s32 %r0, %r0, %r3; st.global.u32 "
          "[%rd], %r0;")),
      each([](uint32_t) { return static_cast<uint32_t>(-2 + 0x80 - 0x7f7f - 127); }));
}

TEST_F(ControlTest, VectorsAndPartialMasks) {
  auto program = device_.load(
      kernel("ld.param.u64 %rd1, [out]; mul.wide.u32 %rd2, %t, 16; add.u64 %rd1, %rd1, %rd2; "
             "and.b32 %r0, %t, 1; setp.eq.u32 %p0, %r0, 0;\n"
             "add.u32 %r1, %t, 1; add.u32 %r2, %t, 2; add.u32 %r3, %t, 3; @%p0 st.global.v4.u32 "
             "[%rd1], {%t, %r1, %r2, %r3};\n"
             "@%p0 ld.global.v2.u32 {_, %r5}, [%rd1+8]; @%p0 st.global.u32 [%rd1], %r5;"));
  auto out = device_.array<uint32_t>(128);
  device_.launch(*program, "k", {1}, {32}, Params(out.data()));
  for (uint32_t t = 0; t < 32; ++t) {
    for (uint32_t k = 0; k < 4; ++k)
      EXPECT_EQ(out[4 * t + k], t % 2 != 0 ? 0 : k == 0 ? t + 3 : t + k);
  }
}

TEST_F(ControlTest, ConflictingStoresLeaveOneOfTheValues) {
  const auto out = run(kernel("ld.param.u64 %rd1, [out]; st.global.u32 [%rd1], %t;"));
  EXPECT_EQ(out[0], 31u);
}

TEST_F(ControlTest, AtomicsReturnOldValues) {
  const auto out =
      run(kernel("ld.param.u64 %rd1, [out]; atom.global.add.u32 %r0, [%rd1+128], 3; "
                 "atom.global.cas.b32 %r1, [%rd1+132], %t, 100; atom.inc.u32 %r2, [%rd1+136], 4;\n"
                 "red.global.max.s32 [%rd1+140], %t; atom.global.add.f32 %f0, [%rd1+144], "
                 "0f3F800000; atom.exch.b32 %r3, [%rd1+148], %t; atom.and.b32 _, [%rd1+152], %t;\n"
                 "ld.global.u32 %r4, [%rd1+128]; ld.global.u32 %r5, [%rd1+132]; mad.lo.u32 %r0, "
                 "%r2, 1000, %r0; st.global.u32 [%rd], %r0;"));
  for (uint32_t t = 0; t < 32; ++t) EXPECT_EQ(out[t], t % 5 * 1000 + 3 * t);
}

TEST_F(ControlTest, HostMemoryIsReachableWhereItIsMadeVisible) {
  alignas(16) static uint32_t host[64];
  auto program = device_.load(
      kernel("ld.global.u32 %r0, [%rd]; add.u32 %r0, %r0, 5; st.global.u32 [%rd], %r0;"));
  const auto fault = device_.try_launch(*program, "k", {1}, {64}, Params(&host[0]));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kIllegalAddress);
  device_.memory.add_host_range(host, sizeof host);
  device_.launch(*program, "k", {1}, {64}, Params(&host[0]));
  for (uint32_t v : host) EXPECT_EQ(v, 5u);
}

TEST_F(ControlTest, SystemAtomicsWorkAgainstTheHost) {
  static std::atomic<uint32_t> counter;
  counter = 0;
  device_.memory.add_host_range(&counter, sizeof counter);
  auto program = device_.load(
      kernel("ld.param.u64 %rd1, [out]; mov.u32 %r0, 0; L: atom.sys.global.add.u32 %r1, [%rd1], 1; "
             "add.u32 %r0, %r0, 1; setp.lt.u32 %p0, %r0, 100; @%p0 bra L;"));
  std::thread host([] {
    for (int i = 0; i < 10'000; ++i) ++counter;
  });
  device_.launch(*program, "k", {4}, {64}, Params(&counter));
  host.join();
  EXPECT_EQ(counter, 10'000u + 4 * 64 * 100);
}

TEST_F(ControlTest, AsynchronousCopiesFillTheRestWithZero) {
  const auto out =
      run(kernel("st.global.u32 [%rd], 0x01020304; shl.b32 %r0, %t, 2; mov.u32 %r1, s; add.u32 "
                 "%r0, %r0, %r1; and.b32 %r2, %t, 3;\n"
                 "cp.async.ca.shared.global [%r0], [%rd], 4, %r2; cp.async.commit_group; "
                 "cp.async.wait_group 0; ld.shared.u32 %r3, [%r0]; st.global.u32 [%rd], %r3;",
                 ".shared .align 4 .b8 s[128];\n"));
  EXPECT_EQ(out, each([](uint32_t t) { return 0x01020304u & ((1u << (8 * (t & 3))) - 1); }));
}

// ---- linking ----

class LinkTest : public ControlTest {};

TEST_F(LinkTest, ModulesFindEachOthersSymbols) {
  const std::string a = module(
      ".extern .global .u32 shared_counter; .extern .func (.param .b32 r) twice(.param .b32 n);\n"
      ".global .u32 own = 5;\n"
      ".visible .entry k(.param .u64 out) { .reg .b32 %r<4>; .reg .b64 %rd; ld.param.u64 %rd, "
      "[out]; ld.global.u32 %r0, [shared_counter]; ld.global.u32 %r1, [own]; add.u32 %r0, %r0, "
      "%r1;\n"
      "{ .param .b32 p; .param .b32 q; st.param.b32 [p], %r0; call (q), twice, (p); ld.param.b32 "
      "%r0, [q]; } st.global.u32 [%rd], %r0; ret; }\n");
  const std::string b = module(
      ".visible .global .u32 shared_counter = 30; .global .u32 own = 7; .weak .global .u32 w = 1;\n"
      ".visible .func (.param .b32 r) twice(.param .b32 n) { .reg .b32 %a, %b; ld.param.b32 %a, "
      "[n]; ld.global.u32 %b, [own]; mad.lo.u32 %a, %a, 2, %b; st.param.b32 [r], %a; ret; }\n");
  const std::string c = module(".weak .global .u32 w = 2;\n");
  const std::string_view texts[] = {a, b, c};
  LoadError error{};
  auto program = device_.engine->load(texts, &error);
  ASSERT_TRUE(program) << error.message;
  auto out = device_.array<uint32_t>(1);
  device_.launch(*program, "k", {1}, {1}, Params(out.data()));
  EXPECT_EQ(out[0], (30u + 5) * 2 + 7);
  EXPECT_EQ(*static_cast<uint32_t*>(program->variable("w")->address), 1u);
}

TEST_F(LinkTest, CommonsAreOneAndAliasesAreSeenEverywhere) {
  const std::string first = module(
      ".common .global .align 4 .b32 shared_one;\n"
      ".extern .func (.param .b32 r) also_two();\n"
      ".visible .entry k(.param .u64 out) { .reg .b64 %rd; .reg .b32 %r<3>; .param .b32 r;\n"
      "ld.param.u64 %rd, [out]; st.global.u32 [shared_one], 40; call (r), also_two, ();\n"
      "ld.param.b32 %r1, [r]; st.global.u32 [%rd], %r1; ret; }\n");
  const std::string second = module(
      ".common .global .align 4 .b32 shared_one[4];\n"
      ".visible .func (.param .b32 r) two() { .reg .b32 %r; ld.global.u32 %r, [shared_one];\n"
      "add.u32 %r, %r, 2; st.global.u32 [shared_one+12], %r; st.param.b32 [r], %r; ret; }\n"
      ".visible .func (.param .b32 r) also_two();\n.alias also_two, two;\n");
  LoadError error{};
  TestDevice device;
  const std::string_view texts[] = {first, second};
  const auto program = device.engine->load(texts, &error);
  ASSERT_TRUE(program) << error.message;
  auto out = device.array<uint32_t>(1);
  device.launch(*program, "k", {1}, {1}, Params(out.data()));
  EXPECT_EQ(out[0], 42u);
  EXPECT_EQ(program->variable("shared_one")->bytes, 16u) << "the largest";
  const std::string nowhere = module(".alias a, b;\n");
  const std::string_view bad[] = {nowhere};
  EXPECT_FALSE(device.engine->load(bad, &error));
  EXPECT_THAT(error.message, HasSubstr("alias 'a' of 'b'"));
}

TEST_F(LinkTest, WhatIsMissingOrDoubleIsNamed) {
  LoadError error = device_.load_error(
      kernel("{ .param .b32 p; call absent, (p); }", ".extern .func absent(.param .b32 n);\n"));
  EXPECT_EQ(error.kind, LoadError::Kind::kUnresolved);
  EXPECT_THAT(error.message, HasSubstr("'absent' is not defined"));
  error =
      device_.load_error(kernel("ld.global.u32 %r0, [absent];", ".extern .global .u32 absent;\n"));
  EXPECT_EQ(error.kind, LoadError::Kind::kUnresolved);
  error = device_.load_error(module(".global .u64 p = nothing;\n"));
  EXPECT_EQ(error.kind, LoadError::Kind::kUnresolved);
  const std::string twice = module(".visible .global .u32 x;\n");
  const std::string_view texts[] = {twice, twice};
  EXPECT_EQ(device_.engine->load(texts, &error), nullptr);
  EXPECT_THAT(error.message, HasSubstr("'x' is defined in two modules"));
  EXPECT_EQ(device_.memory.live(), 0u);
}

TEST_F(LinkTest, AddressesArePutTogetherFromBytes) {
  auto program = device_.load(
      module(".global .u32 target = 9;\n.global .align 8 .b8 pointer[8] = {0xFF(target), "
             "0xFF00(target), 0xFF0000(target), 0xFF000000(target), 0xFF00000000(target), "
             "0xFF0000000000(target), 0xFF000000000000(target), 0xFF00000000000000(target)};\n"));
  void* pointer = nullptr;
  std::memcpy(&pointer, program->variable("pointer")->address, sizeof pointer);
  EXPECT_EQ(pointer, program->variable("target")->address);
}

TEST_F(LinkTest, OutOfDeviceMemoryIsAnError) {
  device_.memory.set_limit(1000);
  const LoadError error = device_.load_error(module(".global .b8 big[2000];\n"));
  EXPECT_EQ(error.kind, LoadError::Kind::kOutOfMemory);
}

// ---- refusals ----

class RefusalTest : public ControlTest {
 protected:
  void refuses(const std::string& instruction, LoadError::Kind kind, const std::string& message) {
    const LoadError error = device_.load_error(kernel("\n" + instruction));
    EXPECT_EQ(error.kind, kind) << instruction << ": " << error.message;
    EXPECT_THAT(error.message, HasSubstr(message));
    EXPECT_THAT(error.message, HasSubstr("line 8")) << "kernel() puts it there";
    EXPECT_EQ(error.line, 8);
  }
};

TEST_F(RefusalTest, UnknownInstructionsAndModifiersAreNamed) {
  using Kind = LoadError::Kind;
  refuses("frobnicate.b32 %r0, %r1;", Kind::kUnsupported,
          "unsupported instruction 'frobnicate.b32'");
  refuses("add.wrong.s32 %r0, %r1, %r2;", Kind::kUnsupported, "modifier '.wrong'");
  refuses("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0}, %rd0, %rd1, 1, 1, 1, 0, 0;",
          Kind::kUnsupported, "wgmma.mma_async");
  refuses("add.sat.u32 %r0, %r1, %r2;", Kind::kUnsupported, "add.sat.u32");
  refuses("mov.u32 %r0, %pm8;", Kind::kUnsupported, "special register '%pm8'");
  refuses("ld.global.frob.u32 %r0, [%rd];", Kind::kUnsupported, "modifier '.frob'");
  refuses("cvt.u32.f32 %r0, %r1;", Kind::kInvalidPtx, "no rounding");
}

TEST_F(RefusalTest, OperandsOfTheWrongShapeAreNamed) {
  using Kind = LoadError::Kind;
  refuses("add.s32 %r0, %rd0, %r2;", Kind::kInvalidPtx,
          "a register of 64 bits where 32 are expected");
  refuses("add.s64 %rd0, %rd0, %r2;", Kind::kInvalidPtx,
          "a register of 32 bits where 64 are expected");
  refuses("add.s32 %p0, %r0, %r2;", Kind::kInvalidPtx, "a destination of 0 bits");
  refuses("add.s32 7, %r0, %r2;", Kind::kInvalidPtx, "the destination is no register");
  refuses("add.s32 %r0, %r2;", Kind::kInvalidPtx, "wrong number of operands");
  refuses("add.s32;", Kind::kInvalidPtx, "wrong number of operands");
  refuses("setp.eq.s32 %r0, %r1, %r2;", Kind::kInvalidPtx, "the destination is no predicate");
  refuses("ld.global.u32 %r0, [%r1];", Kind::kInvalidPtx, "an address register of the wrong size");
  refuses("ld.global.u32 %r0, %rd0;", Kind::kInvalidPtx, "expected an address");
  refuses("ld.global.v4.u32 {%r0, %r1}, [%rd];", Kind::kInvalidPtx,
          "wrong number of vector elements");
  refuses("ld.param.u64 %rd0, [out+4];", Kind::kInvalidPtx, "an access past parameter 'out'");
  refuses("st.param.u64 [out], %rd0;", Kind::kInvalidPtx, "a store to a kernel's parameter");
  refuses("add.f32 %f0, %f1, 1;", Kind::kInvalidPtx,
          "an integer constant where a float is expected");
  refuses("ld.global.u32 %r0, [nothing];", Kind::kUnresolved, "'nothing' is not defined");
  refuses("bra 5;", Kind::kInvalidPtx, "no label");
  refuses("mov.u32 %r0, %clock64;", Kind::kInvalidPtx, "'%clock64' has 64 bits");
}

TEST_F(RefusalTest, MalformedTextIsRefusedWhenItIsLoaded) {
  LoadError error{};
  const std::string text = kernel("add.s32 %r0 %r1;");
  const std::string_view view = text;
  EXPECT_EQ(device_.engine->load({&view, 1}, &error), nullptr);
  EXPECT_EQ(error.kind, LoadError::Kind::kInvalidPtx);
  EXPECT_EQ(error.message, "line 7: expected ';' near '%r1'");
}

}  // namespace
}  // namespace farcall::softgpu
