// suld, sust and sured: every geometry, size and way to treat what is outside.
#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "softgpu/exec/handlers/image_harness.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

struct Geometry {
  const char* name;
  const char* coordinates;  // of %r0 x in bytes, %r1 y, %r2 z or layer
  u32 height, depth, layers;
};
constexpr Geometry kGeometries[] = {{"1d", "{%r0}", 1, 1, 1},
                                    {"2d", "{%r0, %r1}", 5, 1, 1},
                                    {"3d", "{%r0, %r1, %r2, %r2}", 5, 3, 1},
                                    {"a1d", "{%r2, %r0}", 1, 1, 3},
                                    {"a2d", "{%r2, %r0, %r1, %r1}", 5, 1, 3}};
struct Size {
  const char* suffix;  // of the instruction
  const char* values;
  u32 bytes;
  const char* after;  // into %d0 to %d3
};
const Size kSizes[] = {
    {"b8", "{%h0}", 1, "cvt.u32.u16 %d0, %h0;"},
    {"b16", "{%h0}", 2, "cvt.u32.u16 %d0, %h0;"},
    {"b32", "{%d0}", 4, ""},
    {"b64", "{%w}", 8, "mov.b64 {%d0, %d1}, %w;"},
    {"v2.b8", "{%h0, %h1}", 2, "mov.b32 %d0, {%h0, %h1};"},
    {"v4.b16", "{%h0, %h1, %h2, %h3}", 8, "mov.b32 %d0, {%h0, %h1};\n mov.b32 %d1, {%h2, %h3};"},
    {"v4.b32", "{%d0, %d1, %d2, %d3}", 16, ""},
};

TEST(Surface, LoadsBytesOfEverySizeFromEveryGeometry) {
  ImageHarness harness;
  std::mt19937 random(1);
  for (const Geometry& g : kGeometries) {
    TestImage image({TexelType::kFloat, 4}, 6, g.height, g.depth, g.layers);  // 96 bytes a row
    image.fill_with_bytes(random);
    harness.bind_surface(image);
    for (const Size& size : kSizes) {
      for (const char* mode : {"trap", "clamp", "zero"}) {
        const bool beyond = std::string(mode) != "trap";
        std::vector<Fetch> fetches;
        for (int k = 0; k < 200; ++k) {
          const auto pick = [&](u32 n) {
            return static_cast<int>(random() % (n + (beyond ? 4 : 0))) - (beyond ? 2 : 0);
          };
          fetches.push_back(Fetch{}
                                .integer(0, pick(96 / size.bytes) * static_cast<int>(size.bytes))
                                .integer(1, pick(g.height))
                                .integer(2, pick(g.depth * g.layers)));
        }
        const auto got =
            harness.run(std::string("suld.b.") + g.name + "." + size.suffix + "." + mode + " " +
                            size.values + ", [%image, " + g.coordinates + "];\n " + size.after,
                        fetches, ImageHarness::kSurface);
        ASSERT_EQ(got.size(), fetches.size());
        for (size_t k = 0; k < got.size(); ++k) {
          int at[3];
          for (int c = 0; c < 3; ++c) at[c] = std::bit_cast<int>(fetches[k].f[c]);
          if (g.height == 1) at[1] = 0;
          if (g.depth * g.layers == 1) at[2] = 0;
          const int ends[] = {96 - static_cast<int>(size.bytes), static_cast<int>(g.height) - 1,
                              static_cast<int>(g.depth * g.layers) - 1};
          bool inside = true;
          for (int c = 0; c < 3; ++c) {
            inside = inside && at[c] >= 0 && at[c] <= ends[c];
            at[c] = std::clamp(at[c], 0, ends[c]);
          }
          u8 want[16] = {};
          if (inside || std::string(mode) == "clamp") {
            const u8* from =
                image.texel(0, static_cast<u32>(at[1]), static_cast<u32>(at[2])) + at[0];
            if (std::string(size.suffix) == "v2.b8") {  // bytes in halves of the result
              want[0] = from[0], want[2] = from[1];
            } else {
              std::memcpy(want, from, size.bytes);
            }
          }
          EXPECT_EQ(std::memcmp(want, got[k].bits, 16), 0)
              << g.name << " " << size.suffix << " " << mode << " at " << at[0] << " " << at[1]
              << " " << at[2];
        }
      }
    }
  }
}

TEST(Surface, StoresGoWhereLoadsComeFrom) {
  ImageHarness harness;
  for (const Geometry& g : kGeometries) {
    TestImage image({TexelType::kUnsigned32, 2}, 4, g.height, g.depth, g.layers);
    harness.bind_surface(image);
    const u32 planes = g.depth * g.layers;
    std::vector<Fetch> fetches;
    for (u32 k = 0; k < 4 * g.height * planes; ++k) {
      fetches.push_back(Fetch{}
                            .integer(0, static_cast<int>(k % 4 * 8))
                            .integer(1, static_cast<int>(k / 4 % g.height))
                            .integer(2, static_cast<int>(k / 4 / g.height))
                            .integer(3, static_cast<int>(1000 + k))
                            .integer(4, static_cast<int>(~k)));
    }
    // And some that .zero drops.
    fetches.push_back(Fetch{}.integer(0, -8).integer(3, 77));
    fetches.push_back(Fetch{}.integer(0, 32).integer(3, 77));
    if (g.height > 1) fetches.push_back(Fetch{}.integer(1, 5).integer(3, 77));
    if (planes > 1) fetches.push_back(Fetch{}.integer(2, 3).integer(3, 77));
    const auto before = image.memory;
    harness.run(std::string("sust.b.") + g.name + ".v2.b32.zero [%image, " + g.coordinates +
                    "], {%r3, %r4};",
                fetches, ImageHarness::kSurface);
    size_t changed = 0;
    for (u32 k = 0; k < 4 * g.height * planes; ++k) {
      u32 words[2];
      std::memcpy(words, image.texel(k % 4, k / 4 % g.height, k / 4 / g.height), 8);
      EXPECT_EQ(words[0], 1000 + k);
      EXPECT_EQ(words[1], ~k);
    }
    for (size_t k = 0; k < before[0].size(); ++k) changed += before[0][k] != image.memory[0][k];
    EXPECT_LE(changed, 8u * 4 * g.height * planes);  // and nothing else
  }
}

TEST(Surface, StoresOfEverySize) {
  ImageHarness harness;
  const std::pair<const char*, const char*> cases[] = {
      {"b8", "cvt.u16.u32 %h0, %r1;\n sust.b.1d.b8.trap [%image, {%r0}], {%h0};"},
      {"b16", "cvt.u16.u32 %h0, %r1;\n sust.b.1d.b16.trap [%image, {%r0}], {%h0};"},
      {"b64", "mov.b64 %w, {%r1, %r2};\n sust.b.1d.b64.trap [%image, {%r0}], {%w};"},
      {"v4.b32", "sust.b.1d.v4.b32.trap [%image, {%r0}], {%r1, %r2, %r1, %r2};"}};
  const u32 bytes[] = {1, 2, 8, 16};
  for (int c = 0; c < 4; ++c) {
    TestImage image({TexelType::kUnsigned8, 1}, 64);
    harness.bind_surface(image);
    harness.run(cases[c].second,
                {Fetch{}.integer(0, 32).integer(1, 0x81726354).integer(2, 0x1f2e3d4c)},
                ImageHarness::kSurface);
    const u32 words[] = {0x81726354, 0x1f2e3d4c, 0x81726354, 0x1f2e3d4c};
    EXPECT_EQ(std::memcmp(image.texel(32), words, bytes[c]), 0) << cases[c].first;
    EXPECT_EQ(*image.texel(31), 0);
    EXPECT_EQ(*image.texel(32 + bytes[c]), 0);
  }
}

TEST(Surface, OutsideTraps) {
  ImageHarness harness;
  TestImage image({TexelType::kFloat, 1}, 4, 4);
  harness.bind_surface(image);
  constexpr const char* kLoad = "suld.b.2d.b32.trap {%d0}, [%image, {%r0, %r1}];";
  constexpr const char* kStore = "sust.b.2d.b32.trap [%image, {%r0, %r1}], {%r2};";
  for (const char* code : {kLoad, kStore}) {
    for (const auto& [x, y] : {std::pair(-4, 0), {16, 0}, {0, -1}, {0, 4}, {2147483644, 0}}) {
      const auto fault =
          harness.fault(code, Fetch{}.integer(0, x).integer(1, y), ImageHarness::kSurface);
      ASSERT_TRUE(fault) << x << " " << y;
      EXPECT_EQ(fault->kind, Fault::Kind::kTrap);
      EXPECT_THAT(fault->message, HasSubstr("outside of the surface"));
    }
    EXPECT_FALSE(harness.fault(code, Fetch{}.integer(0, 12).integer(1, 3), ImageHarness::kSurface));
    const auto misaligned = harness.fault(code, Fetch{}.integer(0, 2), ImageHarness::kSurface);
    ASSERT_TRUE(misaligned);
    EXPECT_EQ(misaligned->kind, Fault::Kind::kMisaligned);
    const auto none = harness.fault(code, {}, ImageHarness::kTexture);
    ASSERT_TRUE(none);
    EXPECT_THAT(none->message, HasSubstr("no surface has this number"));
  }
}

TEST(Surface, ReductionsAreAtomic) {
  ImageHarness harness;
  TestImage image({TexelType::kUnsigned32, 1}, 8, 2);
  harness.bind_surface(image);
  const auto word = [&](u32 x) {
    u32 value;
    std::memcpy(&value, image.texel(x, 1), 4);
    return value;
  };
  std::vector<Fetch> fetches;
  for (int k = 0; k < 2000; ++k)
    fetches.push_back(Fetch{}.integer(0, 4).integer(1, 1).integer(2, k - 500));
  harness.run("sured.b.2d.add.u32.trap [%image, {%r0, %r1}], %r2;", fetches,
              ImageHarness::kSurface);
  EXPECT_EQ(word(1), 2000u * 1999 / 2 - 2000 * 500);
  harness.run("sured.b.2d.min.s32.clamp [%image, {8, %r1}], %r2;", fetches, ImageHarness::kSurface);
  EXPECT_EQ(static_cast<s32>(word(2)), -500);
  harness.run("sured.b.2d.max.u32.clamp [%image, {12, %r1}], %r2;", fetches,
              ImageHarness::kSurface);
  EXPECT_EQ(word(3), ~0u);
  harness.run("sured.b.2d.or.b32.zero [%image, {16, %r1}], %r2;", {fetches[500], fetches[507]},
              ImageHarness::kSurface);
  EXPECT_EQ(word(4), 7u);
  harness.run("sured.b.2d.and.b32.zero [%image, {16, %r1}], 5;", {fetches[0]},
              ImageHarness::kSurface);
  EXPECT_EQ(word(4), 5u);
  // .p counts texels. What is outside is dropped.
  harness.run("sured.p.2d.add.b32.trap [%image, {5, %r1}], 9;", {fetches[0]},
              ImageHarness::kSurface);
  EXPECT_EQ(word(5), 9u);
  harness.run("sured.b.2d.add.u32.zero [%image, {32, %r1}], 9;", {fetches[0]},
              ImageHarness::kSurface);
  TestImage wide({TexelType::kUnsigned32, 2}, 2, 1);
  harness.bind_surface(wide);
  harness.run("mov.b64 %w, {0, 1};\n sured.b.1d.add.u64.trap [%image, {8}], %w;", {{}, {}, {}},
              ImageHarness::kSurface);
  u64 value;
  std::memcpy(&value, wide.texel(1), 8);
  EXPECT_EQ(value, u64{3} << 32);
}

TEST(Surface, FormattedStoresConvert) {
  ImageHarness harness;
  const auto stored = [&](TexelFormat format, const std::vector<u32>& bits) {
    TestImage image(format, 2);
    harness.bind_surface(image);
    Fetch fetch;
    for (size_t k = 0; k < bits.size(); ++k)
      fetch.integer(static_cast<int>(k), static_cast<int>(bits[k]));
    harness.run("sust.p.1d.v4.b32.trap [%image, {1}], {%r0, %r1, %r2, %r3};", {fetch},
                ImageHarness::kSurface);
    return std::vector<u8>(image.texel(1), image.texel(1) + format.bytes());
  };
  const auto f = [](float v) { return std::bit_cast<u32>(v); };
  using testing::ElementsAre;
  EXPECT_THAT(stored({TexelType::kUnsigned8, 4}, {0, 255, 256, ~0u}),
              ElementsAre(0, 255, 255, 255));
  EXPECT_THAT(
      stored({TexelType::kSigned8, 4}, {127, 128, static_cast<u32>(-128), static_cast<u32>(-129)}),
      ElementsAre(127, 127, 128, 128));
  EXPECT_THAT(stored({TexelType::kUnorm8, 4}, {f(0), f(0.5f), f(2), f(-1)}),
              ElementsAre(0, 128, 255, 0));
  EXPECT_THAT(stored({TexelType::kHalf, 1}, {f(1.5f), 0, 0, 0}), ElementsAre(0x00, 0x3e));
  EXPECT_THAT(stored({TexelType::kFloat, 1}, {f(-2), 0, 0, 0}), ElementsAre(0, 0, 0, 0xc0));
}

TEST(Surface, WhatIsNotThereIsRefused) {
  ImageHarness harness;
  const auto refused = [&](const std::string& code, const char* why) {
    EXPECT_THAT(harness.refusal(code), HasSubstr(why)) << code;
  };
  refused("suld.p.2d.v4.b32.trap {%d0, %d1, %d2, %d3}, [%image, {%r0, %r1}];", "formatted load");
  refused("suld.b.2d.v4.b64.trap {%w, %w, %w, %w}, [%image, {%r0, %r1}];", "16 bytes");
  refused("suld.b.cube.b32.trap {%d0}, [%image, {%r0, %r1}];", "geometry");
  refused("sured.b.1d.add.f32.trap [%image, {%r0}], %f0;", "type");
  refused("sured.b.1d.xor.b32.trap [%image, {%r0}], %r1;", "operation");
  refused("sust.b.2d.b32.trap [%image, {%r0}], {%r2};", "too few coordinates");
}

}  // namespace
}  // namespace farcall::softgpu
