// Video instructions against arithmetic on the parts, written out for each.
#include <gmock/gmock.h>

#include <algorithm>

#include "softgpu/exec/handlers/instruction_harness.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

int64_t u8_of(uint32_t v, int k) { return v >> (8 * k) & 0xff; }
int64_t s8_of(uint32_t v, int k) { return static_cast<int8_t>(v >> (8 * k)); }
int64_t u16_of(uint32_t v, int k) { return v >> (16 * k) & 0xffff; }
int64_t s16_of(uint32_t v, int k) { return static_cast<int16_t>(v >> (16 * k)); }
int64_t s32_of(uint32_t v) { return static_cast<int32_t>(v); }
int64_t s32_clamp(int64_t v) { return std::clamp<int64_t>(v, INT32_MIN, INT32_MAX); }

class VideoTest : public testing::Test {
 protected:
  VideoTest() {
    cross(edge_values<uint32_t>(), edge_values<uint32_t>(), a_, b_);
    const auto edges = edge_values<uint32_t>();
    for (size_t i = 0; i < a_.size(); ++i) c_.push_back(edges[(i * 7 + i / 11) % edges.size()]);
  }
  template <class F>
  void check(const std::string& code, F expected) {
    const auto d = harness_.run<uint32_t>(code, a_, b_, c_);
    ASSERT_EQ(d.size(), a_.size()) << code;
    for (size_t i = 0; i < d.size(); ++i) {
      ASSERT_EQ(d[i], static_cast<uint32_t>(expected(a_[i], b_[i], c_[i])))
          << code << std::hex << " " << a_[i] << " " << b_[i] << " " << c_[i];
    }
  }

  InstructionHarness harness_;
  std::vector<uint32_t> a_, b_, c_;
};

TEST_F(VideoTest, ScalarsTakePartsAndSaturate) {
  check("vadd.s32.s32.s32 %d, %a, %b;",
        [](uint32_t a, uint32_t b, uint32_t) { return s32_of(a) + s32_of(b); });
  check("vadd.s32.u32.s32.sat %d, %a, %b.h1;",
        [](uint32_t a, uint32_t b, uint32_t) { return s32_clamp(int64_t{a} + s16_of(b, 1)); });
  check("vsub.u32.u32.u32.sat %d, %a.b3, %b;", [](uint32_t a, uint32_t b, uint32_t) {
    return std::max<int64_t>(u8_of(a, 3) - int64_t{b}, 0);
  });
  check("vabsdiff.u32.s32.s32 %d, %a, %b;",
        [](uint32_t a, uint32_t b, uint32_t) { return std::abs(s32_of(a) - s32_of(b)); });
  check("vmin.s32.s32.u32 %d, %a, %b;",
        [](uint32_t a, uint32_t b, uint32_t) { return std::min(s32_of(a), int64_t{b}); });
  check("vmax.u32.u32.u32 %d, %a.h0, %b.b1;",
        [](uint32_t a, uint32_t b, uint32_t) { return std::max(u16_of(a, 0), u8_of(b, 1)); });
}

TEST_F(VideoTest, ScalarsCombineWithAThirdSource) {
  check("vadd.u32.u32.u32.add %d, %a.b0, %b.b0, %c;",
        [](uint32_t a, uint32_t b, uint32_t c) { return u8_of(a, 0) + u8_of(b, 0) + c; });
  check("vsub.s32.s32.s32.sat.min %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return std::min(s32_clamp(s32_of(a) - s32_of(b)), s32_of(c));
  });
  check("vabsdiff.u32.u32.u32.max %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return std::max<uint32_t>(a > b ? a - b : b - a, c);
  });
  check("vadd.s32.s32.s32.sat %d.h1, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    const int64_t sum = std::clamp<int64_t>(s32_of(a) + s32_of(b), -0x8000, 0x7fff);
    return (c & 0xffff) | static_cast<uint32_t>(sum) << 16;
  });
  check("vmax.u32.u32.u32 %d.b2, %a.b1, %b.b3, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return (c & 0xff00ffff) | static_cast<uint32_t>(std::max(u8_of(a, 1), u8_of(b, 3))) << 16;
  });
  check("vset.s32.u32.lt.add %d, %a, %b, %c;",
        [](uint32_t a, uint32_t b, uint32_t c) { return c + (s32_of(a) < int64_t{b} ? 1 : 0); });
  check("vset.u32.u32.ge %d, %a.h1, %b.h0;",
        [](uint32_t a, uint32_t b, uint32_t) { return u16_of(a, 1) >= u16_of(b, 0) ? 1 : 0; });
}

TEST_F(VideoTest, ShiftsClampOrWrap) {
  check("vshl.u32.u32.u32.clamp %d, %a, %b;",
        [](uint32_t a, uint32_t b, uint32_t) { return b >= 32 ? uint64_t{0} : uint64_t{a} << b; });
  check("vshl.u32.u32.u32.sat.wrap %d, %a, %b;", [](uint32_t a, uint32_t b, uint32_t) {
    return std::min<uint64_t>(uint64_t{a} << (b & 31), UINT32_MAX);
  });
  check("vshl.s32.s32.u32.sat.clamp %d, %a, %b;", [](uint32_t a, uint32_t b, uint32_t) {
    const __int128 shifted = static_cast<__int128>(s32_of(a)) << std::min(b, 32u);
    return static_cast<int64_t>(std::clamp<__int128>(shifted, INT32_MIN, INT32_MAX));
  });
  check("vshr.s32.s32.u32.clamp %d, %a, %b;",
        [](uint32_t a, uint32_t b, uint32_t) { return s32_of(a) >> std::min(b, 32u); });
  check("vshr.u32.u32.u32.clamp.add %d, %a, %b, %c;",
        [](uint32_t a, uint32_t b, uint32_t c) { return (uint64_t{a} >> std::min(b, 32u)) + c; });
  check("vshr.u32.s32.u32.wrap %d, %a.h1, %b.b2;",
        [](uint32_t a, uint32_t b, uint32_t) { return s16_of(a, 1) >> (u8_of(b, 2) & 31); });
}

TEST_F(VideoTest, MultiplyAddScalesAndNegates) {
  using Wide = __int128;
  check("vmad.s32.s32.s32 %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return static_cast<int64_t>(Wide{s32_of(a)} * s32_of(b) + s32_of(c));
  });
  check("vmad.u32.u32.u32.shr15 %d, %a.h0, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return static_cast<int64_t>((Wide{u16_of(a, 0)} * b + c) >> 15);
  });
  check("vmad.s32.s32.u32.sat.shr7 %d, -%a, %b.b1, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return s32_clamp(static_cast<int64_t>((-Wide{s32_of(a)} * u8_of(b, 1) + s32_of(c)) >> 7));
  });
  check("vmad.u32.u32.u32.sat %d, %a, %b, -%c;", [](uint32_t a, uint32_t b, uint32_t c) {
    const Wide sum = Wide{a} * b - s32_of(c);
    // 64 bits of it are looked at.
    return s32_clamp(static_cast<int64_t>(sum));
  });
  check("vmad.u32.u32.u32.po.sat %d, %a.h1, %b.h1, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    return std::min<int64_t>(u16_of(a, 1) * u16_of(b, 1) + c + 1, UINT32_MAX);
  });
}

TEST_F(VideoTest, PairsAndQuadsOfElements) {
  auto bytes = [](auto f) {
    return [f](uint32_t a, uint32_t b, uint32_t c) {
      uint32_t d = 0;
      for (int k = 0; k < 4; ++k) d |= (static_cast<uint32_t>(f(a, b, c, k)) & 0xff) << (8 * k);
      return d;
    };
  };
  auto halves = [](auto f) {
    return [f](uint32_t a, uint32_t b, uint32_t c) {
      return (static_cast<uint32_t>(f(a, b, c, 0)) & 0xffff) | static_cast<uint32_t>(f(a, b, c, 1))
                                                                   << 16;
    };
  };
  check("vadd4.u32.u32.u32.sat %d, %a, %b, %c;", bytes([](uint32_t a, uint32_t b, uint32_t, int k) {
          return std::min<int64_t>(u8_of(a, k) + u8_of(b, k), 255);
        }));
  check("vsub4.s32.s32.s32 %d, %a, %b, %c;",
        bytes([](uint32_t a, uint32_t b, uint32_t, int k) { return s8_of(a, k) - s8_of(b, k); }));
  check("vavrg4.s32.s32.s32 %d, %a, %b, %c;", bytes([](uint32_t a, uint32_t b, uint32_t, int k) {
          const int64_t sum = s8_of(a, k) + s8_of(b, k);
          return sum >= 0 ? (sum + 1) / 2 : -((1 - sum) / 2);
        }));
  check("vabsdiff4.u32.u32.u32.add %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    for (int k = 0; k < 4; ++k) c += static_cast<uint32_t>(std::abs(u8_of(a, k) - u8_of(b, k)));
    return c;
  });
  check("vmin4.s32.s32.s32 %d.b20, %a, %b, %c;",
        bytes([](uint32_t a, uint32_t b, uint32_t c, int k) {
          return k % 2 == 1 ? u8_of(c, k) : std::min(s8_of(a, k), s8_of(b, k));
        }));
  check("vset4.u32.u32.gt.add %d.b310, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
    for (int k : {0, 1, 3}) c += u8_of(a, k) > u8_of(b, k) ? 1 : 0;
    return c;
  });
  check("vadd2.s32.s32.s32.sat %d, %a, %b, %c;",
        halves([](uint32_t a, uint32_t b, uint32_t, int k) {
          return std::clamp<int64_t>(s16_of(a, k) + s16_of(b, k), -0x8000, 0x7fff);
        }));
  // Results 1 and 0 from elements 3 and 0 of b:a, and 1 and 2.
  check("vmax2.u32.u32.u32 %d, %a.h30, %b.h12, %c;",
        halves([](uint32_t a, uint32_t b, uint32_t, int k) {
          return k == 1 ? std::max(u16_of(b, 1), u16_of(a, 1))
                        : std::max(u16_of(a, 0), u16_of(b, 0));
        }));
  check("vabsdiff2.s32.s32.s32 %d.h1, %a, %b, %c;",
        halves([](uint32_t a, uint32_t b, uint32_t c, int k) {
          return k == 0 ? u16_of(c, 0) : std::abs(s16_of(a, 1) - s16_of(b, 1));
        }));
  check("vavrg2.u32.u32.u32 %d, %a, %b, %c;", halves([](uint32_t a, uint32_t b, uint32_t, int k) {
          return (u16_of(a, k) + u16_of(b, k) + 1) / 2;
        }));
}

TEST_F(VideoTest, WhatDoesNotExistIsRefused) {
  auto message = [&](const std::string& instruction) {
    const LoadError error = harness_.device().load_error(
        ".version 9.0\n.target sm_75\n.address_size 64\n.entry k() { .reg .b32 %a, %b, %c, %d;\n " +
        instruction + " }");
    EXPECT_EQ(error.line, 5) << instruction;
    return error.message;
  };
  EXPECT_THAT(message("vadd.u32.u32.u32 %d, %a.b4, %b;"), HasSubstr("no such part"));
  EXPECT_THAT(message("vadd2.u32.u32.u32 %d, %a.b10, %b, %c;"), HasSubstr("no such part"));
  EXPECT_THAT(message("vmad.u32.u32.u32 %d, -%a, %b, -%c;"), HasSubstr("'-'"));
  EXPECT_THAT(message("vadd.u32.u32.u32 %d, -%a, %b;"), HasSubstr("'-'"));
  EXPECT_THAT(message("vshl.u32.u32.u32 %d, %a, %b;"), HasSubstr(".clamp"));
  EXPECT_THAT(message("add.u32 %d, %a.b0, %b;"), HasSubstr("part '.b0' of a register"));
  EXPECT_THAT(message("vadd.u32.u32.f32 %d, %a, %b;"), HasSubstr("types"));
}

}  // namespace
}  // namespace farcall::softgpu
