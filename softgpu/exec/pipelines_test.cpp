// Kernels of testdata/async.cu, which nvcc and libcu++ turn into cp.async and mbarrier in the ways
// that real programs do: for compute capability 8.0, where waiting is a loop of test_wait, and 9.0,
// where it is try_wait.
#include <cmath>
#include <random>

#include "softgpu/exec/test_device.h"

extern const char async_80[], async_90[];

namespace farcall::softgpu {
namespace {

class PipelinesTest : public testing::TestWithParam<const char*> {
 protected:
  std::vector<int> numbers(size_t n) {
    std::mt19937 random(3);
    std::vector<int> values(n);
    for (int& v : values) v = static_cast<int>(random() % 1000) - 500;
    return values;
  }
  TestDevice device_;
  std::unique_ptr<Program> program_ = device_.load(GetParam());
};

TEST_P(PipelinesTest, DoubleBufferedMatrixProduct) {
  const uint32_t n = 96;
  std::mt19937 random(5);
  std::vector<float> a(n * n), b(n * n);
  for (auto* m : {&a, &b}) {
    for (float& v : *m) v = static_cast<float>(random() % 2048) / 1024.0f - 1.0f;
  }
  auto da = device_.upload(a), db = device_.upload(b), dc = device_.array<float>(n * n);
  device_.launch(*program_, "gemm_double_buffered", {n / 32, n / 32}, {256},
                 Params(da.data(), db.data(), dc.data(), static_cast<int>(n)));
  for (uint32_t i = 0; i < n; ++i) {
    for (uint32_t j = 0; j < n; ++j) {
      float sum = 0;
      for (uint32_t k = 0; k < n; ++k) sum = std::fma(a[i * n + k], b[k * n + j], sum);
      ASSERT_EQ(dc[i * n + j], sum) << i << " " << j;
    }
  }
}

TEST_P(PipelinesTest, ProducersAndConsumersHandOverStages) {
  const int rounds = 37;
  const auto values = numbers(rounds * 128);
  int want = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 128; ++i)
      want += values[static_cast<size_t>(round * 128 + i)] * (round + 1);
  }
  for (uint32_t threads : {64u, 160u, 1024u}) {
    auto in = device_.upload(values);
    auto out = device_.array<int>(1);
    out[0] = 0;
    device_.launch(*program_, "producer_consumer", {1}, {threads},
                   Params(in.data(), out.data(), rounds));
    EXPECT_EQ(out[0], want) << threads;
  }
}

TEST_P(PipelinesTest, RolesWithinAWarp) {
  const int rounds = 11;
  const uint32_t threads = 128, half = threads / 2;
  const auto values = numbers(rounds * half);
  auto in = device_.upload(values);
  auto out = device_.array<int>(half);
  device_.launch(*program_, "pipeline_with_roles", {1}, {threads},
                 Params(in.data(), out.data(), rounds), 2 * half * 4);
  for (uint32_t i = 0; i < half; ++i) {
    int sum = 0;
    for (uint32_t round = 0; round < rounds; ++round) sum += values[round * half + (i + 1) % half];
    EXPECT_EQ(out[i], sum) << i;
  }
}

TEST_P(PipelinesTest, ThreadsDropOut) {
  auto out = device_.array<int>(1);
  out[0] = 0;
  device_.launch(*program_, "dropping_out", {1}, {256}, Params(out.data()));
  EXPECT_EQ(out[0], 0);
}

INSTANTIATE_TEST_SUITE_P(Targets, PipelinesTest, testing::Values(async_80, async_90),
                         [](const auto& info) {
                           return info.index == 0 ? "compute_80" : "compute_90";
                         });

}  // namespace
}  // namespace farcall::softgpu
