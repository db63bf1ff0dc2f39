// Clusters: kernels of testdata/clusters.cu, and what single instructions do at their edges.
#include <gmock/gmock.h>

#include <random>

#include "softgpu/exec/test_device.h"

extern const char clusters_90[], clusters_120[];

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

class ClusterTest : public testing::TestWithParam<const char*> {
 protected:
  TestDevice device_;
  std::unique_ptr<Program> program_ = device_.load(GetParam());
};

TEST_P(ClusterTest, BlocksReadEachOthersSharedMemory) {
  const int n = 10'000;
  std::vector<int> in(n);
  std::mt19937 random(1);
  for (int& v : in) v = static_cast<int>(random() % 1000) - 300;
  auto from = device_.upload(in);
  auto out = device_.array<int>(16);
  for (uint32_t size : {1u, 2u, 4u, 8u, 16u}) {
    device_.launch(*program_, "cluster_sum", {16}, {96}, Params(from.data(), out.data(), n), 0,
                   false, {size, 1, 1});
    for (uint32_t block = 0; block < 16; ++block) {
      int want = 0;
      for (int i = 0; i < n; ++i) {
        const uint32_t summed_by = static_cast<uint32_t>(i) / 96 % 16;
        if (summed_by / size == block / size) want += in[static_cast<size_t>(i)];
      }
      ASSERT_EQ(out[block], want) << size << " " << block;
    }
  }
}

TEST_P(ClusterTest, AtomicsReachOtherBlocks) {
  const int n = 20'000;
  std::vector<uint8_t> in(n);
  std::mt19937 random(2);
  std::vector<uint32_t> want(256);
  for (uint8_t& v : in) ++want[v = static_cast<uint8_t>(random() % 256)];
  auto from = device_.upload(in);
  auto bins = device_.upload(std::vector<uint32_t>(256));
  device_.launch(*program_, "cluster_histogram", {8}, {64}, Params(from.data(), bins.data(), n),
                 256 / 4 * 4, false, {4, 1, 1});
  EXPECT_EQ(std::vector<uint32_t>(bins.begin(), bins.end()), want);
}

TEST_P(ClusterTest, PlacesAndOwners) {
  const auto info = program_->kernel_info("cluster_places");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->cluster.x, 2u);
  EXPECT_EQ(info->cluster.y, 1u);
  EXPECT_EQ(info->cluster.z, 2u);
  auto out = device_.array<uint32_t>(4 * 3 * 4 * 8);
  device_.launch(*program_, "cluster_places", {4, 3, 4}, {32}, Params(out.data()), 0, false,
                 info->cluster);
  for (uint32_t z = 0; z < 4; ++z) {
    for (uint32_t y = 0; y < 3; ++y) {
      for (uint32_t x = 0; x < 4; ++x) {
        const uint32_t* at = &out[((z * 3 + y) * 4 + x) * 8];
        const uint32_t rank = x % 2 + 2 * (z % 2), before = (rank + 3) % 4;
        const uint32_t bx = x / 2 * 2 + before % 2, bz = z / 2 * 2 + before / 2;
        EXPECT_EQ(at[0], rank);
        EXPECT_EQ(at[1], x % 2 + 100 * (z % 2));
        EXPECT_EQ(at[2], 4u);
        EXPECT_EQ(at[3], (rank + 1) % 4);
        EXPECT_EQ(at[4], rank);
        EXPECT_EQ(at[5], (bz * 3 + y) * 4 + bx);
        EXPECT_EQ(at[6], x / 2 + 20);
      }
    }
  }
}

TEST_P(ClusterTest, BulkCopiesThereAndBack) {
  std::vector<int> values(1024);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(i * 7);
  auto data = device_.upload(values);
  device_.launch(*program_, "bulk_copies", {4}, {64}, Params(data.data()));
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(data[i], values[i] * 3 + 1) << i;
}

TEST_P(ClusterTest, MulticastAndStoresWithBarriers) {
  std::vector<int> values(64);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(1000 + i);
  auto in = device_.upload(values);
  auto out = device_.array<int>(8 * 64);
  device_.launch(*program_, "multicast", {8}, {64}, Params(in.data(), out.data()), 0, false,
                 {4, 1, 1});
  for (int block = 0; block < 8; ++block) {
    for (int i = 0; i < 64; ++i) ASSERT_EQ(out[block * 64 + i], 1000 + i + 1000 + (block + 3) % 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ClusterTest, testing::Values(clusters_90, clusters_120),
                         [](const auto& info) {
                           return info.index == 0 ? "compute_90" : "compute_120";
                         });

// ---- by hand ----

std::string kernel(const std::string& body) {
  return ".version 8.7\n.target sm_90\n.address_size 64\n.shared .align 1024 .b8 memory[4096];\n"
         ".visible .entry k(.param .u64 p) {\n.reg .b64 %p, %rd<20>; .reg .b32 %t, %s, %rank, "
         "%r<20>; .reg .b16 %h<4>; .reg .pred %p<9>;\nld.param.u64 %p, [p]; mov.u32 %t, %tid.x; "
         "mov.u32 %s, memory; mov.u32 %rank, %cluster_ctarank;\n" +
         body + "\nret;\n}\n";
}

class ClusterCodeTest : public testing::Test {
 protected:
  std::vector<uint32_t> run(const std::string& body, size_t words, uint32_t threads,
                            uint32_t cluster, const std::vector<uint32_t>& in = {}) {
    const auto program = device_.load(kernel(body));
    auto memory = device_.array<uint32_t>(words);
    std::copy(in.begin(), in.end(), memory.begin());
    device_.launch(*program, "k", {cluster}, {threads}, Params(memory.data()), 0, false,
                   {cluster, 1, 1});
    return {memory.begin(), memory.end()};
  }
  Fault fault(const std::string& body, uint32_t cluster = 2) {
    const auto program = device_.load(kernel(body));
    auto memory = device_.array<uint32_t>(1024);
    const auto result = device_.try_launch(*program, "k", {cluster}, {32}, Params(memory.data()), 0,
                                           false, {cluster, 1, 1});
    EXPECT_TRUE(result);
    return result.value_or(Fault{});
  }
  TestDevice device_;
};

TEST_F(ClusterCodeTest, ThreadsThatAreGoneDoNotCount) {
  // Half of each block leaves, some after they have arrived; the others meet twice.
  const auto out = run(
      "setp.lt.u32 %p0, %t, 16; @%p0 exit; setp.lt.u32 %p0, %t, 32; @%p0 "
      "barrier.cluster.arrive.release; @%p0 exit;\n"
      "st.shared.u32 [%s], 0; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n"
      "mapa.shared::cluster.u32 %r0, %s, 0; red.shared::cluster.add.u32 [%r0], 1;\n"
      "barrier.cluster.arrive.relaxed; barrier.cluster.wait.acquire; ld.shared::cluster.u32 %r1, "
      "[%r0]; mad.wide.u32 %rd0, %t, 4, %p; st.global.u32 [%rd0], %r1; barrier.cluster.arrive; "
      "barrier.cluster.wait;",
      64, 64, 3);
  for (int t = 32; t < 64; ++t) EXPECT_EQ(out[t], 96u);
}

TEST_F(ClusterCodeTest, LanesArriveAndWaitApart) {
  const auto out = run(
      "setp.lt.u32 %p0, %t, 7; @%p0 barrier.cluster.arrive; @!%p0 st.shared.u32 [%s+4], %rank; "
      "@!%p0 barrier.cluster.arrive; @%p0 barrier.cluster.wait; @!%p0 barrier.cluster.wait;\n"
      "xor.b32 %r0, %rank, 1; mapa.shared::cluster.u32 %r1, memory, %r0; ld.shared::cluster.u32 "
      "%r2, [%r1+4]; mad.lo.u32 %r3, %rank, 32, %t; mad.wide.u32 %rd0, %r3, 4, %p; "
      "st.global.u32 [%rd0], %r2; barrier.cluster.arrive; barrier.cluster.wait;",
      64, 32, 2);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], i / 32 == 0 ? 1u : 0u);
}

TEST_F(ClusterCodeTest, BarriersOfOtherBlocksAreArrivedAt) {
  const auto out = run(
      "setp.eq.u32 %p0, %t, 0; @%p0 mbarrier.init.shared.b64 [%s], 64; barrier.cluster.arrive; "
      "barrier.cluster.wait;\n"
      "mapa.shared::cluster.u32 %r0, %s, 1; mbarrier.arrive.release.cluster.shared::cluster.b64 _, "
      "[%r0];\n"
      "setp.eq.u32 %p1, %rank, 0; @%p1 bra END; W: mbarrier.try_wait.parity.acquire.cluster.shared"
      "::cta.b64 %p2, [%s], 0; @!%p2 bra W; mad.wide.u32 %rd0, %t, 4, %p; st.global.u32 [%rd0], "
      "7;\n END: barrier.cluster.arrive; barrier.cluster.wait;",
      32, 32, 2);
  EXPECT_EQ(out, std::vector<uint32_t>(32, 7));
}

TEST_F(ClusterCodeTest, GenericAndSharedAddressesNameTheSamePlaces) {
  const auto out = run(
      "cvta.shared.u64 %rd0, memory; cvta.u64 %rd9, 0; mapa.u64 %rd1, %rd0, 1; "
      "cvta.to.shared.u64 %rd2, %rd1; cvt.u32.u64 %r0, %rd2; getctarank.shared::cluster.u32 %r1, "
      "%r0; getctarank.u64 %r2, %rd1;\n"
      "isspacep.shared %p0, %rd1; isspacep.shared::cluster %p1, %rd1; isspacep.global %p2, %rd1; "
      "selp.u32 %r3, 1, 0, %p0; selp.u32 %r4, 2, 0, %p1; selp.u32 %r5, 4, 0, %p2; or.b32 %r3, %r3, "
      "%r4; or.b32 %r3, %r3, %r5;\n"
      "cvt.u64.u32 %rd3, %r0; cvta.shared::cluster.u64 %rd4, %rd3; sub.u64 %rd4, %rd4, %rd1; "
      "cvt.u32.u64 %r6, %rd4; mad.wide.u32 %rd5, %rank, 16, %p; st.global.v4.u32 [%rd5], {%r1, "
      "%r2, %r3, %r6}; barrier.cluster.arrive; barrier.cluster.wait;",
      8, 1, 2);
  EXPECT_EQ(out, (std::vector<uint32_t>{1, 1, 2, 0, 1, 1, 3, 0}));
}

TEST_F(ClusterCodeTest, BulkReductionsAndMasks) {
  std::vector<uint32_t> in(64);
  for (uint32_t i = 0; i < 32; ++i) in[i] = i;
  const auto out = run(
      "mul.lo.u32 %r1, %t, 3; mad.lo.u32 %r0, %t, 4, %s; st.shared.u32 [%r0], %r1; bar.sync 0; "
      "setp.ne.u32 %p0, %t, 0; @%p0 bra END;\n"
      "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%p], [%s], 64; "
      "cp.reduce.async.bulk.global.shared::cta.bulk_group.max.s32 [%p+64], [%s+64], 64;\n"
      "mov.u16 %h0, 0x00f0; cp.async.bulk.global.shared::cta.bulk_group.cp_mask [%p+128], [%s], "
      "64, %h0; cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; "
      "cp.async.bulk.wait_group 0;\n END:",
      64, 32, 1, in);
  for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(out[i], i + 3 * i);
  for (uint32_t i = 16; i < 32; ++i) EXPECT_EQ(out[i], 3 * i);
  for (uint32_t i = 32; i < 48; ++i) EXPECT_EQ(out[i], i % 4 == 1 ? 3 * (i - 32) : 0);
}

TEST_F(ClusterCodeTest, MistakesAreFaults) {
  EXPECT_THAT(fault("mapa.shared::cluster.u32 %r0, %s, 2;").message, HasSubstr("no block of this"));
  EXPECT_THAT(fault("ld.shared::cluster.u32 %r0, [%s+0x7000000];").message,
              HasSubstr("not in the"));
  EXPECT_EQ(
      fault("mapa.shared::cluster.u32 %r0, %s, 1; ld.shared::cluster.u32 %r0, [%r0+8192];").kind,
      Fault::Kind::kIllegalAddress);
  EXPECT_EQ(fault("mbarrier.init.shared.b64 [%s], 1; cp.async.bulk.shared::cluster.global.mbarrier"
                  "::complete_tx::bytes [%s+64], [%p], 24, [%s];")
                .kind,
            Fault::Kind::kMisaligned);
  const Fault waits = fault(
      "setp.eq.u32 %p0, %rank, 0; @%p0 barrier.cluster.arrive; @%p0 "
      "barrier.cluster.wait; @!%p0 bar.sync 1, 64;");
  EXPECT_EQ(waits.kind, Fault::Kind::kDeadlock);
}

}  // namespace
}  // namespace farcall::softgpu
