// f32 and f64 arithmetic against the host's: IEEE operations in the same rounding mode, and long
// double (64 bits of mantissa) where the host has no such operation.
#include <cfenv>
#include <functional>
#include <random>

#include "softgpu/exec/handlers/instruction_harness.h"

namespace farcall::softgpu {
namespace {

float flush(float v) {
  return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
}

template <class T>
std::string type_name() {
  return sizeof(T) == 8 ? "f64" : "f32";
}

// The host in another rounding mode. Values go through memory, so that nothing is computed before
// or after.
template <class T>
T in_mode(int mode, const std::function<T()>& f) {
  std::fesetround(mode);
  volatile T result = f();
  std::fesetround(FE_TONEAREST);
  return result;
}

class FloatTest : public testing::Test {
 protected:
  template <class T>
  std::vector<T> values() {
    auto v = edge_values<T>();
    std::mt19937_64 random(7);
    for (int i = 0; i < 40; ++i) {
      // Any bits: also strange exponents.
      if constexpr (sizeof(T) == 8)
        v.push_back(std::bit_cast<double>(random()));
      else
        v.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
    }
    return v;
  }

  template <class T>
  void check_binary(const std::string& name, const auto& expected) {
    std::vector<T> a, b;
    cross(values<T>(), values<T>(), a, b);
    const std::string code = name + " %d, %a, %b;";
    const auto d = harness_.run<T>(code, a, b);
    ASSERT_EQ(d.size(), a.size()) << code;
    for (size_t i = 0; i < d.size(); ++i) {
      const T want = expected(a[i], b[i]);
      ASSERT_TRUE(same_value(d[i], want))
          << code << " " << a[i] << " " << b[i] << " = " << d[i] << ", not " << want;
    }
  }
  template <class T>
  void check_unary(const std::string& name, const auto& expected) {
    const auto a = values<T>();
    const std::string code = name + " %d, %a;";
    const auto d = harness_.run<T>(code, a);
    ASSERT_EQ(d.size(), a.size()) << code;
    for (size_t i = 0; i < d.size(); ++i) {
      const T want = expected(a[i]);
      ASSERT_TRUE(same_value(d[i], want))
          << code << " " << a[i] << " = " << d[i] << ", not " << want;
    }
  }

  InstructionHarness harness_;
};

struct Mode {
  const char* name;
  int host;
};
const Mode kModes[] = {
    {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

template <class T>
class TypedFloatTest : public FloatTest {};
using Floats = testing::Types<float, double>;
TYPED_TEST_SUITE(TypedFloatTest, Floats);

TYPED_TEST(TypedFloatTest, EveryRoundingMode) {
  using T = TypeParam;
  for (const Mode& mode : kModes) {
    const std::string suffix = std::string(".") + mode.name + "." + type_name<T>();
    auto with_mode = [&](auto f) {
      return [&, f](T x, T y) {
        volatile T a = x, b = y;
        return in_mode<T>(mode.host, [&] { return f(a, b); });
      };
    };
    this->template check_binary<T>("add" + suffix, with_mode([](T a, T b) { return a + b; }));
    this->template check_binary<T>("sub" + suffix, with_mode([](T a, T b) { return a - b; }));
    this->template check_binary<T>("mul" + suffix, with_mode([](T a, T b) { return a * b; }));
    this->template check_binary<T>("div" + suffix, with_mode([](T a, T b) { return a / b; }));
    this->template check_unary<T>("sqrt" + suffix, [&](T a) {
      volatile T x = a;
      return in_mode<T>(mode.host, [&] { return std::sqrt(x); });
    });
    this->template check_unary<T>("rcp" + suffix, [&](T a) {
      volatile T x = a;
      return in_mode<T>(mode.host, [&] { return T(1) / x; });
    });
  }
}

TYPED_TEST(TypedFloatTest, FmaRoundsOnceInEveryMode) {
  using T = TypeParam;
  std::vector<T> a, b, c;
  cross(this->template values<T>(), this->template values<T>(), a, b);
  const auto edges = this->template values<T>();
  for (size_t i = 0; i < a.size(); ++i)
    c.push_back(i % 3 == 0 ? -(a[i] * b[i]) : edges[(i * 13 + i / 7) % edges.size()]);
  for (const Mode& mode : kModes) {
    const auto d = this->harness_.template run<T>(
        "fma." + std::string(mode.name) + "." + type_name<T>() + " %d, %a, %b, %c;", a, b, c);
    for (size_t i = 0; i < d.size(); ++i) {
      volatile T x = a[i], y = b[i], z = c[i];
      const T want = in_mode<T>(mode.host, [&] { return std::fma(x, y, z); });
      ASSERT_TRUE(same_value(d[i], want)) << mode.name << " " << a[i] << " " << b[i] << " " << c[i]
                                          << " = " << d[i] << ", not " << want;
    }
  }
}

TYPED_TEST(TypedFloatTest, MinimumAndMaximumPreferNumbers) {
  using T = TypeParam;
  const std::string type = type_name<T>();
  auto smaller = [](T a, T b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) ? a : b;
    return a < b ? a : b;
  };
  auto larger = [](T a, T b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) ? b : a;
    return a > b ? a : b;
  };
  this->template check_binary<T>("min." + type, smaller);
  this->template check_binary<T>("max." + type, larger);
  if constexpr (sizeof(T) == 4) {
    this->template check_binary<T>("min.NaN.f32", [&](T a, T b) {
      return std::isnan(a) || std::isnan(b) ? NAN : smaller(a, b);
    });
    this->template check_binary<T>("max.ftz.NaN.f32", [&](T a, T b) {
      return std::isnan(a) || std::isnan(b) ? NAN : larger(flush(a), flush(b));
    });
    this->template check_binary<T>("min.xorsign.abs.f32", [&](T a, T b) {
      return std::copysign(smaller(std::fabs(a), std::fabs(b)),
                           std::signbit(a) != std::signbit(b) ? -1.0f : 1.0f);
    });
  }
}

TYPED_TEST(TypedFloatTest, SignsMoveBits) {
  using T = TypeParam;
  const std::string type = type_name<T>();
  this->template check_unary<T>("neg." + type, [](T a) { return -a; });
  this->template check_unary<T>("abs." + type, [](T a) { return std::fabs(a); });
  this->template check_binary<T>("copysign." + type, [](T a, T b) { return std::copysign(b, a); });
}

TEST_F(FloatTest, FlushToZeroAppliesToOperandsAndResult) {
  check_binary<float>("add.ftz.f32", [](float a, float b) { return flush(flush(a) + flush(b)); });
  check_binary<float>("mul.rn.ftz.f32",
                      [](float a, float b) { return flush(flush(a) * flush(b)); });
  check_binary<float>("div.full.ftz.f32",
                      [](float a, float b) { return flush(flush(a) / flush(b)); });
  check_unary<float>("neg.ftz.f32", [](float a) { return -flush(a); });
  check_unary<float>("sqrt.approx.ftz.f32", [](float a) { return flush(std::sqrt(flush(a))); });
  check_binary<float>("sub.rz.ftz.f32", [](float a, float b) {
    volatile float x = flush(a), y = flush(b);
    return flush(in_mode<float>(FE_TOWARDZERO, [&] { return x - y; }));
  });
}

TEST_F(FloatTest, SaturationClampsToTheUnitInterval) {
  auto saturate = [](float v) { return std::isnan(v) ? 0.0f : v > 0 ? std::fmin(v, 1.0f) : 0.0f; };
  check_binary<float>("add.sat.f32", [&](float a, float b) { return saturate(a + b); });
  check_binary<float>("mul.ftz.sat.f32",
                      [&](float a, float b) { return saturate(flush(flush(a) * flush(b))); });
}

TEST_F(FloatTest, ResultsThatAreNoNumberAreTheCanonicalOne) {
  const std::vector<float> a = {-1.0f, INFINITY, std::bit_cast<float>(0x7f812345u)},
                           b = {1.0f, -INFINITY, 2.0f};
  const auto root = harness_.run<float>("sqrt.rn.f32 %d, %a;", a);
  EXPECT_EQ(std::bit_cast<uint32_t>(root[0]), 0x7fffffffu);
  const auto sum = harness_.run<float>("add.f32 %d, %a, %b;", a, b);
  EXPECT_EQ(std::bit_cast<uint32_t>(sum[1]), 0x7fffffffu);
  EXPECT_EQ(std::bit_cast<uint32_t>(sum[2]), 0x7fffffffu);
}

// The bounds are those of the PTX manual for .approx.
TEST_F(FloatTest, ApproximateFunctionsStayInsideTheirBounds) {
  std::mt19937 random(3);
  std::vector<float> x;
  for (int i = 0; i < 200'000; ++i)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  for (int i = -3000; i < 3000; ++i) x.push_back(static_cast<float>(i) / 1000);
  for (float v : edge_values<float>()) x.push_back(v);
  struct Function {
    const char* name;
    long double (*exact)(long double);
    double relative, absolute;  // an error inside either will do
    double range;               // of |x|
  };
  const Function kFunctions[] = {
      {"ex2.approx.f32", [](long double v) { return std::exp2(v); }, 0x1p-22, 0x1p-149, 1e30},
      {"lg2.approx.f32", [](long double v) { return std::log2(v); }, 0x1p-22, 0x1p-22, 1e38},
      {"sin.approx.f32", [](long double v) { return std::sin(v); }, 0x1p-22, 0x1p-20, 3.2},
      {"cos.approx.f32", [](long double v) { return std::cos(v); }, 0x1p-22, 0x1p-20, 3.2},
      {"tanh.approx.f32", [](long double v) { return std::tanh(v); }, 0x1p-11, 0, 1e38},
      {"rsqrt.approx.f32", [](long double v) { return 1 / std::sqrt(v); }, 0x1p-22, 0, 1e38},
      {"rcp.approx.f32", [](long double v) { return 1 / v; }, 0x1p-23, 0x1p-149, 1e38},
      {"sqrt.approx.f32", [](long double v) { return std::sqrt(v); }, 0x1p-23, 0, 1e38},
      // What the quick reduction gives for larger angles, which the hardware does worse.
      {"sin.approx.f32", [](long double v) { return std::sin(v); }, 0, 0x1p-20, 1e6},
      {"cos.approx.f32", [](long double v) { return std::cos(v); }, 0, 0x1p-20, 1e6},
  };
  for (const Function& function : kFunctions) {
    const auto d = harness_.run<float>(std::string(function.name) + " %d, %a;", x);
    ASSERT_EQ(d.size(), x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      if (!(std::fabs(x[i]) <= function.range)) continue;
      const long double exact = function.exact(x[i]);
      const float rounded = static_cast<float>(exact);
      if (std::isnan(rounded) || std::isinf(rounded) || rounded == 0) {
        ASSERT_TRUE(same_value(d[i], rounded)) << function.name << " " << x[i] << " = " << d[i];
        continue;
      }
      const long double error = std::fabs(d[i] - exact);
      ASSERT_TRUE(error <= std::fabs(exact) * function.relative || error <= function.absolute)
          << function.name << " " << x[i] << " = " << d[i] << ", not "
          << static_cast<double>(exact);
    }
  }
}

TEST_F(FloatTest, SpecialValuesOfApproximateFunctions) {
  const std::vector<float> x = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f};
  auto expect = [&](const char* name, std::vector<float> want) {
    const auto d = harness_.run<float>(std::string(name) + " %d, %a;", x);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_TRUE(same_value(d[i], want[i])) << name << " " << x[i] << " = " << d[i];
  };
  expect("ex2.approx.ftz.f32", {INFINITY, 0, NAN, 1, 1});
  expect("lg2.approx.ftz.f32", {INFINITY, NAN, NAN, -INFINITY, -INFINITY});
  expect("sin.approx.ftz.f32", {NAN, NAN, NAN, 0, -0.0f});
  expect("cos.approx.ftz.f32", {NAN, NAN, NAN, 1, 1});
  expect("tanh.approx.f32", {1, -1, NAN, 0, -0.0f});
  expect("rsqrt.approx.ftz.f32", {0, NAN, NAN, INFINITY, -INFINITY});
  expect("rcp.approx.ftz.f32", {0, -0.0f, NAN, INFINITY, -INFINITY});
}

TEST_F(FloatTest, TestpTellsClassesApart) {
  const auto a = values<float>();
  struct Class {
    const char* name;
    bool (*expected)(float);
  };
  const Class kClasses[] = {
      {"finite", [](float v) { return std::isfinite(v); }},
      {"infinite", [](float v) { return std::isinf(v); }},
      {"number", [](float v) { return !std::isnan(v); }},
      {"notanumber", [](float v) { return std::isnan(v); }},
      // The manual: "As a special case, positive and negative zero are considered normal numbers."
      {"normal", [](float v) { return std::isnormal(v) || v == 0; }},
      {"subnormal", [](float v) { return std::fpclassify(v) == FP_SUBNORMAL; }},
  };
  for (const Class& c : kClasses) {
    const auto d = harness_.run<uint32_t>(
        "testp." + std::string(c.name) + ".f32 %p, %a; selp.u32 %d, 1, 0, %p;", a);
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_EQ(d[i], c.expected(a[i])) << c.name << " " << a[i];
  }
}

}  // namespace
}  // namespace farcall::softgpu
