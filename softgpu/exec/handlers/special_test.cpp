// Rare integer and floating-point instructions against the manual's wording.
#include <gmock/gmock.h>

#include <algorithm>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

class SpecialTest : public testing::Test {
 protected:
  template <class A, class B, class C>
  void triples(std::vector<A>* a, std::vector<B>* b, std::vector<C>* c) {
    cross(edge_values<A>(), edge_values<B>(), *a, *b);
    const auto edges = edge_values<C>();
    for (size_t i = 0; i < a->size(); ++i) c->push_back(edges[(i * 7 + i / 11) % edges.size()]);
  }
  InstructionHarness harness_;
};

TEST_F(SpecialTest, FnsFindsTheNthBitFromABase) {
  std::vector<uint32_t> a, b;
  std::vector<int32_t> c;
  for (uint32_t bits : {0u, ~0u, 0x80000001u, 0x12345678u, 0xaaaaaaaau, 0x00010000u}) {
    for (uint32_t base = 0; base < 32; ++base) {
      for (int32_t nth : {0, 1, 2, 5, 31, 32, 33, 40, -1, -2, -7, -32, INT32_MIN, INT32_MAX}) {
        a.push_back(bits);
        b.push_back(base);
        c.push_back(nth);
      }
    }
  }
  const auto d = harness_.run<uint32_t>("fns.b32 %d, %a, %b, %c;", a, b, c);
  ASSERT_EQ(d.size(), a.size());
  for (size_t i = 0; i < d.size(); ++i) {
    std::vector<uint32_t> set;  // positions, in the direction looked in
    for (uint32_t k = 0; k < 32; ++k) {
      const uint32_t at = c[i] < 0 ? b[i] - k : b[i] + k;
      if (at < 32 && (a[i] >> at & 1) != 0) set.push_back(at);
    }
    const int64_t nth = std::abs(int64_t{c[i]});
    uint32_t expected = ~0u;
    if (nth == 0 && (a[i] >> b[i] & 1) != 0) expected = b[i];
    if (nth > 0 && nth <= static_cast<int64_t>(set.size()))
      expected = set[static_cast<size_t>(nth - 1)];
    ASSERT_EQ(d[i], expected) << std::hex << a[i] << " " << b[i] << " " << c[i];
  }
}

TEST_F(SpecialTest, PrmtModesPickBytes) {
  // The manual's tables, most significant byte first.
  struct Mode {
    const char* name;
    const char* rows[4];
  };
  static constexpr Mode kModes[] = {
      {"f4e", {"3210", "4321", "5432", "6543"}}, {"b4e", {"5670", "6701", "7012", "0123"}},
      {"rc8", {"0000", "1111", "2222", "3333"}}, {"ecl", {"3210", "3211", "3222", "3333"}},
      {"ecr", {"0000", "1110", "2210", "3210"}}, {"rc16", {"1010", "3232", "1010", "3232"}}};
  std::vector<uint32_t> a, b, c;
  for (uint32_t i = 0; i < 64; ++i) {
    a.push_back(0x93827160u + i * 0x01010101u);
    b.push_back(0xd7c6b5a4u - i * 0x01010101u);
    c.push_back(i * 5);
  }
  for (const Mode& mode : kModes) {
    const std::string code = std::string("prmt.b32.") + mode.name + " %d, %a, %b, %c;";
    const auto d = harness_.run<uint32_t>(code, a, b, c);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < d.size(); ++i) {
      uint32_t expected = 0;
      for (int k = 0; k < 4; ++k) {
        const int pick = mode.rows[c[i] % 4][k] - '0';
        const uint32_t byte = (pick < 4 ? a[i] >> (8 * pick) : b[i] >> (8 * (pick - 4))) & 0xff;
        expected = expected << 8 | byte;
      }
      ASSERT_EQ(d[i], expected) << code << " " << c[i] % 4;
    }
  }
}

TEST_F(SpecialTest, CvtPackSaturatesAndPutsTheRestAbove) {
  std::vector<int32_t> a, b;
  std::vector<uint32_t> c;
  triples(&a, &b, &c);
  struct Type {
    const char* name;
    int bits;
    int64_t low, high;
  };
  static constexpr Type kTypes[] = {{"s8", 8, -128, 127}, {"u8", 8, 0, 255}, {"s4", 4, -8, 7},
                                    {"u4", 4, 0, 15},     {"s2", 2, -2, 1},  {"u2", 2, 0, 3}};
  for (const Type& type : kTypes) {
    const std::string code = std::string("cvt.pack.sat.") + type.name + ".s32.b32 %d, %a, %b, %c;";
    const auto d = harness_.run<uint32_t>(code, a, b, c);
    ASSERT_EQ(d.size(), a.size());
    const uint32_t ones = (1u << type.bits) - 1;
    for (size_t i = 0; i < d.size(); ++i) {
      const auto high = static_cast<uint32_t>(std::clamp<int64_t>(a[i], type.low, type.high));
      const auto low = static_cast<uint32_t>(std::clamp<int64_t>(b[i], type.low, type.high));
      ASSERT_EQ(d[i], c[i] << (2 * type.bits) | (high & ones) << type.bits | (low & ones)) << code;
    }
  }
  const auto d = harness_.run<uint32_t>("cvt.pack.sat.s16.s32 %d, %a, %b;", a, b);
  for (size_t i = 0; i < d.size(); ++i) {
    const auto high = static_cast<uint32_t>(std::clamp(a[i], -0x8000, 0x7fff));
    const auto low = static_cast<uint32_t>(std::clamp(b[i], -0x8000, 0x7fff));
    ASSERT_EQ(d[i], high << 16 | (low & 0xffff));
  }
}

TEST_F(SpecialTest, PairsOfIntegers) {
  std::vector<uint32_t> a, b;
  for (uint32_t i = 0; i < 0x10000; ++i) {  // every half, against others
    a.push_back(i << 16 | (0xffff - i));
    b.push_back(i * 0x9e3779b9u);
  }
  auto check = [&](const std::string& name, auto one) {
    const auto d = harness_.run<uint32_t>(name + " %d, %a, %b;", a, b);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < d.size(); ++i) {
      const auto low = one(static_cast<uint16_t>(a[i]), static_cast<uint16_t>(b[i]));
      const auto high = one(static_cast<uint16_t>(a[i] >> 16), static_cast<uint16_t>(b[i] >> 16));
      ASSERT_EQ(d[i], static_cast<uint16_t>(low) | uint32_t{static_cast<uint16_t>(high)} << 16)
          << name;
    }
  };
  using S = int16_t;
  check("add.u16x2", [](uint16_t x, uint16_t y) { return x + y; });
  check("add.s16x2", [](uint16_t x, uint16_t y) { return x + y; });
  check("min.u16x2", [](uint16_t x, uint16_t y) { return std::min(x, y); });
  check("max.u16x2", [](uint16_t x, uint16_t y) { return std::max(x, y); });
  check("min.s16x2", [](uint16_t x, uint16_t y) { return std::min(S(x), S(y)); });
  check("max.s16x2", [](uint16_t x, uint16_t y) { return std::max(S(x), S(y)); });
  check("min.relu.s16x2",
        [](uint16_t x, uint16_t y) { return std::max<S>(std::min(S(x), S(y)), 0); });
  check("max.s16x2.relu",
        [](uint16_t x, uint16_t y) { return std::max<S>(std::max(S(x), S(y)), 0); });
}

TEST_F(SpecialTest, Lop3GivesAPredicateToo) {
  std::vector<uint32_t> a, b, c;
  triples(&a, &b, &c);
  const auto d = harness_.run<uint32_t>(
      "setp.gt.u32 %q, %c, 100; lop3.or.b32 %x|%p, %a, %b, %c, 0x80, %q; selp.b32 %y, 1, 0, %p;"
      "lop3.and.b32 %z|%p, %a, %b, %c, 0x80, !%q; selp.b32 %z, 2, 0, %p; or.b32 %d, %y, %z;"
      "setp.ne.u32 %p, %x, 0; @%p or.b32 %d, %d, 4;",
      a, b, c);
  ASSERT_EQ(d.size(), a.size());
  for (size_t i = 0; i < d.size(); ++i) {
    const bool all = (a[i] & b[i] & c[i]) != 0, q = c[i] > 100;
    ASSERT_EQ(d[i], (all || q ? 1u : 0) | (all && !q ? 2u : 0) | (all ? 4u : 0));
  }
}

TEST_F(SpecialTest, ApproximateReciprocalsOfDoubles) {
  const auto a = edge_values<double>();
  const auto rcp = harness_.run<double>("rcp.approx.ftz.f64 %d, %a;", a);
  const auto root = harness_.run<double>("rsqrt.approx.ftz.f64 %d, %a;", a);
  ASSERT_EQ(rcp.size(), a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    double v = std::bit_cast<double>(std::bit_cast<uint64_t>(a[i]) >> 32 << 32);
    if (std::fabs(v) < std::numeric_limits<double>::min()) v = std::copysign(0.0, v);
    auto check = [&](double got, double exact) {
      if (std::isnan(exact)) {
        ASSERT_TRUE(std::isnan(got)) << a[i];
        return;
      }
      if (std::fabs(exact) < std::numeric_limits<double>::min()) exact = std::copysign(0.0, exact);
      ASSERT_EQ(std::signbit(got), std::signbit(exact)) << a[i];
      if (std::isinf(exact) || exact == 0) {
        ASSERT_EQ(got, exact) << a[i];
        return;
      }
      ASSERT_LE(std::fabs(got - exact), std::fabs(exact) * 0x1p-20) << a[i];
      ASSERT_EQ(std::bit_cast<uint64_t>(got) & 0xffff'ffff, 0u) << a[i];
    };
    check(rcp[i], 1 / v);
    check(root[i], 1 / std::sqrt(v));
  }
}

TEST_F(SpecialTest, PairsOfFloatsAreTwoFloats) {
  std::vector<float> a, b, c;
  triples(&a, &b, &c);
  auto check = [&](const std::string& name, bool three, auto one) {
    // The upper halves have the operands the other way round.
    const auto d = harness_.run<uint64_t>(
        "mov.b64 %w, {%a, %b}; mov.b64 %p0, {%b, %c}; mov.b64 %at, {%c, %a};" + name +
            (three ? " %d, %w, %p0, %at;" : " %d, %w, %p0;"),
        a, b, c);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < d.size(); ++i) {
      const auto low = std::bit_cast<float>(static_cast<uint32_t>(d[i]));
      const auto high = std::bit_cast<float>(static_cast<uint32_t>(d[i] >> 32));
      ASSERT_TRUE(same_value(low, one(a[i], b[i], c[i]))) << name << a[i] << " " << b[i];
      ASSERT_TRUE(same_value(high, one(b[i], c[i], a[i]))) << name << b[i] << " " << c[i];
    }
  };
  check("add.rn.f32x2", false, [](float x, float y, float) { return x + y; });
  check("sub.f32x2", false, [](float x, float y, float) { return x - y; });
  check("mul.rn.ftz.f32x2", false, [](float x, float y, float) {
    auto flush = [](float v) {
      return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
    };
    return flush(flush(x) * flush(y));
  });
  check("fma.rn.f32x2", true, [](float x, float y, float z) { return std::fma(x, y, z); });
}

TEST_F(SpecialTest, SumsOfFloatsAndShorterOnes) {
  // Every half of a sixteenth of all, against floats of all kinds.
  std::vector<uint16_t> a, b;
  std::vector<float> c;
  const auto edges = edge_values<float>();
  for (uint32_t bits = 0; bits < 0x10000; bits += 5) {
    a.push_back(static_cast<uint16_t>(bits));
    b.push_back(static_cast<uint16_t>(bits * 40503u));
    c.push_back(edges[bits % edges.size()]);
  }
  auto check = [&](const std::string& type, const Format& format, const std::string& round,
                   Round mode) {
    const auto sum =
        harness_.run<uint32_t>("add." + round + ".f32." + type + " %d, %a, %c;", a, b, c);
    const auto difference =
        harness_.run<uint32_t>("sub." + round + ".f32." + type + " %d, %a, %c;", a, b, c);
    const auto product =
        harness_.run<uint32_t>("fma." + round + ".f32." + type + " %d, %a, %b, %c;", a, b, c);
    ASSERT_EQ(sum.size(), a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const long double x = decode(a[i], format), y = decode(b[i], format), z = c[i];
      auto expect = [&](uint32_t got, long double left, long double right) {
        // Both are exact in long double; their sum may not be: its error decides (TwoSum).
        const long double total = left + right;
        int rest = 0;
        if (std::isfinite(total)) {
          const long double part = total - left;
          const long double error = (left - (total - part)) + (right - part);
          rest = error > 0 ? 1 : error < 0 ? -1 : 0;
        }
        if (std::isnan(total)) {
          ASSERT_TRUE(is_nan(got, kF32));
          return;
        }
        if (total == 0 && rest == 0) {
          ASSERT_EQ(got & 0x7fff'ffff, 0u);
          return;
        }
        ASSERT_EQ(got, encode(total, kF32, mode, rest))
            << type << round << double(left) << " " << double(right);
      };
      expect(sum[i], x, z);
      expect(difference[i], x, -z);
      expect(product[i], x * y, z);
    }
  };
  for (const auto& [name, format] : {std::pair{"f16", kF16}, std::pair{"bf16", kBf16}}) {
    check(name, format, "rn", Round::kNearest);
    check(name, format, "rz", Round::kZero);
    check(name, format, "rm", Round::kDown);
    check(name, format, "rp", Round::kUp);
  }
}

TEST_F(SpecialTest, MinimumOfThree) {
  std::vector<float> a, b, c;
  triples(&a, &b, &c);
  auto check = [&](const std::string& name, auto expected) {
    const auto d = harness_.run<float>(name + " %d, %a, %b, %c;", a, b, c);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < d.size(); ++i) {
      ASSERT_TRUE(same_value(d[i], expected(a[i], b[i], c[i])))
          << name << " " << a[i] << " " << b[i] << " " << c[i] << ": " << d[i];
    }
  };
  auto smaller = [](float x, float y) {
    if (std::isnan(x)) return y;
    if (std::isnan(y)) return x;
    return x < y || (x == y && std::signbit(x)) ? x : y;
  };
  check("min.f32", [&](float x, float y, float z) { return smaller(smaller(x, y), z); });
  check("max.NaN.abs.f32", [&](float x, float y, float z) {
    if (std::isnan(x) || std::isnan(y) || std::isnan(z)) return NAN;
    return std::max({std::fabs(x), std::fabs(y), std::fabs(z)});
  });
  const auto d = harness_.run<float>("max.NaN.xorsign.abs.f32 %d, %a, %b;", a, b);
  for (size_t i = 0; i < d.size(); ++i) {
    const float larger = std::max(std::fabs(a[i]), std::fabs(b[i]));
    const float expected = std::isnan(a[i]) || std::isnan(b[i])       ? NAN
                           : std::signbit(a[i]) != std::signbit(b[i]) ? -larger
                                                                      : larger;
    ASSERT_TRUE(same_value(d[i], expected)) << a[i] << " " << b[i];
  }
}

TEST_F(SpecialTest, WhatTheseDoNotHaveIsRefused) {
  auto message = [&](const std::string& instruction) {
    const LoadError error = harness_.device().load_error(
        ".version 9.0\n.target sm_100\n.address_size 64\n"
        ".entry k() { .reg .b32 %a, %b, %c, %d; .reg .b64 %w; .reg .b16 %h;\n " +
        instruction + " }");
    EXPECT_EQ(error.line, 5) << instruction;
    return error.message;
  };
  EXPECT_THAT(message("cvt.rn.e4m3x2.f32 %h, %a, %b;"), HasSubstr("satfinite"));
  EXPECT_THAT(message("cvt.rz.satfinite.e4m3x2.f32 %h, %a, %b;"), HasSubstr("rounding"));
  EXPECT_THAT(message("cvt.rs.satfinite.e4m3x4.f32 %d, {%a, %b, %a, %b}, %c;"),
              HasSubstr("unsupported instruction"));
  EXPECT_THAT(message("rcp.approx.f64 %w, %w;"), HasSubstr("unsupported instruction"));
  EXPECT_THAT(message("div.rn.f32x2 %w, %w, %w;"), HasSubstr("unsupported instruction"));
  EXPECT_THAT(message("add.f32.f64 %d, %w, %c;"), HasSubstr("types"));
  EXPECT_THAT(message("min.abs.f32 %d, %a, %b;"), HasSubstr("unsupported instruction"));
}

}  // namespace
}  // namespace farcall::softgpu
