// cp.async and mbarrier, instruction by instruction. mbarriers are compared with a model written
// from the manual: counts and a phase in plain integers.
#include <gmock/gmock.h>

#include <random>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

std::string module(const std::string& text) {
  return ".version 8.7\n.target sm_90\n.address_size 64\n" + text;
}

// %in and %out are parameters; %t is tid, %s the address of 4 KiB of shared memory.
std::string kernel(const std::string& body) {
  return module(
      ".shared .align 128 .b8 memory[4096];\n"
      ".visible .entry k(.param .u64 in, .param .u64 out) {\n"
      ".reg .b64 %in, %out, %g, %rd<20>; .reg .b32 %t, %s, %r<30>; .reg .pred %p<9>;\n"
      "ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; mov.u32 %t, %tid.x; mov.u32 %s, "
      "memory;\n" +
      body + "\nret;\n}\n");
}

class AsyncTest : public testing::Test {
 protected:
  std::vector<uint32_t> run(const std::string& text, const std::vector<uint32_t>& in,
                            size_t out_words, uint32_t threads = 32) {
    auto program = device_.load(text);
    if (!program) return {};
    auto from = device_.upload(in);
    auto to = device_.array<uint32_t>(out_words);
    device_.launch(*program, "k", {1}, {threads}, Params(from.data(), to.data()));
    return {to.begin(), to.end()};
  }
  Fault fault(const std::string& body, uint32_t threads = 1) {
    auto program = device_.load(kernel(body));
    auto memory = device_.array<uint32_t>(1024);
    auto result =
        device_.try_launch(*program, "k", {1}, {threads}, Params(memory.data(), memory.data()));
    EXPECT_TRUE(result);
    return result.value_or(Fault{});
  }
  TestDevice device_;
};

std::vector<uint32_t> counting(size_t n) {
  std::vector<uint32_t> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<uint32_t>(0x01010101u * (i + 1));
  return values;
}

// ---- cp.async ----

struct Copy {
  const char* modifiers;
  unsigned size;
  const char* more;  // operands
  // How many bytes thread t copies; the rest is zero.
  unsigned (*bytes)(unsigned t);
};

TEST_F(AsyncTest, CopiesAndFillsWithZeros) {
  const auto in = counting(256);
  const Copy cases[] = {
      {"ca.shared.global", 4, "", [](unsigned) { return 4u; }},
      {"ca.shared::cta.global", 8, "", [](unsigned) { return 8u; }},
      {"ca.shared.global.L2::128B", 16, "", [](unsigned) { return 16u; }},
      {"cg.shared.global.L2::cache_hint", 16, ", %rd9", [](unsigned) { return 16u; }},
      {"cg.shared.global.L2::cache_hint.L2::256B", 16, ", %r9, %rd9",
       [](unsigned t) { return t % 17; }},
      {"ca.shared.global", 4, ", %r9", [](unsigned t) { return t % 5; }},
      {"ca.shared.global", 8, ", 3", [](unsigned) { return 3u; }},
      {"ca.shared.global", 8, ", %p1", [](unsigned t) { return t < 7 ? 0u : 8u; }},
      {"cg.shared.global", 16, ", !%p1", [](unsigned t) { return t < 7 ? 16u : 0u; }},
  };
  for (const Copy& c : cases) {
    const std::string size = std::to_string(c.size);
    const auto out =
        run(kernel("mov.u64 %rd9, 0; rem.u32 %r9, %t, " + std::to_string(c.size + 1) +
                   "; setp.lt.u32 %p1, %t, 7; mad.wide.u32 %rd0, %t, " + size +
                   ", %in; mad.lo.u32 %r0, %t, " + size +
                   ", %s;\n"
                   "mad.lo.u32 %r5, %t, 16, %s; st.shared.v4.u32 [%r5], {-1, -1, -1, -1}; "
                   "bar.sync 0;\n"
                   "cp.async." +
                   c.modifiers + " [%r0], [%rd0+16], " + size + c.more +
                   ";\ncp.async.commit_group; cp.async.wait_group 0; cp.async.wait_all; "
                   "bar.sync 0;\n"
                   "ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [%r5]; mad.wide.u32 %rd1, %t, 16, "
                   "%out; st.global.v4.u32 [%rd1], {%r1, %r2, %r3, %r4};"),
            in, 128);
    ASSERT_EQ(out.size(), 128u);
    const auto* bytes = reinterpret_cast<const uint8_t*>(out.data());
    const auto* from = reinterpret_cast<const uint8_t*>(in.data()) + 16;
    for (unsigned i = 0; i < 512; ++i) {
      const unsigned t = i / c.size;
      const unsigned want = t >= 32 ? 0xff : i % c.size < c.bytes(t) ? from[i] : 0;
      ASSERT_EQ(bytes[i], want) << c.modifiers << " " << c.more << " byte " << i;
    }
  }
}

TEST_F(AsyncTest, WhatIsIgnoredIsNotTouched) {
  run(kernel("cp.async.ca.shared.global [%s], [0], 16, 0; setp.eq.u32 %p0, 0, 0; "
             "cp.async.ca.shared.global [%s], [8], 8, %p0;"),
      {1}, 1);
  EXPECT_EQ(fault("cp.async.ca.shared.global [%s], [0], 16, 4;").kind,
            Fault::Kind::kIllegalAddress);
  EXPECT_EQ(fault("cp.async.ca.shared.global [%s+4], [%in], 8;").kind, Fault::Kind::kMisaligned);
  EXPECT_EQ(fault("cp.async.ca.shared.global [%s+4096], [%in], 8;").kind,
            Fault::Kind::kIllegalAddress);
  EXPECT_THAT(fault("cp.async.ca.shared.global [%s], [%in], 8, 9;").message,
              HasSubstr("more bytes than its size"));
}

TEST_F(AsyncTest, RefusesWhatDoesNotExist) {
  for (const char* code :
       {"cp.async.cg.shared.global [%s], [%in], 8;", "cp.async.ca.shared.global [%s], [%in], 12;",
        "cp.async.ca.global.shared [%in], [%s], 8;", "cp.async.shared.global [%s], [%in], 8;",
        "cp.async.ca.shared.global [%s], [%in], 8, 8, 8;", "cp.async.wait_group;",
        "mbarrier.arrive.b32 _, [%s];", "mbarrier.init.global.b64 [%in], 1;",
        "mbarrier.arrive.noComplete.b64 %rd0, [%rd1];",
        "mbarrier.arrive.shared::cluster.b64 %rd0, [%s];", "mbarrier.frob.b64 [%s];"}) {
    EXPECT_FALSE(device_.load_error(kernel(code)).message.empty()) << code;
  }
}

// ---- mbarrier ----

// As the manual describes it.
struct Model {
  int64_t expected, pending, bytes = 0, phase = 0;
  void check() {
    if (pending == 0 && bytes == 0) ++phase, pending = expected;
  }
};

TEST_F(AsyncTest, BarriersCountAsTheManualSays) {
  // One thread does random operations and writes down what it can see after each.
  std::mt19937 random(11);
  for (int trial = 0; trial < 20; ++trial) {
    Model model{int64_t(random() % 6 + 2), 0};
    model.pending = model.expected;
    std::string code = "mbarrier.init.shared.b64 [%s+64], " + std::to_string(model.expected) +
                       ";\nmov.u64 %g, %out; mov.u32 %r5, 0; mbarrier.arrive.shared.b64 %rd5, "
                       "[%s+64];\n";
    model.pending -= 1;
    model.check();
    int64_t state_phase = 0;  // of the token in %rd5
    std::vector<uint32_t> want;
    int drops = 0;
    for (int step = 0; step < 60; ++step) {
      int64_t before = -1;
      switch (random() % 8) {
        case 0: {
          before = model.pending;
          state_phase = model.phase;
          code += "mbarrier.arrive.release.cta.shared::cta.b64 %rd5, [%s+64];\n";
          model.pending -= 1;
          break;
        }
        case 1: {
          const int64_t n = 1 + int64_t(random()) % model.pending;
          before = model.pending;
          state_phase = model.phase;
          code += "mbarrier.arrive.shared.b64 %rd5, [%s+64], " + std::to_string(n) + ";\n";
          model.pending -= n;
          break;
        }
        case 2: {
          const int64_t n = int64_t(random() % 5000);
          before = model.pending;
          state_phase = model.phase;
          code += "mbarrier.arrive.expect_tx.relaxed.cta.shared::cta.b64 %rd5, [%s+64], " +
                  std::to_string(n) + ";\n";
          model.bytes += n;
          model.pending -= 1;
          break;
        }
        case 3: {
          const int64_t n = int64_t(random() % 70000);
          code += "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%s+64], " + std::to_string(n) +
                  ";\n";
          model.bytes += n;
          if (model.pending == 0 || model.bytes > 900000) step += 1000;  // stays in range
          goto no_check;
        }
        case 4: {
          // Some or all of what is missing; sometimes more than was expected so far.
          const int64_t n =
              random() % 2 == 0 && model.bytes > 0 ? model.bytes : int64_t(random() % 3000);
          if (model.bytes - n < -500000) continue;
          code += "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%s+64], " +
                  std::to_string(n) + ";\n";
          model.bytes -= n;
          break;
        }
        case 5: {
          if (drops == 1) continue;
          ++drops;
          before = model.pending;
          state_phase = model.phase;
          code += "mbarrier.arrive_drop.shared.b64 %rd5, [%s+64];\n";
          model.expected -= 1;
          model.pending -= 1;
          break;
        }
        case 6:
          code += "cp.async.mbarrier.arrive.shared.b64 [%s+64];\n";
          break;
        case 7:
          code += "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%s+64];\n";
          model.pending -= 1;
          break;
      }
      model.check();
    no_check:
      if (step >= 1000) break;
      if (model.pending == 0) {
        // Only bytes are missing; arrivals would be too many.
        if (model.bytes > 0) {
          code += "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%s+64], " +
                  std::to_string(model.bytes) + ";\n";
        } else {
          code += "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%s+64], " +
                  std::to_string(-model.bytes) +
                  ";\nmbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%s+64], 0;\n";
        }
        model.bytes = 0;
        model.check();
      }
      // Parities of the current and the phase before; the state's phase; the count in the state.
      code +=
          "mbarrier.test_wait.parity.shared.b64 %p0, [%s+64], 0; "
          "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 %p1, [%s+64], 1, 100;\n"
          "mbarrier.test_wait.shared.b64 %p2, [%s+64], %rd5; "
          "mbarrier.try_wait.shared::cta.b64 %p3, [%s+64], %rd5; "
          "mbarrier.pending_count.b64 %r0, %rd5;\n"
          "selp.u32 %r1, 1, 0, %p0; selp.u32 %r2, 2, 0, %p1; selp.u32 %r3, 4, 0, %p2; selp.u32 "
          "%r4, 8, 0, %p3; or.b32 %r1, %r1, %r2; or.b32 %r1, %r1, %r3; or.b32 %r1, %r1, %r4;\n";
      const bool over = model.phase != state_phase;
      uint32_t bits = (model.phase % 2 == 1 ? 1 : 2) | (over ? 12 : 0);
      if (before >= 0) {
        code += "mad.lo.u32 %r1, %r0, 16, %r1;\n";
        bits += static_cast<uint32_t>(before) * 16;
      }
      code += "st.global.u32 [%g], %r1; add.u64 %g, %g, 4;\n";
      want.push_back(bits);
      // A state is good for the phase it is of and the next one.
      if (model.phase - state_phase > 1) break;
    }
    const auto out = run(kernel(code), {0}, want.size() + 1, 1);
    ASSERT_EQ(out.size(), want.size() + 1);
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_EQ(out[i], want[i]) << "trial " << trial << " step " << i << "\n" << code;
  }
}

TEST_F(AsyncTest, LanesThatWaitLetThoseRunThatArrive) {
  // Within a warp, the upper half waits for the lower half, and the other way round in turns.
  const auto out = run(
      kernel("setp.ne.u32 %p0, %t, 0; @!%p0 mbarrier.init.shared.b64 [%s], 16; @!%p0 "
             "mbarrier.init.shared.b64 [%s+8], 16; bar.sync 0; mov.u32 %r0, 0; setp.lt.u32 %p1, "
             "%t, 16; @%p1 bra LOWER;\n"
             "UPPER: and.b32 %r1, %r0, 1; W0: mbarrier.try_wait.parity.shared.b64 %p2, [%s], %r1; "
             "@!%p2 bra W0; ld.volatile.shared.u32 %r3, [%s+64]; setp.ne.u32 %p3, %r3, %r0; @%p3 "
             "trap; mbarrier.arrive.shared.b64 _, [%s+8]; add.u32 %r0, %r0, 1; setp.lt.u32 %p2, "
             "%r0, 100; @%p2 bra UPPER; bra END;\n"
             "LOWER: st.volatile.shared.u32 [%s+64], %r0; mbarrier.arrive.shared.b64 _, [%s]; "
             "and.b32 %r1, %r0, 1; W1: mbarrier.test_wait.parity.shared.b64 %p2, [%s+8], %r1; "
             "@!%p2 bra W1; add.u32 %r0, %r0, 1; setp.lt.u32 %p2, %r0, 100; @%p2 bra LOWER;\n"
             "END: mad.wide.u32 %rd0, %t, 4, %out; st.global.u32 [%rd0], %r0;"),
      {0}, 32);
  EXPECT_EQ(out, std::vector<uint32_t>(32, 100));
}

TEST_F(AsyncTest, MisusedBarriersAreFaults) {
  EXPECT_THAT(fault("mbarrier.init.shared.b64 [%s], 0;").message, HasSubstr("count"));
  EXPECT_THAT(fault("mbarrier.init.shared.b64 [%s], 1048576;").message, HasSubstr("count"));
  EXPECT_THAT(
      fault("mbarrier.init.shared.b64 [%s], 3; mbarrier.arrive.shared.b64 _, [%s], 4;").message,
      HasSubstr("more arrivals"));
  EXPECT_THAT(fault("mbarrier.init.b64 [%in], 3;").message, HasSubstr("outside of shared memory"));
  EXPECT_EQ(fault("mbarrier.init.shared.b64 [%s+4], 3;").kind, Fault::Kind::kMisaligned);
}

}  // namespace
}  // namespace farcall::softgpu
