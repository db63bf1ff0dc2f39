// setp, set, selp, slct, predicates, and mov with braces.
#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

class CompareTest : public testing::Test {
 protected:
  InstructionHarness harness_;
};

template <class T>
bool expected(const std::string& name, T a, T b) {
  const bool unordered = a != a || b != b;
  if (name == "num") return !unordered;
  if (name == "nan") return unordered;
  const bool ends_in_u = name.size() == 3;  // equ, neu, ...
  if (unordered) return ends_in_u;
  const std::string order = name.substr(0, 2);
  if (order == "eq") return a == b;
  if (order == "ne") return a != b;
  if (order == "lt" || order == "lo") return a < b;
  if (order == "le" || order == "ls") return a <= b;
  if (order == "gt" || order == "hi") return a > b;
  return a >= b;
}

const char* const kOrdered[] = {"eq", "ne", "lt", "le", "gt", "ge"};
const char* const kAll[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                            "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

TEST_F(CompareTest, IntegersOfEveryType) {
  auto check = [&]<class T>(T, const char* type, std::initializer_list<const char*> more = {}) {
    std::vector<T> a, b;
    cross(edge_values<T>(), edge_values<T>(), a, b);
    std::vector<std::string> names(std::begin(kOrdered), std::end(kOrdered));
    names.insert(names.end(), more.begin(), more.end());
    for (const std::string& name : names) {
      const auto d = harness_.run<uint32_t>(
          "setp." + name + "." + type + " %p, %a, %b; selp.u32 %d, 1, 0, %p;", a, b);
      for (size_t i = 0; i < a.size(); ++i)
        ASSERT_EQ(d[i], expected(name, a[i], b[i])) << name << type << +a[i] << " " << +b[i];
    }
  };
  check(int16_t{}, "s16");
  check(uint16_t{}, "u16");
  check(int32_t{}, "s32");
  check(uint32_t{}, "u32", {"lo", "ls", "hi", "hs"});
  check(int64_t{}, "s64");
  check(uint64_t{}, "u64", {"lo", "hs"});
}

TEST_F(CompareTest, FloatsWithAndWithoutNan) {
  auto check = [&]<class T>(T, const char* type) {
    std::vector<T> a, b;
    cross(edge_values<T>(), edge_values<T>(), a, b);
    for (const char* name : kAll) {
      const auto d = harness_.run<uint32_t>(
          "setp." + std::string(name) + type +
              " %p|%q, %a, %b; selp.u32 %d, 1, 0, %p; selp.u32 %x, 2, 0, %q; or.b32 %d, %d, %x;",
          a, b);
      for (size_t i = 0; i < a.size(); ++i)
        ASSERT_EQ(d[i], expected(name, a[i], b[i]) ? 1 : 2) << name << type << a[i] << " " << b[i];
    }
  };
  check(float{}, ".f32");
  check(double{}, ".f64");
  const std::vector<float> a = {1e-40f, -1e-40f, 1.0f}, b = {0.0f, 1e-41f, 1e-40f};
  const auto flushed =
      harness_.run<uint32_t>("setp.eq.ftz.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", a, b);
  EXPECT_EQ(flushed, (std::vector<uint32_t>{1, 1, 0}));
}

TEST_F(CompareTest, SixteenBitFloats) {
  std::vector<uint16_t> a, b;
  for (uint32_t i = 0; i < 65536; i += 13) {
    for (uint32_t k : {0u, 1u, 0x3c00u, 0x7c00u, 0x7e00u, 0x8000u, 0xbc00u, i}) {
      a.push_back(static_cast<uint16_t>(i));
      b.push_back(static_cast<uint16_t>(k));
    }
  }
  std::vector<uint32_t> pairs_a(a.size()), pairs_b(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    pairs_a[i] = a[i] | uint32_t{b[i]} << 16;
    pairs_b[i] = b[i] | uint32_t{a[i]} << 16;
  }
  for (const bool bfloat : {false, true}) {
    const Format& format = bfloat ? kBf16 : kF16;
    const std::string type = bfloat ? ".bf16" : ".f16";
    for (const char* name : kAll) {
      const auto d = harness_.run<uint32_t>(
          "setp." + std::string(name) + type + " %p, %a, %b; selp.u32 %d, 1, 0, %p;", a, b);
      const auto two = harness_.run<uint32_t>(
          "setp." + std::string(name) + type +
              "x2 %p|%q, %a, %b; selp.u32 %d, 1, 0, %p; selp.u32 %x, 2, 0, %q; or.b32 %d, %d, %x;",
          pairs_a, pairs_b);
      const auto set = harness_.run<uint32_t>(
          "set." + std::string(name) + type + "x2" + type + "x2 %d, %a, %b;", pairs_a, pairs_b);
      const uint32_t one = bfloat ? 0x3f80 : 0x3c00;
      for (size_t i = 0; i < a.size(); ++i) {
        const long double x = decode(a[i], format), y = decode(b[i], format);
        const bool forwards = expected(name, x, y), backwards = expected(name, y, x);
        ASSERT_EQ(d[i], forwards) << name << type << std::hex << a[i] << " " << b[i];
        ASSERT_EQ(two[i], (forwards ? 1u : 0u) | (backwards ? 2u : 0u));
        ASSERT_EQ(set[i], (forwards ? one : 0) | (backwards ? one << 16 : 0));
      }
    }
  }
}

TEST_F(CompareTest, ResultsCombineWithAPredicate) {
  const std::vector<int32_t> a = {1, 1, 2, 2}, b = {1, 2, 1, 2};
  auto run = [&](const std::string& how) {
    // %q: b == 2
    return harness_.run<uint32_t>(
        "setp.eq.s32 %q, %b, 2; setp.eq" + how + "; selp.u32 %d, 1, 0, %p;", a, b);
  };
  using V = std::vector<uint32_t>;
  EXPECT_EQ(run(".and.s32 %p, %a, %b, %q"), (V{0, 0, 0, 1}));
  EXPECT_EQ(run(".or.s32 %p, %a, %b, %q"), (V{1, 1, 0, 1}));
  EXPECT_EQ(run(".xor.s32 %p, %a, %b, %q"), (V{1, 1, 0, 0}));
  EXPECT_EQ(run(".and.s32 %p, %a, %b, !%q"), (V{1, 0, 0, 0}));
  EXPECT_EQ(run(".and.s32 %q|%p, %a, %b, %q"), (V{0, 1, 0, 0}));
}

TEST_F(CompareTest, SetWritesMasksOrOne) {
  const std::vector<float> a = {1, 2, NAN}, b = {2, 1, 1};
  EXPECT_EQ(harness_.run<uint32_t>("set.lt.u32.f32 %d, %a, %b;", a, b),
            (std::vector<uint32_t>{~0u, 0, 0}));
  EXPECT_EQ(harness_.run<float>("set.gtu.f32.f32 %d, %a, %b;", a, b),
            (std::vector<float>{0, 1, 1}));
}

TEST_F(CompareTest, SelectionByPredicateAndBySign) {
  const std::vector<uint64_t> a = {1, 2, 3}, b = {4, 5, 6};
  const std::vector<float> c = {-1, -0.0f, NAN};
  EXPECT_EQ(harness_.run<uint64_t>("slct.u64.f32 %d, %a, %b, %c;", a, b, c),
            (std::vector<uint64_t>{4, 2, 6}));
  EXPECT_EQ(
      harness_.run<uint64_t>("setp.lt.f32 %p, %c, 0f00000000; selp.b64 %d, %a, %b, !%p;", a, b, c),
      (std::vector<uint64_t>{4, 2, 3}));
}

TEST_F(CompareTest, PredicatesHaveLogic) {
  const std::vector<uint32_t> a = {0, 0, 1, 1}, b = {0, 1, 0, 1};
  auto run = [&](const std::string& code) {
    return harness_.run<uint32_t>(".reg .pred %r; setp.ne.u32 %p, %a, 0; setp.ne.u32 %q, %b, 0; " +
                                      code + "; selp.u32 %d, 1, 0, %r;",
                                  a, b);
  };
  using V = std::vector<uint32_t>;
  EXPECT_EQ(run("and.pred %r, %p, %q"), (V{0, 0, 0, 1}));
  EXPECT_EQ(run("or.pred %r, %p, !%q"), (V{1, 0, 1, 1}));
  EXPECT_EQ(run("xor.pred %r, %p, %q"), (V{0, 1, 1, 0}));
  EXPECT_EQ(run("not.pred %r, %p"), (V{1, 1, 0, 0}));
  EXPECT_EQ(run("mov.pred %r, %q"), (V{0, 1, 0, 1}));
  EXPECT_EQ(run("mov.pred %r, 1"), (V{1, 1, 1, 1}));
  EXPECT_EQ(run("mov.pred %r, %p; @!%q mov.pred %r, 0"), (V{0, 0, 0, 1}));
}

TEST_F(CompareTest, BracesPackAndUnpack) {
  const std::vector<uint64_t> a = {0x1122334455667788};
  auto one = [&](const std::string& code) { return harness_.run<uint64_t>(code, a)[0]; };
  EXPECT_EQ(one("mov.b64 {%x, %y}, %a; mov.b64 %d, {%y, %x};"), 0x5566778811223344u);
  EXPECT_EQ(
      one(".reg .b16 %s<4>; mov.b64 {%s0, %s1, %s2, %s3}, %a; mov.b64 %d, {%s3, %s2, %s1, %s0};"),
      0x7788556633441122u);
  EXPECT_EQ(one(".reg .b16 %s<2>; mov.b64 {%x, _}, %a; mov.b32 {%s0, %s1}, %x; mov.b32 %y, {%s1, "
                "%s0}; cvt.u64.u32 %d, %y;"),
            0x77885566u);
  EXPECT_EQ(one(".reg .b128 %q0, %q1; mov.b128 %q0, {%a, 7}; mov.b128 %q1, %q0; mov.b128 {%w, %d}, "
                "%q1; add.u64 %d, %d, %w;"),
            0x1122334455667788u + 7);
}

}  // namespace
}  // namespace farcall::softgpu
