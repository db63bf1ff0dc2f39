// The engine's f32 and f64 arithmetic, with every rounding, .ftz and .sat, against arithmetic in
// integers. The engine uses the processor's floats, and so do its own tests; this does not.
#include <gtest/gtest.h>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/reference/random_floats.h"

namespace farcall::softgpu::reference {
namespace {

template <class T>
class RoundingTest : public testing::Test {
 protected:
  using Int = typename Bits<T>::Int;
  static constexpr FloatFormat kFormat = Bits<T>::kFormat;
  static constexpr int kCount = 20'000;
  static constexpr bool kIsSingle = sizeof(T) == 4;

  RoundingTest() {
    Values<T> values;
    for (int i = 0; i < kCount; ++i) {
      const T a = values.next(), b = values.next();
      a_.push_back(std::bit_cast<Int>(a));
      b_.push_back(std::bit_cast<Int>(b));
      // A third cancels the product but for what was rounded away.
      c_.push_back(std::bit_cast<Int>(i % 3 == 0 ? static_cast<T>(-(a * b)) : values.next()));
    }
  }

  // `expected` gets three operands and a rounding.
  template <class Expected>
  void check(const std::string& opcode, int operands, bool can_saturate, const Expected& expected) {
    struct Mode {
      const char* name;
      Rounding rounding;
    };
    for (const Mode& mode : {Mode{".rn", Rounding::kNearest}, Mode{".rz", Rounding::kZero},
                             Mode{".rm", Rounding::kDown}, Mode{".rp", Rounding::kUp}}) {
      for (const bool ftz : {false, true}) {
        for (const bool sat : {false, true}) {
          if ((ftz || sat) && !kIsSingle) continue;
          if (sat && !can_saturate) continue;
          const std::string name = opcode + mode.name + (ftz ? ".ftz" : "") + (sat ? ".sat" : "") +
                                   (kIsSingle ? ".f32" : ".f64");
          const char* const list[] = {" %d, %a;", " %d, %a, %b;", " %d, %a, %b, %c;"};
          const auto d = harness_.run<Int>(name + list[operands - 1], a_, b_, c_);
          ASSERT_EQ(d.size(), a_.size());
          for (size_t i = 0; i < d.size(); ++i) {
            auto in = [&](uint64_t v) { return ftz ? flush(v, kFormat) : v; };
            uint64_t want = expected(in(a_[i]), in(b_[i]), in(c_[i]), mode.rounding);
            if (ftz) want = flush(want, kFormat);
            if (sat) want = saturate(want, kFormat);
            // For f32 the manual names the NaN; a double's may have any bits.
            if (!kIsSingle && is_nan(want, kFormat) && is_nan(d[i], kFormat)) continue;
            ASSERT_EQ(d[i], want) << name << std::hex << " " << a_[i] << " " << b_[i] << " "
                                  << c_[i];
          }
        }
      }
    }
  }

  std::vector<Int> a_, b_, c_;
  InstructionHarness harness_;
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(RoundingTest, Types);

TYPED_TEST(RoundingTest, Sums) {
  const FloatFormat f = this->kFormat;
  this->check("add", 2, true,
              [f](uint64_t a, uint64_t b, uint64_t, Rounding r) { return add(a, b, f, r); });
  this->check("sub", 2, true, [f](uint64_t a, uint64_t b, uint64_t, Rounding r) {
    return add(a, b ^ f.sign(), f, r);
  });
}

TYPED_TEST(RoundingTest, Products) {
  const FloatFormat f = this->kFormat;
  this->check("mul", 2, true,
              [f](uint64_t a, uint64_t b, uint64_t, Rounding r) { return multiply(a, b, f, r); });
  this->check("fma", 3, true,
              [f](uint64_t a, uint64_t b, uint64_t c, Rounding r) { return fused(a, b, c, f, r); });
}

TYPED_TEST(RoundingTest, QuotientsAndRoots) {
  const FloatFormat f = this->kFormat;
  this->check("div", 2, false,
              [f](uint64_t a, uint64_t b, uint64_t, Rounding r) { return divide(a, b, f, r); });
  this->check("rcp", 1, false,
              [f](uint64_t a, uint64_t, uint64_t, Rounding r) { return divide(f.one(), a, f, r); });
  this->check("sqrt", 1, false,
              [f](uint64_t a, uint64_t, uint64_t, Rounding r) { return square_root(a, f, r); });
}

}  // namespace
}  // namespace farcall::softgpu::reference
