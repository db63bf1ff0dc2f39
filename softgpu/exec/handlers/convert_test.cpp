// cvt: every pair of types, every rounding, against long double and rounding by definition.
#include <random>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

struct Mode {
  const char* name;
  Round round;
};
constexpr Mode kModes[] = {
    {"rn", Round::kNearest}, {"rz", Round::kZero}, {"rm", Round::kDown}, {"rp", Round::kUp}};

long double round_integral(long double v, Round round) {
  switch (round) {
    case Round::kNearest:
      return std::nearbyint(v);
    case Round::kZero:
      return std::trunc(v);
    case Round::kDown:
      return std::floor(v);
    case Round::kUp:
      return std::ceil(v);
  }
  return v;
}

template <class T>
std::string integer_name() {
  return (std::is_signed_v<T> ? "s" : "u") + std::to_string(8 * sizeof(T));
}

class ConvertTest : public testing::Test {
 protected:
  // Values around every tie of a 16-bit format: the value, the middle to the next one, and its
  // neighbours.
  template <class T>
  static std::vector<T> around_ties(const Format& format) {
    std::vector<T> values;
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const long double here = decode(bits, format),
                        next = decode(bits + 1 == 65536 ? bits : bits + 1, format);
      const T v = static_cast<T>(here), middle = static_cast<T>((here + next) / 2);
      for (T x : {v, middle}) {
        values.push_back(x);
        values.push_back(std::nextafter(x, T(-INFINITY)));
        values.push_back(std::nextafter(x, T(INFINITY)));
      }
    }
    for (T v : edge_values<T>()) values.push_back(v);
    return values;
  }
  template <class T>
  static std::vector<T> many() {
    std::vector<T> values = edge_values<T>();
    std::mt19937_64 random(11);
    for (int i = 0; i < 3000; ++i) {
      const uint64_t bits = random();
      if constexpr (std::is_floating_point_v<T>) {
        if constexpr (sizeof(T) == 4)
          values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
        else
          values.push_back(std::bit_cast<double>(bits));
        values.push_back(static_cast<T>(static_cast<int64_t>(bits) >> (bits & 63)));
        values.push_back(static_cast<T>(static_cast<int64_t>(bits) >> (bits & 63)) / 4);
      } else {
        values.push_back(static_cast<T>(bits >> (random() & 63)));
      }
    }
    return values;
  }

  template <class To, class From>
  void check_float_to_integer(const std::string& from_name, const std::vector<From>& a,
                              const auto& value_of, bool from_is_64) {
    for (const Mode& mode : kModes) {
      const std::string code = std::string("cvt.") + mode.name + "i." + integer_name<To>() + "." +
                               from_name + " %d, %a;";
      const auto d = harness_.run<To>(
          sizeof(To) == 1 ? ".reg .b16 %small; cvt." + std::string(mode.name) + "i." +
                                integer_name<To>() + "." + from_name + " %d, %a;"
                          : code,
          a);
      ASSERT_EQ(d.size(), a.size()) << code;
      for (size_t i = 0; i < a.size(); ++i) {
        const long double v = round_integral(value_of(a[i]), mode.round);
        To want;
        if (std::isnan(v)) {
          // 0, or the sign bit alone where 64 bits take part.
          want = sizeof(To) == 8 || from_is_64
                     ? static_cast<To>(std::make_unsigned_t<To>{1} << (8 * sizeof(To) - 1))
                     : To{0};
        } else if (v >= std::ldexp(1.0L, std::numeric_limits<To>::digits)) {
          want = std::numeric_limits<To>::max();
        } else if (v < static_cast<long double>(std::numeric_limits<To>::min())) {
          want = std::numeric_limits<To>::min();
        } else {
          want = static_cast<To>(v);
        }
        ASSERT_EQ(d[i], want) << code << " " << static_cast<double>(value_of(a[i]));
      }
    }
  }
  template <class To>
  void check_all_floats_to() {
    check_float_to_integer<To>(
        "f32", many<float>(), [](float v) -> long double { return v; }, false);
    check_float_to_integer<To>(
        "f64", many<double>(), [](double v) -> long double { return v; }, true);
    std::vector<uint16_t> halves(65536);
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
    check_float_to_integer<To>(
        "f16", halves, [](uint16_t v) { return decode(v, kF16); }, false);
  }

  template <class D, class From>
  void check_integer_to_float(const std::string& to_name, const Format& format) {
    const auto a = many<From>();
    for (const Mode& mode : kModes) {
      const std::string code =
          std::string("cvt.") + mode.name + "." + to_name + "." + integer_name<From>() + " %d, %a;";
      const auto d = harness_.run<D>(code, a);
      for (size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(d[i], static_cast<D>(encode(static_cast<long double>(a[i]), format, mode.round)))
            << code << " " << +a[i];
      }
    }
  }
  template <class From>
  void check_integer_to_floats() {
    check_integer_to_float<uint16_t, From>("f16", kF16);
    check_integer_to_float<uint16_t, From>("bf16", kBf16);
    check_integer_to_float<uint32_t, From>("f32", kF32);
    check_integer_to_float<uint64_t, From>("f64", kF64);
  }

  InstructionHarness harness_;
};

TEST_F(ConvertTest, FloatsToIntegersSaturate) {
  check_all_floats_to<int8_t>();
  check_all_floats_to<uint8_t>();
  check_all_floats_to<int16_t>();
  check_all_floats_to<uint16_t>();
  check_all_floats_to<int32_t>();
  check_all_floats_to<uint32_t>();
  check_all_floats_to<int64_t>();
  check_all_floats_to<uint64_t>();
}

TEST_F(ConvertTest, IntegersToFloatsInEveryRounding) {
  check_integer_to_floats<int8_t>();
  check_integer_to_floats<uint8_t>();
  check_integer_to_floats<int16_t>();
  check_integer_to_floats<uint16_t>();
  check_integer_to_floats<int32_t>();
  check_integer_to_floats<uint32_t>();
  check_integer_to_floats<int64_t>();
  check_integer_to_floats<uint64_t>();
}

TEST_F(ConvertTest, WideningFloatsIsExact) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (const bool bfloat : {false, true}) {
    const Format& format = bfloat ? kBf16 : kF16;
    const std::string from = bfloat ? ".bf16" : ".f16";
    const auto single = harness_.run<float>("cvt.f32" + from + " %d, %a;", halves);
    const auto twice = harness_.run<double>("cvt.f64" + from + " %d, %a;", halves);
    for (size_t i = 0; i < halves.size(); ++i) {
      ASSERT_TRUE(same_value(single[i], static_cast<float>(decode(halves[i], format))))
          << from << i;
      ASSERT_TRUE(same_value(twice[i], static_cast<double>(decode(halves[i], format))))
          << from << i;
    }
  }
  const auto a = many<float>();
  const auto d = harness_.run<double>("cvt.f64.f32 %d, %a;", a);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_TRUE(same_value(d[i], static_cast<double>(a[i])));
}

TEST_F(ConvertTest, NarrowingFloatsRoundsOnce) {
  for (const bool bfloat : {false, true}) {
    const Format& format = bfloat ? kBf16 : kF16;
    const std::string to = bfloat ? ".bf16" : ".f16";
    const auto singles = around_ties<float>(format);
    const auto doubles = around_ties<double>(format);
    for (const Mode& mode : kModes) {
      const std::string code = std::string("cvt.") + mode.name + to;
      const auto from_single = harness_.run<uint16_t>(code + ".f32 %d, %a;", singles);
      for (size_t i = 0; i < singles.size(); ++i) {
        ASSERT_EQ(from_single[i], encode(singles[i], format, mode.round))
            << code << " " << singles[i];
      }
      const auto from_double = harness_.run<uint16_t>(code + ".f64 %d, %a;", doubles);
      for (size_t i = 0; i < doubles.size(); ++i) {
        ASSERT_EQ(from_double[i], encode(doubles[i], format, mode.round))
            << code << " " << doubles[i];
      }
    }
  }
  auto doubles = many<double>();
  for (float v : many<float>()) {
    const double middle = (double{v} + double{std::nextafter(v, INFINITY)}) / 2;
    for (double x : {middle, std::nextafter(middle, -INFINITY), std::nextafter(middle, INFINITY)})
      doubles.push_back(x);
  }
  for (const Mode& mode : kModes) {
    const auto d =
        harness_.run<uint32_t>(std::string("cvt.") + mode.name + ".f32.f64 %d, %a;", doubles);
    for (size_t i = 0; i < doubles.size(); ++i) {
      ASSERT_EQ(d[i], encode(doubles[i], kF32, mode.round)) << mode.name << " " << doubles[i];
    }
  }
}

TEST_F(ConvertTest, PairsOfFloatsArePacked) {
  const auto a = around_ties<float>(kF16);
  std::vector<float> b(a.rbegin(), a.rend());
  for (const bool bfloat : {false, true}) {
    const Format& format = bfloat ? kBf16 : kF16;
    for (const Mode& mode : {kModes[0], kModes[1]}) {
      for (const bool relu : {false, true}) {
        const std::string code = std::string("cvt.") + mode.name + (relu ? ".relu" : "") +
                                 (bfloat ? ".bf16x2" : ".f16x2") + ".f32 %d, %a, %b;";
        const auto d = harness_.run<uint32_t>(code, a, b);
        auto one = [&](float v) {
          // -0 counts as negative, as in CUDA's own __hfma_relu: the larger one of it and +0.
          return static_cast<uint32_t>(encode(relu && v <= 0 ? 0.0f : v, format, mode.round));
        };
        for (size_t i = 0; i < a.size(); ++i)
          ASSERT_EQ(d[i], one(a[i]) << 16 | one(b[i])) << code << " " << a[i] << " " << b[i];
      }
    }
  }
}

TEST_F(ConvertTest, RoundingToIntegralFloats) {
  const auto a = many<float>();
  const auto b = many<double>();
  for (const Mode& mode : kModes) {
    const std::string code = std::string("cvt.") + mode.name + "i";
    const auto single = harness_.run<float>(code + ".f32.f32 %d, %a;", a);
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_TRUE(same_value(single[i], static_cast<float>(round_integral(a[i], mode.round))))
          << code << " " << a[i];
    }
    const auto twice = harness_.run<double>(code + ".f64.f64 %d, %a;", b);
    for (size_t i = 0; i < b.size(); ++i) {
      ASSERT_TRUE(same_value(twice[i], static_cast<double>(round_integral(b[i], mode.round))))
          << code << " " << b[i];
    }
  }
}

TEST_F(ConvertTest, FlushAndSaturate) {
  auto flush = [](float v) {
    return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
  };
  const auto a = many<float>();
  const auto saturated = harness_.run<float>("cvt.sat.f32.f32 %d, %a;", a);
  const auto flushed = harness_.run<float>("cvt.ftz.f32.f32 %d, %a;", a);
  const auto rounded = harness_.run<int32_t>("cvt.rpi.ftz.s32.f32 %d, %a;",
                                             std::vector<float>{1e-40f, -1e-40f, 0.5f});
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(same_value(flushed[i], flush(a[i])));
    ASSERT_TRUE(
        same_value(saturated[i], std::isnan(a[i]) || a[i] <= 0 ? 0.0f : std::fmin(a[i], 1.0f)))
        << a[i];
  }
  EXPECT_EQ(rounded[0], 0);
  EXPECT_EQ(rounded[2], 1);
  const auto b = many<double>();
  const auto narrowed = harness_.run<float>("cvt.rn.ftz.f32.f64 %d, %a;", b);
  for (size_t i = 0; i < b.size(); ++i)
    ASSERT_TRUE(same_value(narrowed[i], flush(static_cast<float>(b[i]))));
}

// The registers of narrow results are wider: the rest is filled by the sign of the destination
// type.
TEST_F(ConvertTest, IntegersAreTruncatedOrSaturatedAndExtended) {
  const auto a = many<int64_t>();
  auto check = [&]<class To>(To) {
    const std::string to = integer_name<To>();
    const auto wrapped = harness_.run<int64_t>("cvt." + to + ".s64 %d, %a;", a);
    const auto clamped = harness_.run<int64_t>("cvt.sat." + to + ".s64 %d, %a;", a);
    const auto from_unsigned = harness_.run<int64_t>("cvt.sat." + to + ".u64 %d, %a;", a);
    const auto narrow = harness_.run<int32_t>("cvt.u32.u64 %x, %a; cvt." + to + ".u16 %d, %x;", a);
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(wrapped[i], static_cast<int64_t>(static_cast<To>(a[i]))) << to << " " << a[i];
      const __int128 low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
      ASSERT_EQ(clamped[i], static_cast<int64_t>(std::clamp<__int128>(a[i], low, high)))
          << to << " " << a[i];
      ASSERT_EQ(from_unsigned[i],
                static_cast<int64_t>(std::clamp<__int128>(static_cast<uint64_t>(a[i]), low, high)));
      if constexpr (sizeof(To) <= 4) {
        ASSERT_EQ(narrow[i], static_cast<int32_t>(static_cast<To>(static_cast<uint16_t>(a[i]))));
      }
    }
  };
  check(int8_t{});
  check(uint8_t{});
  check(int16_t{});
  check(uint16_t{});
  check(int32_t{});
  check(uint32_t{});
}

TEST_F(ConvertTest, Tf32KeepsTenBits) {
  const auto a = many<float>();
  const auto d = harness_.run<uint32_t>("cvt.rna.tf32.f32 %d, %a;", a);
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i])) continue;
    if (std::isinf(a[i])) {
      ASSERT_EQ(d[i], std::bit_cast<uint32_t>(a[i]));
      continue;
    }
    // Ties away from zero: floor of the magnitude plus a half, in units of the eleventh bit.
    const double magnitude = std::fabs(double{a[i]});
    const double unit =
        magnitude == 0 ? 1 : std::ldexp(1.0, std::max(std::ilogb(magnitude), -126) - 10);
    const double rounded = std::floor(magnitude / unit + 0.5) * unit;
    const float want = std::copysign(static_cast<float>(rounded), a[i]);
    ASSERT_EQ(d[i], std::bit_cast<uint32_t>(want)) << a[i];
  }
}

}  // namespace
}  // namespace farcall::softgpu
