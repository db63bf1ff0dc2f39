// Mipmaps, cubemaps, queries, and what is no texture: faults and refusals.
#include <gmock/gmock.h>

#include <cmath>

#include "softgpu/exec/handlers/image_harness.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

constexpr TexelFormat kFloat1{TexelType::kFloat, 1};
constexpr const char* kLevel =
    "tex.level.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}], %f2;";

// Every texel of level k holds 100 to the... simply 10 * k, so a result tells its level.
TestImage steps(unsigned levels, u32 size) {
  TestImage image(kFloat1, size, size, 1, 1, levels);
  for (unsigned k = 0; k < levels; ++k) {
    for (u32 y = 0; y < image.image.levels[k].height; ++y) {
      for (u32 x = 0; x < image.image.levels[k].width; ++x)
        *image.floats(x, y, 0, k) = 10 * static_cast<float>(k);
    }
  }
  return image;
}
Sampler mipmap_sampler(bool linear_mipmap) {
  Sampler s;
  s.normalized_coordinates = true;
  s.linear_mipmap = linear_mipmap;
  s.level_max = 100;
  return s;
}

TEST(TextureLevel, TheNearestLevelOrBetweenTwo) {
  ImageHarness harness;
  const TestImage image = steps(5, 16);
  const std::vector<float> levels = {0,    0.25f, 0.49f, 0.5f, 0.75f, 1,         1.5f,     2.3f,
                                     3.9f, 4,     4.6f,  9,    -1,    -INFINITY, INFINITY, NAN};
  std::vector<Fetch> fetches;
  for (const float level : levels) fetches.push_back({0.5f, 0.5f, level});
  harness.bind(image, mipmap_sampler(false));
  auto got = harness.run(kLevel, fetches);
  const float nearest[] = {0, 0, 0, 10, 10, 10, 20, 20, 40, 40, 40, 40, 0, 0, 40, 0};
  for (size_t k = 0; k < levels.size(); ++k) EXPECT_EQ(got[k].f(0), nearest[k]) << levels[k];
  harness.bind(image, mipmap_sampler(true));
  got = harness.run(kLevel, fetches);
  for (size_t k = 0; k < levels.size(); ++k) {
    const float level = std::isnan(levels[k]) ? 0 : std::clamp(levels[k], 0.0f, 4.0f);
    EXPECT_FLOAT_EQ(got[k].f(0), 10 * std::floor(level * 256 + 0.5f) / 256) << levels[k];
  }
}

TEST(TextureLevel, BiasAndClampsApply) {
  ImageHarness harness;
  const TestImage image = steps(5, 16);
  Sampler s = mipmap_sampler(true);
  s.level_bias = 0.5f;
  s.level_min = 1;
  s.level_max = 2.75f;
  harness.bind(image, s);
  const auto got = harness.run(kLevel, {{0, 0, 0}, {0, 0, 1}, {0, 0, 2}, {0, 0, 3}});
  EXPECT_FLOAT_EQ(got[0].f(0), 10);
  EXPECT_FLOAT_EQ(got[1].f(0), 15);
  EXPECT_FLOAT_EQ(got[2].f(0), 25);
  EXPECT_FLOAT_EQ(got[3].f(0), 27.5f);
  // Without a level it is the first, within the clamps.
  const auto base =
      harness.run("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];", {{0, 0}});
  EXPECT_FLOAT_EQ(base[0].f(0), 10);
}

TEST(TextureLevel, GradientsGiveTheLevel) {
  ImageHarness harness;
  const TestImage image = steps(5, 16);
  harness.bind(image, mipmap_sampler(true));
  // d/dx in %f2, %f3, d/dy in %f4, %f5: the longer one counts, in texels of the first level.
  const std::vector<Fetch> fetches = {{0, 0, 1 / 16.0f, 0, 0, 0},
                                      {0, 0, 0, 2 / 16.0f, 0, 0},
                                      {0, 0, 0, 0, 3 / 16.0f, 4 / 16.0f},
                                      {0, 0, 4 / 16.0f, 0, 0, 8 / 16.0f},
                                      {0, 0, 0, 0, 0, 0},
                                      {0, 0, 100, 0, 0, 0}};
  const auto got = harness.run(
      "tex.grad.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}], {%f2, %f3}, {%f4, %f5};",
      fetches);
  const double levels[] = {0, 1, std::log2(5), 3, 0, 4};
  for (size_t k = 0; k < got.size(); ++k)
    EXPECT_NEAR(static_cast<double>(got[k].f(0)), 10 * levels[k], 10.0 / 256) << k;
}

// ---- cubemaps ----

// Faces whose texels are face + small numbers of their own.
TestImage cube(u32 size, u32 cubes) {
  TestImage image(kFloat1, size, size, 1, 6 * cubes);
  image.image.cubemap = true;
  image.image.layered = cubes > 1;
  for (u32 plane = 0; plane < 6 * cubes; ++plane) {
    for (u32 y = 0; y < size; ++y) {
      for (u32 x = 0; x < size; ++x)
        *image.floats(x, y, plane) = static_cast<float>(1000 * plane + 10 * y + x);
    }
  }
  return image;
}

// The guide's table, row by row: m, s and t of a direction.
struct Row {
  int face;
  double m, s, t;
};
Row row_of(const float* d) {
  const double x = static_cast<double>(d[0]), y = static_cast<double>(d[1]),
               z = static_cast<double>(d[2]);
  const double ax = std::fabs(x), ay = std::fabs(y), az = std::fabs(z);
  if (ax > ay && ax > az) return x >= 0 ? Row{0, x, -z, -y} : Row{1, -x, z, -y};
  if (ay > ax && ay > az) return y >= 0 ? Row{2, y, x, z} : Row{3, -y, x, -z};
  return z >= 0 ? Row{4, z, x, -y} : Row{5, -z, -x, -y};
}

TEST(TextureCube, DirectionsMeetTheFacesOfTheGuidesTable) {
  ImageHarness harness;
  std::mt19937 random(11);
  std::normal_distribution<float> any(0, 1);
  for (const u32 cubes : {1u, 3u}) {
    const TestImage image = cube(5, cubes);
    harness.bind(image, {});
    std::vector<Fetch> fetches;
    for (int k = 0; k < 600; ++k)
      fetches.push_back(Fetch{any(random), any(random), any(random)}.integer(3, k % 4));
    const auto got = harness.run(
        cubes == 1 ? "tex.cube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];"
                   : "tex.acube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%r3, %f0, %f1, %f2}];",
        fetches);
    for (size_t k = 0; k < got.size(); ++k) {
      const Row row = row_of(fetches[k].f);
      const auto texel = [&](double v) {
        return std::min(std::floor((v / row.m + 1) / 2 * 5), 4.0);
      };
      const u32 layer = cubes == 1 ? 0 : std::min<u32>(k % 4, 2);
      EXPECT_EQ(static_cast<double>(got[k].f(0)),
                1000 * (6 * layer + row.face) + 10 * texel(row.t) + texel(row.s));
    }
  }
}

TEST(TextureCube, SeamlessFilteringGoesOverEdges) {
  ImageHarness harness;
  TestImage image(kFloat1, 4, 4, 1, 6);
  image.image.cubemap = true;
  image.image.layered = false;
  for (u32 face = 0; face < 6; ++face) {
    for (u32 y = 0; y < 4; ++y) {
      for (u32 x = 0; x < 4; ++x) *image.floats(x, y, face) = static_cast<float>(face * face);
    }
  }
  Sampler s;
  s.linear_filter = s.normalized_coordinates = s.seamless = true;
  harness.bind(image, s);
  // Middles of edges: half of each face. A corner: a third of each. A middle of a face: that alone.
  const std::vector<Fetch> fetches = {{1, 1, 0},  {1, 0, 1}, {1, -1, 0},   {-1, 0, -1},
                                      {0, 1, -1}, {1, 1, 1}, {-1, -1, -1}, {0, 0, -1}};
  const auto got = harness.run(
      "tex.cube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];", fetches);
  const float want[] = {2, 8, 4.5f, 13, 14.5f, 20 / 3.0f, 35 / 3.0f, 25};
  for (size_t k = 0; k < fetches.size(); ++k) EXPECT_FLOAT_EQ(got[k].f(0), want[k]) << k;
  // A quarter of a texel over the edge, along it: neighbours of the right rows.
  TestImage rows(kFloat1, 4, 4, 1, 6);
  rows.image.cubemap = true;
  for (u32 y = 0; y < 4; ++y) {
    for (u32 x = 0; x < 4; ++x) {
      *rows.floats(x, y, 4) = 1;                                      // +z
      *rows.floats(x, y, 0) = x == 0 ? static_cast<float>(y) : -100;  // +x meets it at its left
    }
  }
  harness.bind(rows, s);
  const float edge = 1 - 1 / 16.0f;  // s of +z, an eighth of a texel from the edge
  std::vector<Fetch> along;
  for (int y = 0; y < 4; ++y) along.push_back({edge, 1 - (static_cast<float>(y) + 0.5f) / 2, 1});
  const auto mixed = harness.run(
      "tex.cube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];", along);
  for (int y = 0; y < 4; ++y) {
    EXPECT_FLOAT_EQ(mixed[static_cast<size_t>(y)].f(0),
                    0.625f * 1 + 0.375f * static_cast<float>(y));
  }
}

TEST(TextureCube, StrangeDirectionsAreHarmless) {
  ImageHarness harness;
  for (const bool seamless : {false, true}) {
    const TestImage image = cube(3, 1);
    Sampler s;
    s.linear_filter = s.normalized_coordinates = true;
    s.seamless = seamless;
    harness.bind(image, s);
    const float odd[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, 1e-45f, 1};
    std::vector<Fetch> fetches;
    for (const float x : odd) {
      for (const float y : odd) {
        for (const float z : odd) fetches.push_back({x, y, z});
      }
    }
    for (const auto& got :
         harness.run("tex.cube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];",
                     fetches)) {
      EXPECT_GE(got.f(0), 0);
      EXPECT_LE(got.f(0), 5022);
    }
  }
}

// ---- queries ----

TEST(TextureQuery, SaysWhatTheTextureIs) {
  ImageHarness harness;
  TestImage image({TexelType::kUnsigned16, 2}, 64, 32, 1, 5, 3);
  Sampler s;
  s.normalized_coordinates = s.linear_filter = s.read_normalized = true;
  harness.bind(image, s);
  const auto got = harness.run(
      "txq.width.b32 %d0, [%image];\n txq.height.b32 %d1, [%image];\n"
      " txq.array_size.b32 %d2, [%image];\n txq.num_mipmap_levels.b32 %d3, [%image];",
      {{}});
  EXPECT_THAT(got[0].bits, testing::ElementsAre(64, 32, 5, 3));
  const auto more = harness.run(
      "txq.level.width.b32 %d0, [%image], 2;\n txq.channel_data_type.b32 %d1, [%image];\n"
      " txq.channel_order.b32 %d2, [%image];\n txq.normalized_coords.b32 %d3, [%image];",
      {{}});
  EXPECT_THAT(more[0].bits, testing::ElementsAre(16, 0x10d3, 0x10b2, 1));
  harness.bind_surface(image);
  const auto surface = harness.run(
      "suq.width.b32 %d0, [%image];\n suq.height.b32 %d1, [%image];\n"
      " suq.channel_data_type.b32 %d2, [%image];\n suq.array_size.b32 %d3, [%image];",
      {{}}, ImageHarness::kSurface);
  EXPECT_THAT(surface[0].bits, testing::ElementsAre(64, 32, 0x10db, 5));
  const char* const tests =
      "istypep.texref %p, %image;\n selp.u32 %d0, 1, 0, %p;\n"
      " istypep.surfref %p, %image;\n selp.u32 %d1, 1, 0, %p;";
  EXPECT_THAT(harness.run(tests, {{}})[0].bits, testing::ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(harness.run(tests, {{}}, ImageHarness::kSurface)[0].bits,
              testing::ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(harness.run(tests, {{}}, 12345)[0].bits, testing::ElementsAre(0, 0, 0, 0));
}

// ---- what goes wrong ----

constexpr const char* kFetch = "tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];";

TEST(TextureFault, ANumberThatIsNoTextureIsAFault) {
  ImageHarness harness;
  const TestImage image = steps(1, 4);
  harness.bind(image, {});
  harness.bind_surface(image);
  for (const uint64_t number : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}, ImageHarness::kTexture + 1,
                                ImageHarness::kSurface}) {
    const auto fault = harness.fault(kFetch, {}, number);
    ASSERT_TRUE(fault) << number;
    EXPECT_EQ(fault->kind, Fault::Kind::kIllegalAddress);
    EXPECT_EQ(fault->address, number);
    EXPECT_THAT(fault->message, HasSubstr("no texture has this number"));
    EXPECT_THAT(fault->message, HasSubstr("kernel k"));
    EXPECT_THAT(fault->message, HasSubstr("thread (0,0,0)"));
  }
  harness.device.memory.set_texture(ImageHarness::kTexture, nullptr);  // destroyed
  EXPECT_TRUE(harness.fault(kFetch, {}, ImageHarness::kTexture));
}

TEST(TextureFault, ACubemapsFetchNeedsACubemap) {
  ImageHarness harness;
  const TestImage image = steps(1, 4);
  harness.bind(image, {});
  const auto fault =
      harness.fault("tex.cube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];",
                    {1, 0, 0}, ImageHarness::kTexture);
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("cubemap"));
}

// Other geometries find something sensible: a row, or the first layer.
TEST(TextureFault, GeometriesThatDifferReadInside) {
  ImageHarness harness;
  TestImage image = cube(4, 2);
  harness.bind(image, {});
  const std::vector<Fetch> fetches = {{1, 2, 3}};
  EXPECT_EQ(
      harness.run("tex.1d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];", fetches)[0].f(0), 1);
  EXPECT_EQ(harness.run(kFetch, fetches)[0].f(0), 21);
  EXPECT_EQ(harness
                .run("tex.3d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];",
                     fetches)[0]
                .f(0),
            21);
}

TEST(TextureFault, MemoryThatIsGoneIsAFaultOfItsThread) {
  ImageHarness harness;
  auto memory = harness.device.array<float>(1024);
  TestImage image(kFloat1, 1);
  image.image.linear = true;
  image.image.levels[0].data = reinterpret_cast<u8*>(memory.data());
  image.image.levels[0].width = 1024;
  harness.bind(image, {});
  constexpr const char* kIndex = "tex.1d.v4.f32.s32 {%d0, %d1, %d2, %d3}, [%image, {%r0}];";
  EXPECT_FALSE(harness.fault(kIndex, Fetch{}.integer(0, 1023), ImageHarness::kTexture));
  harness.device.memory.deallocate(memory.data());
  const auto fault = harness.fault(kIndex, Fetch{}.integer(0, 1023), ImageHarness::kTexture);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kIllegalAddress);
  EXPECT_THAT(fault->message, HasSubstr("thread (0,0,0)"));
}

TEST(TextureRefusal, WhatIsNotThereSaysSo) {
  ImageHarness harness;
  const auto refused = [&](const std::string& code, const char* why) {
    EXPECT_THAT(harness.refusal(code), HasSubstr(why)) << code;
  };
  refused("tex.2dms.v4.f32.s32 {%d0, %d1, %d2, %d3}, [%image, {%r0, %r1, %r2, %r2}];", "geometry");
  refused("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, %image, {%f0, %f1}];", "sampler");
  refused("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}], {1, 1}, %f2;", "depth");
  refused("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}], %f2;", "depth");
  refused("tex.2d.v4.f32.f32 {%d0, %d1, %d2}, [%image, {%f0, %f1}];", "4 results");
  refused("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];", "too few coordinates");
  refused("tex.2d.v4.f64.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];", "result type");
  refused("tld4.r.3d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];", "geometry");
  refused("tex.cube.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}], {1, 1, 1};",
          "offsets");
  refused("txq.addr_mode_0.b32 %d0, [%image];", "query");
}

}  // namespace
}  // namespace farcall::softgpu
