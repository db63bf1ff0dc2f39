// Whole kernels compiled by nvcc, against straightforward host code.
#include <gmock/gmock.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <thread>

#include "softgpu/exec/test_device.h"

extern const char kernels_75[];

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

class KernelsTest : public testing::Test {
 protected:
  std::vector<float> random_floats(size_t n, float low = 0, float high = 1) {
    std::uniform_real_distribution<float> distribution(low, high);
    std::vector<float> values(n);
    for (float& v : values) v = distribution(random_);
    return values;
  }

  std::mt19937 random_{1};
  TestDevice device_;
  std::unique_ptr<Program> program_ = device_.load(kernels_75);
};

TEST_F(KernelsTest, VectorAddLeavesTheTailAlone) {
  const size_t n = 100'003;
  const auto a = random_floats(n), b = random_floats(n);
  auto da = device_.upload(a), db = device_.upload(b), dc = device_.array<float>(n + 8);
  device_.launch(*program_, "vector_add", {static_cast<uint32_t>((n + 255) / 256)}, {256},
                 Params(da.data(), db.data(), dc.data(), static_cast<int>(n)));
  for (size_t i = 0; i < n; ++i) ASSERT_EQ(dc[i], a[i] + b[i]) << i;
  for (size_t i = n; i < n + 8; ++i) EXPECT_EQ(dc[i], 0);
}

TEST_F(KernelsTest, MatrixProductsAgreeWithTheHost) {
  const uint32_t n = 96;
  const auto a = random_floats(n * n), b = random_floats(n * n);
  auto da = device_.upload(a), db = device_.upload(b), dc = device_.array<float>(n * n);
  for (const auto& [kernel, tile] :
       {std::pair{"matmul16", 16u}, {"matmul32", 32u}, {"matmul_naive", 16u}}) {
    std::fill(dc.begin(), dc.end(), 0.0f);
    device_.launch(*program_, kernel, {n / tile, n / tile}, {tile, tile},
                   Params(da.data(), db.data(), dc.data(), int{n}));
    for (uint32_t i = 0; i < n; ++i) {
      for (uint32_t j = 0; j < n; ++j) {
        float sum = 0;  // nvcc contracts to fma
        for (uint32_t k = 0; k < n; ++k) sum = std::fma(a[i * n + k], b[k * n + j], sum);
        ASSERT_EQ(dc[i * n + j], sum) << kernel << " " << i << " " << j;
      }
    }
  }
}

TEST_F(KernelsTest, ReductionsAddUp) {
  const int n = 1 << 16;
  const auto in = random_floats(n);
  double expected = 0;
  for (float v : in) expected += v;
  auto d_in = device_.upload(in);
  auto out = device_.array<float>(n / 256);
  device_.launch(*program_, "reduce_shuffle", {64}, {256}, Params(d_in.data(), out.data(), n));
  double total = 0;
  for (size_t i = 0; i < 64; ++i) total += out[i];
  EXPECT_NEAR(total, expected, expected * 1e-6);
  device_.launch(*program_, "reduce_barrier", {n / 256}, {256}, Params(d_in.data(), out.data()),
                 1024);
  total = 0;
  for (float v : out) total += v;
  EXPECT_NEAR(total, expected, expected * 1e-6);
}

TEST_F(KernelsTest, HistogramCountsEveryByte) {
  const int n = 200'000;
  std::vector<uint8_t> in(n);
  std::vector<unsigned> expected(256);
  for (uint8_t& v : in) ++expected[v = static_cast<uint8_t>(random_())];
  auto d_in = device_.upload(in);
  auto counts = device_.array<unsigned>(256);
  device_.launch(*program_, "histogram", {20}, {256}, Params(d_in.data(), counts.data(), n));
  EXPECT_TRUE(std::equal(counts.begin(), counts.end(), expected.begin()));
}

TEST_F(KernelsTest, ImageFilterClampsAtTheBorders) {
  const int width = 101, height = 37;
  std::vector<uint8_t> in(width * height);
  for (uint8_t& v : in) v = static_cast<uint8_t>(random_());
  const float weights[9] = {-0.1f, 0.2f, 0.1f, 0.3f, 0.5f, 0.3f, 0.1f, 0.2f, -0.1f};
  const auto variable = program_->variable("filter_weights");
  ASSERT_TRUE(variable);
  EXPECT_TRUE(variable->constant);
  ASSERT_EQ(variable->bytes, sizeof weights);
  std::memcpy(variable->address, weights, sizeof weights);
  auto d_in = device_.upload(in);
  auto out = device_.array<uint8_t>(in.size());
  device_.launch(*program_, "filter", {(width + 15) / 16, (height + 7) / 8}, {16, 8},
                 Params(d_in.data(), out.data(), width, height));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      float sum = 0;
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
          const int sx = std::clamp(x + dx, 0, width - 1), sy = std::clamp(y + dy, 0, height - 1);
          sum = std::fma(weights[(dy + 1) * 3 + dx + 1], static_cast<float>(in[sy * width + sx]),
                         sum);
        }
      }
      ASSERT_EQ(out[y * width + x],
                static_cast<uint8_t>(std::fmin(std::fmax(sum + 0.5f, 0.0f), 255.0f)))
          << x << "," << y;
    }
  }
}

TEST_F(KernelsTest, BodiesAttractEachOther) {
  const int n = 100;
  const auto in = random_floats(4 * n, -1, 1);
  auto d_in = device_.upload(in);
  auto out = device_.array<float>(4 * n);
  device_.launch(*program_, "nbody", {2}, {64}, Params(d_in.data(), out.data(), n));
  for (int i = 0; i < n; ++i) {
    double a[3] = {};
    for (int j = 0; j < n; ++j) {
      double d[3], r2 = 1e-3;
      for (int k = 0; k < 3; ++k) {
        d[k] = double{in[4 * j + k]} - in[4 * i + k];
        r2 += d[k] * d[k];
      }
      for (int k = 0; k < 3; ++k) a[k] += in[4 * j + 3] / (r2 * std::sqrt(r2)) * d[k];
    }
    for (int k = 0; k < 3; ++k) ASSERT_NEAR(out[4 * i + k], a[k], 2e-3 + std::abs(a[k]) * 1e-4);
  }
}

TEST_F(KernelsTest, DivergentMathematicsIsAccurate) {
  const int n = 3000;
  const auto in = random_floats(n);
  auto d_in = device_.upload(in);
  auto out = device_.array<float>(n);
  device_.launch(*program_, "divergent", {(n + 255) / 256}, {256},
                 Params(d_in.data(), out.data(), n));
  for (int i = 0; i < n; ++i) {
    const double x = in[i];
    double sum = 0;
    const int steps = static_cast<int>((static_cast<unsigned>(i) * 7919u) % 37);
    for (int k = 0; k < steps; ++k) {
      if ((i + k) % 3 == 0)
        sum += std::sin(x + k);
      else if ((i + k) % 3 == 1)
        sum += std::exp(-x * k) + std::sqrt(x * k);
      else
        sum += 1 / std::sqrt(x + 1 + k) * std::exp2(-k) + (x * 0.5 + std::sin(x));
      if (sum > 50) break;
    }
    ASSERT_NEAR(out[i], sum, 1e-4 + std::abs(sum) * 1e-5) << i;
  }
}

TEST_F(KernelsTest, LanesOfAWarpCanContendForALock) {
  auto data = device_.array<int>(2);
  device_.launch(*program_, "spin_lock", {16}, {96}, Params(&data[0], &data[1]));
  EXPECT_EQ(data[1], 16 * 96);
}

TEST_F(KernelsTest, AThreadCanWaitForAnotherOfItsBlock) {
  auto data = device_.array<int>(2);
  device_.launch(*program_, "flag_wait", {1}, {256}, Params(&data[0], &data[1]));
  EXPECT_EQ(data[1], 42);
}

TEST_F(KernelsTest, BlocksCanWaitForEachOther) {
  for (unsigned workers : {1u, 2u}) {
    TestDevice device(workers);
    auto program = device.load(kernels_75);
    auto barrier = device.array<int>(1), data = device.array<int>(11);
    device.launch(*program, "software_grid_barrier", {48}, {64},
                  Params(barrier.data(), data.data(), 10));
    for (int r = 0; r < 10; ++r) EXPECT_EQ(data[r], 48);
    EXPECT_EQ(data[10], 0);
  }
}

TEST_F(KernelsTest, CooperativeGridsSynchronize) {
  auto data = device_.array<int>(6);
  device_.launch(*program_, "cooperative", {100}, {64}, Params(data.data(), 5), 0, true);
  for (int r = 0; r < 5; ++r) EXPECT_EQ(data[r], 100);
  EXPECT_EQ(data[5], 0);
}

TEST_F(KernelsTest, AConvergedWarpRunsInLockstep) {
  std::vector<int> in(32);
  int expected = 0;
  for (int i = 0; i < 32; ++i) expected += in[i] = i * i;
  auto d_in = device_.upload(in);
  auto out = device_.array<int>(1);
  device_.launch(*program_, "warp_synchronous", {1}, {32}, Params(d_in.data(), out.data()));
  EXPECT_EQ(out[0], expected);
}

TEST_F(KernelsTest, WarpFunctionsSeeTheRightLanes) {
  auto out = device_.array<unsigned>(256);
  device_.launch(*program_, "warp_misc", {1}, {64}, Params(out.data()));
  unsigned thirds[2] = {};
  for (int t = 0; t < 64; ++t) thirds[t / 32] |= t % 3 == 0 ? 1u << t % 32 : 0;
  for (int t = 0; t < 64; ++t) {
    EXPECT_EQ(out[t], t % 3 != 0 ? ~thirds[t / 32] : thirds[t / 32]);
    EXPECT_EQ(out[64 + t], 0xaaaaaaaau);
    unsigned same = 0;
    for (int k = 0; k < 32; ++k) same |= (t / 32 * 32 + k) / 5 == t / 5 ? 1u << k : 0;
    EXPECT_EQ(out[128 + t], same);
    const int lane = t % 32;
    EXPECT_EQ(out[192 + t], static_cast<unsigned>(lane < 16 ? t ^ 3 : lane == 16 ? t : t - 1));
  }
}

TEST_F(KernelsTest, ThreadsThatExitNoLongerCountInBarriers) {
  auto out = device_.array<int>(128);
  device_.launch(*program_, "early_exit", {1}, {128}, Params(out.data(), 77));
  for (int i = 0; i < 128; ++i) EXPECT_EQ(out[i], i < 77 ? 39 : 0);
}

TEST_F(KernelsTest, FunctionsRecurse) {
  auto out = device_.array<int>(40);
  device_.launch(*program_, "recursion", {1}, {40}, Params(out.data()));
  for (int i = 0; i < 40; ++i) {
    int a = 0, b = 1;
    for (int k = 0; k < i % 12; ++k) std::tie(a, b) = std::pair{b, a + b};
    EXPECT_EQ(out[i], a) << i;
  }
}

TEST_F(KernelsTest, EndlessRecursionIsAFault) {
  auto sink = device_.array<int>(1);
  const auto fault = device_.try_launch(*program_, "stack_overflow", {1}, {1}, Params(sink.data()));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kStackOverflow);
  EXPECT_THAT(fault->message,
              HasSubstr("kernel stack_overflow, block (0,0,0), thread (0,0,0), PTX line"));
}

TEST_F(KernelsTest, PointersToFunctionsAreCalled) {
  auto out = device_.array<int>(64);
  device_.launch(*program_, "function_pointers", {1}, {64}, Params(out.data()));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], i % 2 != 0 ? i * 3 : i + 3);
  device_.launch(*program_, "virtual_functions", {1}, {64}, Params(out.data()));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], i % 2 != 0 ? i * i : i * 2);
}

TEST_F(KernelsTest, ParametersMayBeLarge) {
  struct Big {
    int values[1000];
  } big;
  for (int i = 0; i < 1000; ++i) big.values[i] = i * i;
  auto out = device_.array<int>(64);
  device_.launch(*program_, "big_parameter", {1}, {64}, Params(big, out.data()));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], big.values[i * 37 % 1000]);
}

TEST_F(KernelsTest, LocalArraysBelongToTheirThread) {
  std::vector<int> in(32);
  for (int i = 0; i < 32; ++i) in[i] = i * 7 % 31;
  auto d_in = device_.upload(in);
  auto out = device_.array<int>(32);
  device_.launch(*program_, "local_array", {1}, {32}, Params(d_in.data(), out.data()));
  for (int t = 0; t < 32; ++t) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += in[(t + ((in[t] + i * i) & 15)) % 32] * (i + 1);
    EXPECT_EQ(out[t], sum) << t;
  }
}

TEST_F(KernelsTest, GlobalsAreInitialisedAlsoWithAddresses) {
  auto out = device_.array<int>(4);
  auto text = device_.array<char>(32);
  device_.launch(*program_, "globals", {1}, {32}, Params(out.data(), text.data()));
  EXPECT_THAT(out, testing::ElementsAre(1, 2, 103, 4));
  EXPECT_STREQ(text.data(), "device text");
}

TEST_F(KernelsTest, GenericAddressesReachEverySpace) {
  const std::vector<int> in = {7, 8, 9, 10};
  auto d_in = device_.upload(in);
  auto out = device_.array<int>(32);
  device_.launch(*program_, "generic_addresses", {1}, {32}, Params(d_in.data(), out.data()));
  for (int t = 0; t < 32; ++t) {
    const int local[4] = {10, 20, 30, t};
    EXPECT_EQ(out[t], t % 3 == 0 ? in[t % 4] : t % 3 == 1 ? t % 4 * 2 : local[t % 4]) << t;
  }
}

TEST_F(KernelsTest, PrintfFormatsOnTheDeviceAndTrapIsAFault) {
  const auto fault = device_.try_launch(*program_, "hello", {1}, {3}, Params(2));
  EXPECT_EQ(device_.out,
            "hello from block 0 thread 0:  0.00 str 1099511627776 x %|\n"
            "hello from block 0 thread 1:  1.50 str 1099511627776 x %|\n"
            "hello from block 0 thread 2:  3.00 str 1099511627776 x %|\n");
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kTrap);
  EXPECT_THAT(fault->message,
              HasSubstr("trap in kernel hello, block (0,0,0), thread (2,0,0), PTX line"));
}

TEST_F(KernelsTest, FailedAssertionsAreReported) {
  const auto fault = device_.try_launch(*program_, "asserting", {2}, {4, 2}, Params(3));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kAssert);
  EXPECT_THAT(device_.err, HasSubstr("file.cu:7: asserting: block: [0,0,0], thread: [3,0,0] "
                                     "Assertion `threadIdx.x < n` failed.\n"));
  EXPECT_THAT(device_.err, HasSubstr("thread: [3,1,0]"));
}

TEST_F(KernelsTest, IllegalAddressesAreFaultsThatNameTheThread) {
  auto p = device_.array<int>(1024);
  // A hole in the window, outside of it, and null.
  struct Case {
    uint64_t base;
    int at;
  };
  for (const Case& c :
       {Case{reinterpret_cast<uint64_t>(p.data()), 1024 - 5}, Case{0x1000, 0}, Case{0, 0}}) {
    const auto fault =
        device_.try_launch(*program_, "out_of_bounds", {1}, {32}, Params(c.base, c.at));
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->kind, Fault::Kind::kIllegalAddress);
    const int thread = c.at != 0 ? 5 : 0;
    const uint64_t address = c.base + 4 * static_cast<uint64_t>(c.at + thread);
    EXPECT_EQ(fault->address, address);
    char expected[200];
    std::snprintf(
        expected, sizeof expected,
        "illegal address in kernel out_of_bounds, block (0,0,0), thread (%d,0,0), PTX line ",
        thread);
    EXPECT_THAT(fault->message, HasSubstr(expected));
    std::snprintf(expected, sizeof expected, ": address 0x%llx",
                  static_cast<unsigned long long>(address));
    EXPECT_THAT(fault->message, HasSubstr(expected));
  }
  // The engine goes on.
  device_.launch(*program_, "out_of_bounds", {1}, {32}, Params(p.data(), 0));
  EXPECT_EQ(p[31], 1);
}

TEST_F(KernelsTest, MisalignedAndSharedOverrunsAreFaults) {
  auto p = device_.array<int>(16);
  const auto misaligned = device_.try_launch(*program_, "misaligned", {1}, {1}, Params(p.data()));
  ASSERT_TRUE(misaligned);
  EXPECT_EQ(misaligned->kind, Fault::Kind::kMisaligned);
  const auto overrun =
      device_.try_launch(*program_, "shared_overrun", {1}, {32}, Params(p.data(), 1000));
  ASSERT_TRUE(overrun);
  EXPECT_EQ(overrun->kind, Fault::Kind::kIllegalAddress);
}

TEST_F(KernelsTest, SeveralThreadsMayLaunchAtOnce) {
  const int n = 1 << 14;
  const auto a = random_floats(n), b = random_floats(n);
  auto da = device_.upload(a), db = device_.upload(b);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto c = device_.array<float>(n);
      auto bad = device_.array<int>(1);
      for (int round = 0; round < 20; ++round) {
        std::fill(c.begin(), c.end(), 0.0f);
        device_.launch(*program_, "vector_add", {n / 256}, {256},
                       Params(da.data(), db.data(), c.data(), n));
        for (int i = 0; i < n; ++i) ASSERT_EQ(c[i], a[i] + b[i]);
        if (t == 0) {  // faults of one launch are its own
          EXPECT_TRUE(
              device_.try_launch(*program_, "out_of_bounds", {4}, {512}, Params(bad.data(), 1024)));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(KernelsTest, MemoryOfAProgramIsFreedWithIt) {
  const size_t before = device_.memory.live();
  auto program = device_.load(kernels_75);
  EXPECT_GT(device_.memory.live(), before);
  program.reset();
  EXPECT_EQ(device_.memory.live(), before);
}

TEST_F(KernelsTest, KernelInfoDescribesTheSignature) {
  const auto info = program_->kernel_info("matmul16");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->params.size(), 4u);
  EXPECT_EQ(info->params[3].offset, 24u);
  EXPECT_EQ(info->params[3].size, 4u);
  EXPECT_EQ(info->param_bytes, 28u);
  EXPECT_EQ(info->static_shared_bytes, 2048u);
  EXPECT_EQ(info->target_sm, 75);
  EXPECT_GE(info->ptx_version, 80);
  EXPECT_FALSE(program_->kernel_info("nothing"));
  LoadError error{};
  EXPECT_EQ(program_->kernel("nothing", &error), nullptr);
  EXPECT_EQ(error.kind, LoadError::Kind::kNoSuchSymbol);
}

}  // namespace
}  // namespace farcall::softgpu
