// Conversions to and from floats of 8, 6 and 4 bits, against the formats' definition: the values of
// all codes are listed, and the nearest one is looked for.
#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

struct Narrow {
  std::string name;
  int exponent_bits, mantissa_bits;
  bool has_nan, has_infinity;  // what the largest codes stand for

  int bits() const { return 1 + exponent_bits + mantissa_bits; }
  unsigned sign() const { return 1u << (bits() - 1); }
  // NaN for a NaN, infinity for infinity.
  double value(unsigned code) const {
    const unsigned magnitude = code & (sign() - 1);
    const double s = (code & sign()) != 0 ? -1 : 1;
    const unsigned exponent = magnitude >> mantissa_bits;
    const unsigned fraction = magnitude & ((1u << mantissa_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    if (has_infinity && exponent == (1u << exponent_bits) - 1)
      return fraction == 0 ? s * INFINITY : NAN;
    if (has_nan && !has_infinity && magnitude == sign() - 1) return NAN;
    const double scale = std::ldexp(1.0, static_cast<int>(std::max(exponent, 1u)) - bias);
    const double significand = (exponent == 0 ? 0.0 : 1.0) + std::ldexp(fraction, -mantissa_bits);
    return s * significand * scale;
  }
  unsigned encode(double v, bool relu) const {
    unsigned largest = 0;
    for (unsigned code = 0; code < sign(); ++code) {
      if (std::isfinite(value(code))) largest = code;
    }
    if (std::isnan(v)) return has_nan ? 0x7f : largest;
    if (relu && std::signbit(v)) return 0;
    unsigned best = 0;
    const double magnitude = std::min(std::fabs(v), value(largest));
    for (unsigned code = 1; code <= largest; ++code) {
      const double here = std::fabs(value(code) - magnitude);
      const double there = std::fabs(value(best) - magnitude);
      if (here < there || (here == there && code % 2 == 0)) best = code;
    }
    return (std::signbit(v) ? sign() : 0) | best;
  }
};

const Narrow kNarrows[] = {{"e4m3x2", 4, 3, true, false},
                           {"e5m2x2", 5, 2, true, true},
                           {"e2m3x2", 2, 3, false, false},
                           {"e3m2x2", 3, 2, false, false},
                           {"e2m1x2", 2, 1, false, false}};

class NarrowFloatTest : public testing::TestWithParam<Narrow> {
 protected:
  // A pair of four bits is in a register of eight.
  static bool is_byte() { return GetParam().bits() == 4; }
  static std::string to(const std::string& instruction, const std::string& sources) {
    if (!is_byte()) return instruction + " %d, " + sources + ";";
    return "{ .reg .b8 %n; " + instruction + " %n, " + sources + "; mov.b16 %d, {%n, 0}; }";
  }
  static unsigned shift() { return is_byte() ? 4 : 8; }

  InstructionHarness harness_;
};

TEST_P(NarrowFloatTest, FloatsBecomeTheNearestOfThem) {
  const Narrow& format = GetParam();
  // All halves and their neighbours in float: every tie and every value next to one is among them.
  std::vector<float> a, b;
  for (uint32_t bits = 0; bits < 0x10000; bits += 3) {
    const auto v = static_cast<float>(decode(bits, kF16));
    for (float w : {v, std::nextafter(v, 0.0f), std::nextafter(v, INFINITY)}) a.push_back(w);
  }
  for (float v : edge_values<float>()) a.push_back(v);
  b.assign(a.rbegin(), a.rend());
  for (const bool relu : {false, true}) {
    const std::string name =
        "cvt.rn.satfinite." + std::string(relu ? "relu." : "") + format.name + ".f32";
    const auto d = harness_.run<uint16_t>(to(name, "%a, %b"), a, b);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(d[i], format.encode(a[i], relu) << shift() | format.encode(b[i], relu))
          << name << " " << a[i] << " " << b[i];
    }
  }
}

TEST_P(NarrowFloatTest, EveryCodeBecomesItsValue) {
  const Narrow& format = GetParam();
  const unsigned codes = 1u << (2 * shift());
  std::vector<uint16_t> a;
  for (unsigned code = 0; code < codes; ++code) a.push_back(static_cast<uint16_t>(code));
  for (const bool relu : {false, true}) {
    const std::string name = "cvt.rn." + std::string(relu ? "relu." : "") + "f16x2." + format.name;
    const std::string code = is_byte()
                                 ? "{ .reg .b8 %n, %m; mov.b16 {%n, %m}, %a; " + name + " %d, %n; }"
                                 : name + " %d, %a;";
    const auto d = harness_.run<uint32_t>(code, a);
    ASSERT_EQ(d.size(), a.size());
    const unsigned value_mask = 2 * format.sign() - 1;
    auto expected = [&](unsigned c) -> uint64_t {
      const double v = format.value(c & value_mask);
      return relu && std::signbit(v) && !std::isnan(v) ? 0 : encode(v, kF16);
    };
    for (unsigned i = 0; i < codes; ++i) {
      ASSERT_EQ(d[i], expected(i >> shift()) << 16 | expected(i)) << name << " " << i;
    }
  }
}

TEST_P(NarrowFloatTest, PairsOfHalvesBecomeTheNearest) {
  const Narrow& format = GetParam();
  if (format.bits() != 8) {
    EXPECT_EQ(harness_.device()
                  .load_error(".version 9.0\n.target sm_120a\n.address_size 64\n"
                              ".entry k() { .reg .b32 %a; .reg .b16 %d;\n"
                              " cvt.rn.satfinite." +
                              format.name + ".f32x3 %d, %a; }")
                  .line,
              5);
    return;
  }
  std::vector<uint32_t> a;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) a.push_back(bits << 16 | (bits ^ 0x9a31));
  const auto d = harness_.run<uint16_t>("cvt.rn.satfinite." + format.name + ".f16x2 %d, %a;", a);
  ASSERT_EQ(d.size(), a.size());
  std::vector<unsigned> codes(0x10000);
  for (uint32_t bits = 0; bits < 0x10000; ++bits)
    codes[bits] = format.encode(static_cast<double>(decode(bits, kF16)), false);
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(d[i], codes[a[i] >> 16] << 8 | codes[a[i] & 0xffff]) << std::hex << a[i];
}

INSTANTIATE_TEST_SUITE_P(Formats, NarrowFloatTest, testing::ValuesIn(kNarrows),
                         [](const auto& info) { return info.param.name; });

// ue8m0: a power of two from 2^-127 to 2^127, 255 is NaN.
TEST(PowerOfTwoTest, FloatsAreRoundedDownOrUp) {
  InstructionHarness harness;
  std::vector<float> a = edge_values<float>(), b;
  for (int e = -149; e < 128; ++e) {
    const float v = std::ldexp(1.0f, e);
    for (float w : {v, -v, std::nextafter(v, 0.0f), std::nextafter(v, INFINITY)}) a.push_back(w);
  }
  b.assign(a.rbegin(), a.rend());
  for (const bool up : {false, true}) {
    for (const bool satfinite : {false, true}) {
      auto expected = [&](float v) -> unsigned {
        if (std::isnan(v)) return 255;
        const float magnitude = std::fabs(v);
        if (std::isinf(magnitude)) return satfinite ? 254 : 255;
        if (magnitude <= std::ldexp(1.0f, -127)) return 0;
        int e = std::ilogb(magnitude);
        if (up && magnitude > std::ldexp(1.0f, e)) ++e;
        return e == 128 && satfinite ? 254 : static_cast<unsigned>(e + 127);
      };
      const std::string name =
          std::string(up ? "cvt.rp." : "cvt.rz.") + (satfinite ? "satfinite." : "") + "ue8m0x2.f32";
      const auto d = harness.run<uint16_t>(name + " %d, %a, %b;", a, b);
      ASSERT_EQ(d.size(), a.size());
      for (size_t i = 0; i < a.size(); ++i)
        ASSERT_EQ(d[i], expected(a[i]) << 8 | expected(b[i])) << name << " " << a[i] << " " << b[i];
    }
  }
}

TEST(PowerOfTwoTest, CodesBecomeBfloats) {
  InstructionHarness harness;
  std::vector<uint16_t> a;
  for (unsigned i = 0; i < 256; ++i) a.push_back(static_cast<uint16_t>(i << 8 | (255 - i)));
  const auto d = harness.run<uint32_t>("cvt.rn.bf16x2.ue8m0x2 %d, %a;", a);
  ASSERT_EQ(d.size(), a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    auto expected = [](unsigned code) {
      return code == 255 ? 0x7fffu
                         : static_cast<unsigned>(
                               encode(std::ldexp(1.0L, static_cast<int>(code) - 127), kBf16));
    };
    ASSERT_EQ(d[i], expected(a[i] >> 8) << 16 | expected(a[i] & 0xff)) << i;
  }
}

// .satfinite of the wider formats: as without, but never an infinity.
TEST(SatfiniteTest, InfinitiesBecomeTheLargestValue) {
  InstructionHarness harness;
  const auto a = edge_values<float>();
  auto expected = [](float v, const Format& format) -> uint64_t {
    const uint64_t bits = encode(v, format);
    return (bits & (format.sign_bit() - 1)) == format.infinity ? bits - 1 : bits;
  };
  const auto halves = harness.run<uint16_t>("cvt.rn.satfinite.f16.f32 %d, %a;", a);
  const auto pairs = harness.run<uint32_t>("cvt.rn.satfinite.bf16x2.f32 %d, %a, %a;", a);
  const auto tf32 = harness.run<uint32_t>("cvt.rn.satfinite.relu.tf32.f32 %d, %a;", a);
  ASSERT_EQ(halves.size(), a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(halves[i], expected(a[i], kF16)) << a[i];
    ASSERT_EQ(pairs[i], expected(a[i], kBf16) * 0x10001) << a[i];
    // tf32: eleven bits of significand at a float's upper end.
    constexpr Format kTf32{11, -126, 127, 0x7f80'0000 >> 13, 0x7fff'ffff >> 13};
    const uint64_t want = std::isnan(a[i])     ? 0x7fff'ffff
                          : std::signbit(a[i]) ? 0
                                               : expected(a[i], kTf32) << 13;
    ASSERT_EQ(tf32[i], want) << a[i];
  }
}

}  // namespace
}  // namespace farcall::softgpu
