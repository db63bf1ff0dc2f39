// f16 and bf16: unary operations over all 65,536 values, binary ones over all values against many
// others.
#include <random>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

struct HalfType {
  const char* name;
  Format format;
};

class HalfTest : public testing::TestWithParam<HalfType> {
 protected:
  const Format& format() const { return GetParam().format; }
  std::string type(bool pair = false) const {
    return std::string(".") + GetParam().name + (pair ? "x2" : "");
  }

  static std::vector<uint16_t> all() {
    std::vector<uint16_t> values(65536);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
    return values;
  }
  // Each value of `all` against these, one list after the other.
  std::vector<uint16_t> partners() const {
    std::vector<uint16_t> values;
    for (double v :
         {0.0, 1.0, -1.0, 2.0, 0.5, 1.5, 3.14159, -1000.0, 65504.0, 6e-8, 1e-4, 0.3333}) {
      values.push_back(static_cast<uint16_t>(encode(v, format())));
    }
    const auto infinity = static_cast<uint16_t>(format().infinity);
    for (uint16_t v :
         {infinity, static_cast<uint16_t>(infinity | 0x8000), static_cast<uint16_t>(infinity - 1),
          static_cast<uint16_t>(infinity + 1), uint16_t{1}, uint16_t{0x8001}, uint16_t{0x8000}}) {
      values.push_back(v);
    }
    std::mt19937 random(5);
    while (values.size() < 24) values.push_back(static_cast<uint16_t>(random()));
    return values;
  }

  uint16_t flush(uint16_t v) const { return (v & format().infinity) == 0 ? v & 0x8000 : v; }
  uint16_t saturate(uint16_t v) const {
    const auto one = static_cast<uint16_t>(encode(1, format()));
    if (is_nan(v, format()) || (v & 0x8000) != 0) return 0;
    return std::min(v, one);
  }
  long double value(uint16_t v) const { return decode(v, format()); }
  bool same(uint16_t a, uint16_t b) const {
    return a == b || (is_nan(a, format()) && is_nan(b, format()));
  }

  template <class Expected>
  void check_unary(const std::string& name, const Expected& expected) {
    const auto a = all();
    const auto d = harness_.run<uint16_t>(name + " %d, %a;", a);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const uint16_t want = expected(a[i]);
      ASSERT_TRUE(same(d[i], want))
          << name << std::hex << " " << a[i] << " = " << d[i] << ", not " << want;
    }
  }
  template <class Expected>
  void check_binary(const std::string& name, const Expected& expected) {
    std::vector<uint16_t> a, b;
    cross(partners(), all(), a, b);
    const auto d = harness_.run<uint16_t>(name + type() + " %d, %a, %b;", a, b);
    ASSERT_EQ(d.size(), a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const uint16_t want = expected(a[i], b[i]);
      ASSERT_TRUE(same(d[i], want))
          << name << std::hex << " " << a[i] << " " << b[i] << " = " << d[i] << ", not " << want;
    }
    // Two at once: the other way round in the upper half.
    const size_t n = std::min<size_t>(a.size(), 100'000);
    std::vector<uint32_t> pairs_a(n), pairs_b(n);
    for (size_t i = 0; i < n; ++i) {
      pairs_a[i] = a[i] | uint32_t{b[i]} << 16;
      pairs_b[i] = b[i] | uint32_t{a[i]} << 16;
    }
    const auto pairs = harness_.run<uint32_t>(name + type(true) + " %d, %a, %b;", pairs_a, pairs_b);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_TRUE(same(static_cast<uint16_t>(pairs[i]), expected(a[i], b[i])) &&
                  same(static_cast<uint16_t>(pairs[i] >> 16), expected(b[i], a[i])))
          << name << " in pairs";
    }
  }

  InstructionHarness harness_;
};

INSTANTIATE_TEST_SUITE_P(Types, HalfTest,
                         testing::Values(HalfType{"f16", kF16}, HalfType{"bf16", kBf16}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(HalfTest, SignsMoveBits) {
  check_unary("neg" + type(), [](uint16_t a) { return static_cast<uint16_t>(a ^ 0x8000); });
  check_unary("abs" + type(), [](uint16_t a) { return static_cast<uint16_t>(a & 0x7fff); });
}

TEST_P(HalfTest, ArithmeticRoundsOnce) {
  // Sums and products of 16-bit floats are exact in long double, but for sums whose operands are
  // too far apart to matter to each other's rounding: the sign of the small one is what is left.
  const Format& f = format();
  auto sum = [&](uint16_t a, uint16_t b, long double sign) {
    const long double x = value(a), y = sign * value(b), s = x + y;
    int rest = 0;
    if (std::isfinite(s)) {
      const long double big = std::fabs(x) > std::fabs(y) ? x : y, small = big == x ? y : x;
      const long double missing = small - (s - big);
      rest = missing > 0 ? 1 : missing < 0 ? -1 : 0;
    }
    return static_cast<uint16_t>(encode(s, f, Round::kNearest, rest));
  };
  auto product = [&](uint16_t a, uint16_t b) {
    return static_cast<uint16_t>(encode(value(a) * value(b), f));
  };
  check_binary("add", [&](uint16_t a, uint16_t b) { return sum(a, b, 1); });
  check_binary("sub.rn", [&](uint16_t a, uint16_t b) { return sum(a, b, -1); });
  check_binary("mul", product);
  if (GetParam().format.precision == 11) {
    check_binary("add.ftz",
                 [&](uint16_t a, uint16_t b) { return flush(sum(flush(a), flush(b), 1)); });
    check_binary("mul.sat", [&](uint16_t a, uint16_t b) { return saturate(product(a, b)); });
    check_binary("mul.ftz.sat", [&](uint16_t a, uint16_t b) {
      return saturate(flush(product(flush(a), flush(b))));
    });
  }
}

TEST_P(HalfTest, MinimumAndMaximum) {
  auto smaller = [&](uint16_t a, uint16_t b) -> uint16_t {
    if (is_nan(a, format())) return b;
    if (is_nan(b, format())) return a;
    if (value(a) == value(b)) return (a & 0x8000) != 0 ? a : b;
    return value(a) < value(b) ? a : b;
  };
  auto larger = [&](uint16_t a, uint16_t b) -> uint16_t {
    if (is_nan(a, format())) return b;
    if (is_nan(b, format())) return a;
    if (value(a) == value(b)) return (a & 0x8000) != 0 ? b : a;
    return value(a) > value(b) ? a : b;
  };
  auto propagate = [&](auto order) {
    return [&, order](uint16_t a, uint16_t b) -> uint16_t {
      return is_nan(a, format()) || is_nan(b, format()) ? 0x7fff : order(a, b);
    };
  };
  check_binary("min", smaller);
  check_binary("max", larger);
  check_binary("min.NaN", propagate(smaller));
  check_binary("max.NaN", propagate(larger));
}

TEST_P(HalfTest, FmaRoundsOnce) {
  std::mt19937 random(9);
  const auto edges = partners();
  std::vector<uint16_t> a, b, c;
  for (int i = 0; i < 500'000; ++i) {
    if (i % 3 == 0) {
      a.push_back(static_cast<uint16_t>(random()));
      b.push_back(static_cast<uint16_t>(random()));
      c.push_back(static_cast<uint16_t>(random()));
    } else {
      // Close to ties: a product of about the size of half a unit in the last place of c.
      const auto near =
          static_cast<uint16_t>(encode(1 + static_cast<double>(random() % 128) / 128, format()));
      const double tiny =
          std::ldexp(1 + static_cast<double>(random() % 256) / 256,
                     -static_cast<int>(format().precision) - static_cast<int>(random() % 3));
      a.push_back(static_cast<uint16_t>(encode(tiny, format())));
      b.push_back(i % 2 != 0 ? near : edges[random() % edges.size()]);
      c.push_back(static_cast<uint16_t>(near ^ (random() & 0x8001)));
    }
  }
  auto expected = [&](size_t i) {
    // The product is exact in long double; its sum with c has a rest that TwoSum finds exactly.
    const long double p = value(a[i]) * value(b[i]), z = value(c[i]), s = p + z;
    int rest = 0;
    if (std::isfinite(s)) {
      const long double zz = s - p, missing = (p - (s - zz)) + (z - zz);
      rest = missing > 0 ? 1 : missing < 0 ? -1 : 0;
    }
    return static_cast<uint16_t>(encode(s, format(), Round::kNearest, rest));
  };
  const auto d = harness_.run<uint16_t>("fma.rn" + type() + " %d, %a, %b, %c;", a, b, c);
  const auto relu = harness_.run<uint16_t>("fma.rn.relu" + type() + " %d, %a, %b, %c;", a, b, c);
  for (size_t i = 0; i < a.size(); ++i) {
    const uint16_t want = expected(i);
    ASSERT_TRUE(same(d[i], want)) << std::hex << a[i] << " " << b[i] << " " << c[i] << " = " << d[i]
                                  << ", not " << want;
    const bool negative = (want & 0x8000) != 0 && !is_nan(want, format());
    ASSERT_TRUE(same(relu[i], negative ? 0 : want));
  }
}

TEST_P(HalfTest, ApproximateFunctions) {
  struct Function {
    const char* name;
    long double (*exact)(long double);
  };
  // Computed in float and rounded, so at most a unit in the last place away.
  for (const Function& function :
       {Function{"ex2.approx", [](long double v) { return std::exp2(v); }},
        Function{"tanh.approx", [](long double v) { return std::tanh(v); }}}) {
    const auto a = all();
    const bool needs_ftz = function.name[0] == 'e' && GetParam().format.precision == 8;
    const auto d = harness_.run<uint16_t>(
        std::string(function.name) + (needs_ftz ? ".ftz" : "") + type() + " %d, %a;", a);
    for (size_t i = 0; i < a.size(); ++i) {
      uint16_t want = static_cast<uint16_t>(encode(function.exact(value(a[i])), format()));
      if (needs_ftz) want = flush(want);
      if (is_nan(want, format()))
        ASSERT_TRUE(is_nan(d[i], format()));
      else
        ASSERT_LE(std::abs(d[i] - want), 1)
            << function.name << std::hex << " " << a[i] << " = " << d[i] << ", not " << want;
    }
  }
}

}  // namespace
}  // namespace farcall::softgpu
