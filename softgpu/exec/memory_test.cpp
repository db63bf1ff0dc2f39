// Loads, stores and atomics as the PTX manual spells them: hints and policies, 128 bits, vectors,
// what a device keeps for itself, and what it does not have.
#include <gmock/gmock.h>

#include <numeric>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

class MemoryTest : public testing::Test {
 protected:
  static std::string kernel(const std::string& body) {
    return ".version 9.0\n.target sm_120\n.address_size 64\n"
           ".entry k(.param .u64 p) {\n"
           " .reg .b64 %p, %q, %w; .reg .b32 %r<10>; .reg .b128 %x, %y, %z; .reg .pred %c;\n"
           " ld.param.u64 %p, [p];\n mov.u32 %r0, %tid.x;\n" +
           body + "\n ret;\n}\n";
  }
  void run(const std::string& body, std::span<uint32_t> memory, unsigned threads = 1) {
    const auto program = device_.load(kernel(body));
    ASSERT_TRUE(program);
    device_.launch(*program, "k", {1}, {threads}, Params(memory.data()));
  }

  TestDevice device_;
};

TEST_F(MemoryTest, HintsAndPoliciesChangeNothing) {
  auto memory = device_.array<uint32_t>(64);
  std::iota(memory.begin(), memory.end(), 100);
  run(R"(
  createpolicy.fractional.L2::evict_last.L2::evict_unchanged.b64 %q, 0.5;
  createpolicy.fractional.L2::evict_first.b64 %q;
  createpolicy.range.global.L2::evict_last.b64 %q, [%p], 0x1000, 0x2000;
  createpolicy.cvt.L2.b64 %q, %q;
  prefetch.global.L2::evict_last [%p];
  discard.global.L2 [%p+128], 128;
  applypriority.global.L2::evict_normal [%p], 128;
  ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%r1, %r2, %r3, %r4}, [%p], %q;
  ld.global.L2::cache_hint.L2::128B.b32 %r5, [%p+16], %q;
  ld.relaxed.gpu.u32 {%r6}, [%p+20];
  ld.global.nc.L1::evict_last.L2::evict_last.v8.b32 {%r1, _, %r2, _, %r3, _, %r4, _}, [%p];
  st.global.L2::cache_hint.v4.u32 [%p+64], {%r1, %r2, %r3, %r4}, %q;
  st.global.u32 [%p+80], {%r5};
  st.global.u32 [%p+84], %r6;
  red.global.add.L2::cache_hint.u32 [%p+84], 1000, %q;
  atom.global.exch.L2::cache_hint.b32 %r7, [%p+88], 7, %q;
  st.global.u32 [%p+92], %r7;
)",
      memory);
  const uint32_t want[] = {100, 102, 104, 106, 104, 1105, 7, 122};
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(memory[16 + i], want[i]) << i;
}

TEST_F(MemoryTest, AtomicsOf128Bits) {
  auto memory = device_.array<uint32_t>(8);
  for (uint32_t i = 0; i < 8; ++i) memory[i] = i + 1;
  run(R"(
  mov.b128 %x, {77, 78};
  atom.global.exch.b128 %y, [%p], %x;
  st.global.b128 [%p+16], %y;
)",
      memory);
  EXPECT_EQ(std::vector<uint32_t>(memory.begin(), memory.end()),
            (std::vector<uint32_t>{77, 0, 78, 0, 1, 2, 3, 4}));
  // 256 threads count in 128 bits; neither half may get lost.
  std::fill(memory.begin(), memory.end(), 0);
  run(R"(
  ld.relaxed.gpu.global.b128 %x, [%p];
L:
  mov.b128 {%q, %w}, %x;
  add.u64 %q, %q, 1;
  add.u64 %w, %w, 3;
  mov.b128 %y, {%q, %w};
  atom.relaxed.gpu.global.cas.b128 %z, [%p], %x, %y;
  mov.b128 {%q, %w}, %x;
  mov.b128 {%p, _}, %z;
  setp.ne.u64 %c, %p, %q;
  mov.b128 %x, %z;
  ld.param.u64 %p, [p];
  @%c bra L;
)",
      memory, 256);
  EXPECT_EQ(memory[0], 256u);
  EXPECT_EQ(memory[2], 768u);
}

TEST_F(MemoryTest, VectorsOfAtomics) {
  auto memory = device_.array<uint32_t>(16);
  auto floats = std::span(reinterpret_cast<float*>(memory.data()), 16);
  for (size_t i = 0; i < 16; ++i) floats[i] = static_cast<float>(i);
  run(R"(
  mov.b32 %r1, 0f3f800000;
  mov.b32 %r2, 0f40000000;
  red.global.v4.f32.add [%p], {%r1, %r2, %r1, %r2};
  atom.global.v2.f32.add {%r3, _}, [%p+16], {%r1, %r1};
  st.global.b32 [%p+32], %r3;
  mov.b32 %r4, 0x3c004000;
  st.global.b32 [%p+40], 0x40003c00;
  st.global.b32 [%p+44], 0x40003c00;
  red.global.add.noftz.v2.f16x2 [%p+40], {%r4, %r4};
)",
      memory, 32);
  const float want[] = {32, 65, 34, 67, 36, 37};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(floats[i], want[i]) << i;
  EXPECT_GE(floats[8], 4.0f);
  EXPECT_LT(floats[8], 36.0f);
  // Each half: 1 + 32 * 2 and 2 + 32 * 1, to nearest even where a half has no more bits.
  EXPECT_EQ(memory[10], 0x50405410u);
  EXPECT_EQ(memory[11], 0x50405410u);
}

TEST_F(MemoryTest, ReservedSharedMemoryIsNobodyElses) {
  auto memory = device_.array<uint32_t>(8);
  const auto program = device_.load(kernel(R"(
  .shared .align 4 .b8 own[64];
  mov.u32 %r1, %reserved_smem_offset_begin;
  mov.u32 %r2, %reserved_smem_offset_1;
  mov.u32 %r3, %reserved_smem_offset_end;
  mov.u32 %r4, own;
  mov.u32 %r5, %total_smem_size;
  st.shared.u32 [%r4+60], 1;
  st.shared.u32 [%r2], 42;
  st.shared.u32 [%r2+284], 43;
  ld.shared.u32 %r6, [%r2];
  st.global.v4.u32 [%p], {%r1, %r2, %r3, %r4};
  st.global.v2.u32 [%p+16], {%r5, %r6};
)"));
  ASSERT_TRUE(program);
  device_.launch(*program, "k", {1}, {1}, Params(memory.data()));
  EXPECT_GE(memory[1], memory[0]);
  EXPECT_LE(memory[1] + 288, memory[2]);
  EXPECT_EQ(memory[2] - memory[0], 1024u);
  EXPECT_TRUE(memory[3] + 64 <= memory[0] || memory[3] >= memory[2]);
  EXPECT_EQ(memory[5], 42u);
  EXPECT_LT(program->kernel_info("k")->static_shared_bytes, 1024u) << "not the kernel's own";
}

TEST_F(MemoryTest, MulticastMemoryIsNowhere) {
  auto memory = device_.array<uint32_t>(8);
  for (const char* body :
       {"multimem.ld_reduce.relaxed.sys.global.add.acc::f32.v4.f16x2 {%r1, %r2, %r3, %r4}, [%p];",
        "multimem.st.weak.global.v4.f32 [%p], {%r0, %r0, %r0, %r0};",
        "multimem.red.release.sys.add.u32 [%p], %r0;"}) {
    const auto program = device_.load(kernel(body));
    ASSERT_TRUE(program);
    const auto fault = device_.try_launch(*program, "k", {1}, {1}, Params(memory.data()));
    ASSERT_TRUE(fault) << body;
    EXPECT_EQ(fault->kind, Fault::Kind::kIllegalAddress);
    EXPECT_THAT(fault->message, HasSubstr("multicast"));
  }
}

}  // namespace
}  // namespace farcall::softgpu
