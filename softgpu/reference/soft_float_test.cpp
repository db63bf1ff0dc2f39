// The reference's own arithmetic against the processor's, which is IEEE too, and 16-bit formats
// against a definition in long double: two ways that share nothing.
#include "softgpu/reference/soft_float.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <random>
#include <vector>

#include "softgpu/exec/handlers/reference_float.h"
#include "softgpu/reference/random_floats.h"

namespace farcall::softgpu::reference {
namespace {

struct Mode {
  Rounding ours;
  int host;
};
const Mode kModes[] = {{Rounding::kNearest, FE_TONEAREST},
                       {Rounding::kZero, FE_TOWARDZERO},
                       {Rounding::kDown, FE_DOWNWARD},
                       {Rounding::kUp, FE_UPWARD}};

template <class T>
class SoftFloatTest : public testing::Test {
 protected:
  using Int = typename Bits<T>::Int;
  static constexpr FloatFormat kFormat = Bits<T>::kFormat;

  static uint64_t bits(T v) { return std::bit_cast<Int>(v); }
  static bool same(uint64_t ours, T host) {
    if (std::isnan(host)) return ours == kFormat.nan();
    return ours == bits(host);
  }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(SoftFloatTest, Types);

TYPED_TEST(SoftFloatTest, AgreesWithTheProcessorInEveryRounding) {
  using T = TypeParam;
  Values<T> values;
  for (int i = 0; i < 300'000; ++i) {
    const Mode& mode = kModes[i % 4];
    volatile T a = values.next(), b = values.next(), c = values.next();
    if (i % 7 == 0) c = -(a * b);  // cancels but for the rounding
    const uint64_t x = this->bits(a), y = this->bits(b), z = this->bits(c);
    std::fesetround(mode.host);
    volatile T sum = a + b, product = a * b, quotient = a / b, root = std::sqrt(a),
               fma = std::fma(a, b, c);
    std::fesetround(FE_TONEAREST);
    const FloatFormat f = this->kFormat;
    ASSERT_TRUE(this->same(add(x, y, f, mode.ours), sum)) << a << " + " << b << " mode " << i % 4;
    ASSERT_TRUE(this->same(multiply(x, y, f, mode.ours), product)) << a << " * " << b;
    ASSERT_TRUE(this->same(divide(x, y, f, mode.ours), quotient)) << a << " / " << b;
    ASSERT_TRUE(this->same(square_root(x, f, mode.ours), root)) << a;
    ASSERT_TRUE(this->same(fused(x, y, z, f, mode.ours), fma)) << a << " * " << b << " + " << c;
    const Order order = compare(x, y, f);
    ASSERT_EQ(order == Order::kLess, a < b);
    ASSERT_EQ(order == Order::kEqual, a == b);
    ASSERT_EQ(order == Order::kGreater, a > b);
  }
}

TYPED_TEST(SoftFloatTest, IntegersAndIntegralValues) {
  using T = TypeParam;
  Values<T> values;
  std::mt19937_64 random(5);
  for (int i = 0; i < 200'000; ++i) {
    const Mode& mode = kModes[i % 4];
    const auto n = static_cast<int64_t>(random()) >> random() % 64;
    volatile int64_t from = n;
    volatile T v = values.next();
    std::fesetround(mode.host);
    volatile T converted = static_cast<T>(from), integral = std::nearbyint(v);
    std::fesetround(FE_TONEAREST);
    ASSERT_TRUE(this->same(round_to(from_integer(n), this->kFormat, mode.ours), converted)) << n;
    const Exact whole = round_to_integral(take_apart(this->bits(v), this->kFormat), mode.ours);
    ASSERT_TRUE(this->same(round_to(whole, this->kFormat, Rounding::kNearest), integral)) << v;
  }
}

TEST(SoftFloatNarrowTest, EverySixteenBitValueNearEveryTie) {
  struct Pair {
    FloatFormat ours;
    Format definition;
  };
  static constexpr Round kRounds[] = {Round::kNearest, Round::kZero, Round::kDown, Round::kUp};
  for (const Pair& pair : {Pair{kHalf, kF16}, Pair{kBfloat, kBf16}}) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const auto here = static_cast<double>(decode(bits, pair.definition));
      const auto next = static_cast<double>(decode((bits + 1) & 0xffff, pair.definition));
      const double middle = (here + next) / 2;
      for (const double v :
           {here, middle, std::nextafter(middle, 1e300), std::nextafter(middle, -1e300)}) {
        const Exact exact = take_apart(std::bit_cast<uint64_t>(v), kDouble);
        for (int m = 0; m < 4; ++m) {
          ASSERT_EQ(round_to(exact, pair.ours, kModes[m].ours),
                    encode(v, pair.definition, kRounds[m]))
              << v << " mode " << m;
        }
      }
    }
  }
}

TEST(SoftFloatNarrowTest, FlushingAndSaturating) {
  EXPECT_EQ(flush(0x8000'0001, kSingle), 0x8000'0000u);
  EXPECT_EQ(flush(0x0080'0000, kSingle), 0x0080'0000u);
  EXPECT_EQ(saturate(0x7fff'ffff, kSingle), 0u);
  EXPECT_EQ(saturate(0xbf80'0000, kSingle), 0u);
  EXPECT_EQ(saturate(0x4000'0000, kSingle), 0x3f80'0000u);
  EXPECT_EQ(saturate(0x3800, kHalf), 0x3800u);
}

}  // namespace
}  // namespace farcall::softgpu::reference
