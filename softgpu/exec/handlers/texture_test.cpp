// tex and tld4 against the programming guide's formulas, which are written out here once more, in
// long double and tap by tap: addressing and weights of one dimension, then products of those.
#include <cmath>
#include <numeric>

#include "softgpu/exec/handlers/image_harness.h"

namespace farcall::softgpu {
namespace {

using Real = long double;

struct Tap {
  int index;  // -1: border
  Real weight;
};

Real fraction(Real x) { return x - std::floor(x); }

// One dimension of a fetch, by the guide's chapter "Texture Fetching".
std::vector<Tap> taps(TextureAddress mode, float coordinate, bool normalized, int n, bool linear) {
  Real x = std::isnan(coordinate) ? 0 : coordinate;
  if (!normalized && (mode == TextureAddress::kWrap || mode == TextureAddress::kMirror))
    mode = TextureAddress::kClamp;
  if (normalized && mode == TextureAddress::kWrap) x = std::isinf(x) ? 0 : fraction(x);
  if (normalized && mode == TextureAddress::kMirror) {
    const bool even = std::isinf(x) || std::fmod(std::floor(x), 2) == 0;
    const Real f = std::isinf(x) ? 0 : fraction(x);
    x = even ? f : 1 - f;
  }
  if (normalized) x *= n;
  const auto index = [&](Real i) {
    if (mode == TextureAddress::kWrap) return static_cast<int>(std::fmod(i + n, Real(n)));
    if (i >= 0 && i < n) return static_cast<int>(i);
    if (mode == TextureAddress::kBorder) return -1;
    return i < 0 ? 0 : n - 1;
  };
  if (!linear) return {{index(std::floor(x)), 1}};
  const Real b = x - 0.5L;
  if (std::isinf(b)) return {{index(b), 1}};
  const Real a = std::floor(fraction(b) * 256 + 0.5L) / 256;
  return {{index(std::floor(b)), 1 - a}, {index(std::floor(b) + 1), a}};
}

struct Expected {
  Real value[4], magnitude[4];
};

// The sum over all taps; texel(i, j, k, out) gives four channels.
template <class Texel>
Expected expect(const std::vector<Tap>& xs, const std::vector<Tap>& ys, const std::vector<Tap>& zs,
                Texel texel) {
  Expected e{};
  for (const Tap& x : xs) {
    for (const Tap& y : ys) {
      for (const Tap& z : zs) {
        const Real weight = x.weight * y.weight * z.weight;
        float channels[4];
        texel(x.index, y.index, z.index, channels);
        for (int c = 0; c < 4; ++c) {
          e.value[c] += weight * channels[c];
          e.magnitude[c] += std::fabs(weight * channels[c]);
        }
      }
    }
  }
  return e;
}

void compare(const Expected& e, const Fetched& got, const std::string& what) {
  for (int c = 0; c < 4; ++c) {
    EXPECT_NEAR(static_cast<double>(got.f(c)), static_cast<double>(e.value[c]),
                static_cast<double>(e.magnitude[c]) * 1e-7 + 1e-30)
        << what << " channel " << c;
  }
}

std::vector<float> coordinates(std::mt19937& random, bool normalized, float size, size_t count) {
  std::vector<float> values = {0,      -0.0f,      1,         -1,      0.5f,        -0.5f,
                               2,      1.5f,       -1.5f,     1e9f,    -1e9f,       3e38f,
                               -3e38f, INFINITY,   -INFINITY, NAN,     1e-30f,      -1e-30f,
                               1e7f,   16777217.f, -7.25f,    size,    size - 0.5f, size - 1,
                               -size,  0.999999f,  0.25f,     1 / size};
  for (int k = -2; k < 4 * static_cast<int>(size); ++k)
    values.push_back(static_cast<float>(k) / 4 / (normalized ? size : 1));
  std::uniform_real_distribution<float> near(-3, 4);
  while (values.size() < count) values.push_back(near(random) * (normalized ? 1 : size / 3));
  return values;
}

constexpr TextureAddress kModes[] = {TextureAddress::kWrap, TextureAddress::kClamp,
                                     TextureAddress::kMirror, TextureAddress::kBorder};
constexpr TexelFormat kFloat4{TexelType::kFloat, 4};
constexpr float kBorderColor[4] = {10, -20, 30, 0.5f};

Sampler sampler(TextureAddress mode, bool normalized, bool linear) {
  Sampler s;
  s.address[0] = s.address[1] = s.address[2] = mode;
  s.normalized_coordinates = normalized;
  s.linear_filter = linear;
  for (int k = 0; k < 4; ++k) s.border[k] = std::bit_cast<u32>(kBorderColor[k]);
  return s;
}

std::string describe(TextureAddress mode, bool normalized, bool linear, const Fetch& f) {
  return "mode " + std::to_string(static_cast<int>(mode)) + (normalized ? " normalized" : "") +
         (linear ? " linear at " : " point at ") + std::to_string(f.f[0]) + " " +
         std::to_string(f.f[1]) + " " + std::to_string(f.f[2]);
}

// Calls f(mode, normalized, linear) for every way to sample.
template <class F>
void for_each_way(F f) {
  for (const TextureAddress mode : kModes) {
    for (const bool normalized : {false, true}) {
      for (const bool linear : {false, true}) f(mode, normalized, linear);
    }
  }
}

auto texels_of(TestImage& image, u32 first_plane = 0, unsigned level = 0) {
  return [&image, first_plane, level](int i, int j, int k, float* out) {
    if (i < 0 || j < 0 || k < 0) {
      std::copy_n(kBorderColor, 4, out);
    } else {
      std::copy_n(image.floats(static_cast<u32>(i), static_cast<u32>(j),
                               first_plane + static_cast<u32>(k), level),
                  4, out);
    }
  };
}

const std::vector<Tap> kOnly = {{0, 1}};

TEST(Texture, OneDimensionInEveryModeIsAsTheGuideSays) {
  ImageHarness harness;
  std::mt19937 random(1);
  for (const u32 size : {1u, 2u, 7u, 16u}) {
    TestImage image(kFloat4, size);
    image.fill_with_floats(random);
    for_each_way([&](TextureAddress mode, bool normalized, bool linear) {
      harness.bind(image, sampler(mode, normalized, linear));
      std::vector<Fetch> fetches;
      for (const float x : coordinates(random, normalized, static_cast<float>(size), 300))
        fetches.push_back({x});
      const auto got =
          harness.run("tex.1d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];", fetches);
      ASSERT_EQ(got.size(), fetches.size());
      for (size_t k = 0; k < got.size(); ++k) {
        const auto x = taps(mode, fetches[k].f[0], normalized, static_cast<int>(size), linear);
        compare(expect(x, kOnly, kOnly, texels_of(image)), got[k],
                describe(mode, normalized, linear, fetches[k]));
      }
    });
  }
}

TEST(Texture, TwoAndThreeDimensionsAndLayers) {
  ImageHarness harness;
  std::mt19937 random(2);
  TestImage flat(kFloat4, 8, 5), box(kFloat4, 8, 5, 3), layers(kFloat4, 8, 5, 1, 4),
      lines(kFloat4, 8, 1, 1, 4);
  for (TestImage* image : {&flat, &box, &layers, &lines}) image->fill_with_floats(random);
  struct Case {
    TestImage* image;
    const char* code;
    int dimensions;
    bool layered;
  };
  const Case cases[] = {
      {&flat, "tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];", 2, false},
      {&box, "tex.3d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1, %f2, %f2}];", 3, false},
      {&layers, "tex.a2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%r3, %f0, %f1, %f1}];", 2,
       true},
      {&lines, "tex.a1d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%r3, %f0}];", 1, true}};
  for (const Case& c : cases) {
    for_each_way([&](TextureAddress mode, bool normalized, bool linear) {
      harness.bind(*c.image, sampler(mode, normalized, linear));
      const ImageLevel& level = c.image->image.levels[0];
      auto xs = coordinates(random, normalized, static_cast<float>(level.width), 400);
      auto ys = coordinates(random, normalized, static_cast<float>(level.height), 400);
      auto zs = coordinates(random, normalized, static_cast<float>(level.depth), 400);
      std::shuffle(ys.begin(), ys.end(), random);
      std::shuffle(zs.begin(), zs.end(), random);
      std::vector<Fetch> fetches;
      for (size_t k = 0; k < 400; ++k)
        fetches.push_back(Fetch{xs[k], ys[k], zs[k]}.integer(3, static_cast<int>(k % 6)));
      const auto got = harness.run(c.code, fetches);
      ASSERT_EQ(got.size(), fetches.size());
      for (size_t k = 0; k < got.size(); ++k) {
        const float* at = fetches[k].f;
        const auto x = taps(mode, at[0], normalized, static_cast<int>(level.width), linear);
        const auto y = taps(mode, at[1], normalized, static_cast<int>(level.height), linear);
        const auto z = taps(mode, at[2], normalized, static_cast<int>(level.depth), linear);
        // A layer beyond the last is the last.
        const u32 layer = c.layered ? std::min<u32>(k % 6, 3) : 0;
        compare(expect(x, c.dimensions > 1 ? y : kOnly, c.dimensions > 2 ? z : kOnly,
                       texels_of(*c.image, layer)),
                got[k], describe(mode, normalized, linear, fetches[k]) + " in " + c.code);
      }
    });
  }
}

// Dimensions may have modes of their own.
TEST(Texture, EachDimensionHasItsOwnMode) {
  ImageHarness harness;
  std::mt19937 random(3);
  TestImage image(kFloat4, 4, 4);
  image.fill_with_floats(random);
  Sampler s = sampler(TextureAddress::kBorder, true, true);
  s.address[0] = TextureAddress::kMirror;
  s.address[1] = TextureAddress::kWrap;
  harness.bind(image, s);
  std::vector<Fetch> fetches;
  for (int k = 0; k < 200; ++k)
    fetches.push_back({static_cast<float>(k) * 0.037f - 3, static_cast<float>(k) * 0.051f - 4});
  const auto got =
      harness.run("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];", fetches);
  for (size_t k = 0; k < got.size(); ++k) {
    compare(expect(taps(TextureAddress::kMirror, fetches[k].f[0], true, 4, true),
                   taps(TextureAddress::kWrap, fetches[k].f[1], true, 4, true), kOnly,
                   texels_of(image)),
            got[k], std::to_string(k));
  }
}

// ---- formats ----

Real half_value(u16 bits) {
  const int exponent = bits >> 10 & 31, fraction_bits = bits & 1023;
  const Real sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(Real(fraction_bits), -24);
  if (exponent == 31) return fraction_bits != 0 ? NAN : sign * INFINITY;
  return sign * std::ldexp(Real(1024 + fraction_bits), exponent - 25);
}

// Channel `k` of a texel, as a float or as 32 bits.
struct Channel {
  bool is_float;
  Real real;
  u32 bits;
};
Channel channel_of(TexelType type, bool normalized, const u8* texel, unsigned k) {
  const auto real = [](Real v) { return Channel{true, v, 0}; };
  const auto bits = [](s64 v) { return Channel{false, 0, static_cast<u32>(v)}; };
  u16 word;
  std::memcpy(&word, texel + 2 * k, 2);
  u32 wide;
  std::memcpy(&wide, texel + 4 * k, 4);
  const auto byte = texel[k];
  const auto signed_byte = static_cast<s8>(byte);
  const auto signed_word = static_cast<s16>(word);
  switch (type) {
    case TexelType::kUnsigned8:
      return normalized ? real(Real(byte) / 255) : bits(byte);
    case TexelType::kUnorm8:
      return real(Real(byte) / 255);
    case TexelType::kSigned8:
      return normalized ? real(std::max(Real(signed_byte) / 127, Real(-1))) : bits(signed_byte);
    case TexelType::kSnorm8:
      return real(std::max(Real(signed_byte) / 127, Real(-1)));
    case TexelType::kUnsigned16:
      return normalized ? real(Real(word) / 65535) : bits(word);
    case TexelType::kUnorm16:
      return real(Real(word) / 65535);
    case TexelType::kSigned16:
      return normalized ? real(std::max(Real(signed_word) / 32767, Real(-1))) : bits(signed_word);
    case TexelType::kSnorm16:
      return real(std::max(Real(signed_word) / 32767, Real(-1)));
    case TexelType::kUnsigned32:
    case TexelType::kSigned32:
      return bits(wide);
    case TexelType::kHalf:
      return real(half_value(word));
    case TexelType::kFloat:
      return {true, std::bit_cast<float>(wide), wide};
    case TexelType::kUnorm10_10_10_2:
      std::memcpy(&wide, texel, 4);
      return k == 3 ? real(Real(wide >> 30) / 3) : real(Real(wide >> 10 * k & 1023) / 1023);
  }
  return {};
}

void compare_channel(const Channel& want, u32 got, const std::string& what) {
  if (!want.is_float) {
    EXPECT_EQ(got, want.bits) << what;
  } else if (std::isnan(want.real)) {
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(got))) << what;
    if (want.bits != 0) {
      EXPECT_EQ(got, want.bits) << what;  // a float is not touched
    }
  } else {
    EXPECT_EQ(std::bit_cast<float>(got), static_cast<float>(want.real)) << what;
  }
}

constexpr TexelType kTypes[] = {
    TexelType::kUnsigned8,      TexelType::kSigned8,  TexelType::kUnsigned16, TexelType::kSigned16,
    TexelType::kUnsigned32,     TexelType::kSigned32, TexelType::kHalf,       TexelType::kFloat,
    TexelType::kUnorm8,         TexelType::kSnorm8,   TexelType::kUnorm16,    TexelType::kSnorm16,
    TexelType::kUnorm10_10_10_2};

TEST(Texture, EveryFormatIsReadAsItIsOrNormalized) {
  ImageHarness harness;
  std::mt19937 random(4);
  for (const TexelType type : kTypes) {
    for (const unsigned channels : {1u, 2u, 4u}) {
      if (type == TexelType::kUnorm10_10_10_2 && channels != 4) continue;
      constexpr u32 kWidth = 512;
      TestImage image({type, static_cast<u8>(channels)}, kWidth);
      image.fill_with_bytes(random);
      for (u32 k = 0; k < 256; ++k) *image.texel(k) = static_cast<u8>(k);  // every byte
      for (const bool normalized : {false, true}) {
        Sampler s;
        s.read_normalized = normalized;
        harness.bind(image, s);
        std::vector<Fetch> fetches;
        for (u32 k = 0; k < kWidth; ++k) fetches.push_back({static_cast<float>(k) + 0.5f});
        const auto got =
            harness.run("tex.1d.v4.s32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];", fetches);
        for (u32 k = 0; k < kWidth; ++k) {
          bool is_float = false;
          for (unsigned c = 0; c < channels; ++c) {
            const Channel want = channel_of(type, normalized, image.texel(k), c);
            is_float = want.is_float;
            compare_channel(
                want, got[k].bits[c],
                "type " + std::to_string(static_cast<int>(type)) + " texel " + std::to_string(k));
          }
          for (unsigned c = channels; c < 4; ++c) {
            const u32 one = is_float ? std::bit_cast<u32>(1.0f) : 1u;
            EXPECT_EQ(got[k].bits[c], c == 3 ? one : 0u);
          }
        }
      }
    }
  }
}

TEST(Texture, NormalizedTexelsAreFiltered) {
  ImageHarness harness;
  std::mt19937 random(5);
  for (const TexelType type : {TexelType::kUnsigned8, TexelType::kSigned16, TexelType::kHalf}) {
    TestImage image({type, 2}, 16, 16);
    image.fill_with_bytes(random);
    if (type == TexelType::kHalf) {  // finite ones
      for (u8& byte : image.memory[0]) byte &= 0x3f;
    }
    Sampler s = sampler(TextureAddress::kClamp, false, true);
    s.read_normalized = true;
    harness.bind(image, s);
    std::vector<Fetch> fetches;
    std::uniform_real_distribution<float> at(-1, 17);
    for (int k = 0; k < 500; ++k) fetches.push_back({at(random), at(random)});
    const auto got =
        harness.run("tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];", fetches);
    for (size_t k = 0; k < got.size(); ++k) {
      Real want[2] = {}, magnitude[2] = {};
      for (const Tap& x : taps(TextureAddress::kClamp, fetches[k].f[0], false, 16, true)) {
        for (const Tap& y : taps(TextureAddress::kClamp, fetches[k].f[1], false, 16, true)) {
          for (unsigned c = 0; c < 2; ++c) {
            const Real v =
                x.weight * y.weight *
                channel_of(type, true,
                           image.texel(static_cast<u32>(x.index), static_cast<u32>(y.index)), c)
                    .real;
            want[c] += v;
            magnitude[c] += std::fabs(v);
          }
        }
      }
      for (int c = 0; c < 2; ++c) {
        EXPECT_NEAR(static_cast<double>(got[k].f(c)), static_cast<double>(want[c]),
                    static_cast<double>(magnitude[c]) * 1e-7 + 1e-30);
      }
    }
  }
}

TEST(Texture, SrgbIsMadeLinearButNotAlpha) {
  ImageHarness harness;
  TestImage image({TexelType::kUnsigned8, 4}, 256);
  for (u32 k = 0; k < 256; ++k) {
    for (int c = 0; c < 4; ++c) image.texel(k)[c] = static_cast<u8>(k);
  }
  Sampler s;
  s.read_normalized = s.srgb = true;
  harness.bind(image, s);
  std::vector<Fetch> fetches;
  for (u32 k = 0; k < 256; ++k) fetches.push_back({static_cast<float>(k)});
  const auto got = harness.run("tex.1d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];", fetches);
  for (u32 k = 0; k < 256; ++k) {
    const Real c = Real(k) / 255;
    const Real linear = c <= 0.04045L ? c / 12.92L : std::pow((c + 0.055L) / 1.055L, 2.4L);
    for (int channel = 0; channel < 3; ++channel)
      EXPECT_NEAR(static_cast<double>(got[k].f(channel)), static_cast<double>(linear), 1e-7);
    EXPECT_EQ(got[k].f(3), static_cast<float>(c));
  }
}

// Integers have no weighted mean: the nearest, whatever the filter.
TEST(Texture, IntegersAreNotFilteredAndTheirBorderIsBits) {
  ImageHarness harness;
  TestImage image({TexelType::kSigned16, 1}, 4);
  for (u32 k = 0; k < 4; ++k) {
    const auto v = static_cast<s16>(-100 * static_cast<int>(k));
    std::memcpy(image.texel(k), &v, 2);
  }
  Sampler s = sampler(TextureAddress::kBorder, false, true);
  for (u32& bits : s.border) bits = static_cast<u32>(-7);
  harness.bind(image, s);
  const auto got = harness.run("tex.1d.v4.s32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];",
                               {{0.9f}, {1.0f}, {3.99f}, {4.0f}, {-0.01f}});
  const s32 want[] = {0, -100, -300, -7, -7};
  for (size_t k = 0; k < 5; ++k) EXPECT_EQ(static_cast<s32>(got[k].bits[0]), want[k]) << k;
}

TEST(Texture, InfiniteNeighboursOfNoWeightDoNotCount) {
  ImageHarness harness;
  TestImage image({TexelType::kFloat, 1}, 3);
  *image.floats(0) = INFINITY, *image.floats(1) = 5, *image.floats(2) = NAN;
  harness.bind(image, sampler(TextureAddress::kClamp, false, true));
  const auto got =
      harness.run("tex.1d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0}];", {{1.5f}, {1.25f}});
  EXPECT_EQ(got[0].f(0), 5);
  EXPECT_EQ(got[1].f(0), INFINITY);
}

// ---- memory ----

TEST(Texture, LinearMemoryIsReadByIndexAndIsZeroOutside) {
  ImageHarness harness;
  TestImage image({TexelType::kFloat, 2}, 100);
  std::mt19937 random(6);
  image.fill_with_floats(random);
  image.image.linear = true;
  harness.bind(image, {});
  std::vector<Fetch> fetches;
  const int indices[] = {0, 1, 99, 100, -1, 1 << 30, -2147483647 - 1, 2147483647, 50};
  for (const int i : indices) fetches.push_back(Fetch{}.integer(0, i));
  const auto got = harness.run("tex.1d.v4.f32.s32 {%d0, %d1, %d2, %d3}, [%image, {%r0}];", fetches);
  for (size_t k = 0; k < fetches.size(); ++k) {
    const bool inside = indices[k] >= 0 && indices[k] < 100;
    for (int c = 0; c < 2; ++c) {
      EXPECT_EQ(got[k].f(c), inside ? image.floats(static_cast<u32>(indices[k]))[c] : 0) << k;
    }
  }
}

TEST(Texture, IntegerCoordinatesOfArraysClampOrMeetTheBorder) {
  ImageHarness harness;
  std::mt19937 random(7);
  TestImage image(kFloat4, 4, 3);
  image.fill_with_floats(random);
  for (const TextureAddress mode : kModes) {
    harness.bind(image, sampler(mode, true, true));  // neither normalised nor filtered
    std::vector<Fetch> fetches;
    for (int y = -2; y < 6; ++y) {
      for (int x = -2; x < 7; ++x) fetches.push_back(Fetch{}.integer(0, x).integer(1, y));
    }
    const auto got =
        harness.run("tex.2d.v4.f32.s32 {%d0, %d1, %d2, %d3}, [%image, {%r0, %r1}];", fetches);
    for (size_t k = 0; k < got.size(); ++k) {
      int x = std::bit_cast<int>(fetches[k].f[0]), y = std::bit_cast<int>(fetches[k].f[1]);
      const bool inside = x >= 0 && x < 4 && y >= 0 && y < 3;
      x = std::clamp(x, 0, 3), y = std::clamp(y, 0, 2);
      for (int c = 0; c < 4; ++c) {
        const bool border = mode == TextureAddress::kBorder && !inside;
        EXPECT_EQ(got[k].f(c), border ? kBorderColor[c]
                                      : image.floats(static_cast<u32>(x), static_cast<u32>(y))[c]);
      }
    }
  }
}

// ---- gathering ----

TEST(Texture, GatherTakesOneChannelOfFourTexels) {
  ImageHarness harness;
  std::mt19937 random(8);
  TestImage image(kFloat4, 6, 5);
  image.fill_with_floats(random);
  const char* const names[] = {"r", "g", "b", "a"};
  for (int channel = 0; channel < 4; ++channel) {
    harness.bind(image, sampler(TextureAddress::kClamp, false, false));
    std::vector<Fetch> fetches;
    std::uniform_real_distribution<float> at(-1, 7);
    for (int k = 0; k < 200; ++k) fetches.push_back({at(random), at(random)});
    const auto got = harness.run(std::string("tld4.") + names[channel] +
                                     ".2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}];",
                                 fetches);
    for (size_t k = 0; k < got.size(); ++k) {
      const auto x = taps(TextureAddress::kClamp, fetches[k].f[0], false, 6, true);
      const auto y = taps(TextureAddress::kClamp, fetches[k].f[1], false, 5, true);
      const auto texel = [&](int i, int j) {
        return image.floats(static_cast<u32>(x[static_cast<size_t>(i)].index),
                            static_cast<u32>(y[static_cast<size_t>(j)].index))[channel];
      };
      EXPECT_EQ(got[k].f(0), texel(0, 1));
      EXPECT_EQ(got[k].f(1), texel(1, 1));
      EXPECT_EQ(got[k].f(2), texel(1, 0));
      EXPECT_EQ(got[k].f(3), texel(0, 0));
    }
  }
}

TEST(Texture, OffsetsAreTexels) {
  ImageHarness harness;
  std::mt19937 random(9);
  TestImage image(kFloat4, 8, 8);
  image.fill_with_floats(random);
  for (const bool normalized : {false, true}) {
    harness.bind(image, sampler(TextureAddress::kWrap, normalized, false));
    const float unit = normalized ? 1 / 8.0f : 1;
    std::vector<Fetch> fetches;
    for (int k = 0; k < 64; ++k)
      fetches.push_back(
          {(static_cast<float>(k % 8) + 0.5f) * unit, (static_cast<float>(k / 8) + 0.5f) * unit});
    const auto got = harness.run(
        "tex.2d.v4.f32.f32 {%d0, %d1, %d2, %d3}, [%image, {%f0, %f1}], {-2, 3};", fetches);
    for (int k = 0; k < 64; ++k) {
      const int x = k % 8 - 2, y = k / 8 + 3;
      const auto at = [&](int v) {
        return static_cast<u32>(normalized ? (v + 8) % 8 : std::clamp(v, 0, 7));
      };
      EXPECT_EQ(got[static_cast<size_t>(k)].f(0), image.floats(at(x), at(y))[0]) << k;
    }
  }
}

TEST(Texture, HalfResultsAndSinks) {
  ImageHarness harness;
  TestImage image(kFloat4, 1);
  const float values[] = {1.5f, -2.25f, 70000.0f, 0.1f};
  std::copy_n(values, 4, image.floats(0));
  harness.bind(image, {});
  const auto pairs = harness.run("tex.1d.v2.f16x2.f32 {%d0, %d1}, [%image, {%f0}];", {{0}});
  EXPECT_EQ(pairs[0].bits[0], 0xc080'3e00u);
  EXPECT_EQ(pairs[0].bits[1], 0x2e66'7c00u);
  const auto singles = harness.run(
      "tex.1d.v4.f16.f32 {%h0, %h1, _, _}|%p, [%image, {%f0}];\n"
      " mov.b32 %d0, {%h0, %h1};\n selp.u32 %d1, 1, 0, %p;",
      {{0}});
  EXPECT_EQ(singles[0].bits[0], 0xc080'3e00u);
  EXPECT_EQ(singles[0].bits[1], 1u);  // all texels are resident
}

}  // namespace
}  // namespace farcall::softgpu
