// Images for tests, and kernels that fetch from them: one texture instruction per thread, its
// operands from an array.
#pragma once

#include <bit>
#include <random>
#include <string>
#include <vector>

#include "softgpu/exec/test_device.h"
#include "softgpu/exec/texture.h"

namespace farcall::softgpu {

// An image with texels of its own, rows and planes apart so that a wrong pitch shows.
struct TestImage {
  Image image;
  std::vector<std::vector<u8>> memory;  // by level

  TestImage(TexelFormat format, u32 width, u32 height = 1, u32 depth = 1, u32 layers = 1,
            unsigned levels = 1) {
    image.format = format;
    image.layers = layers;
    image.layered = layers > 1;
    for (unsigned k = 0; k < levels; ++k) {
      ImageLevel level;
      level.width = std::max(width >> k, 1u);
      level.height = std::max(height >> k, 1u);
      level.depth = std::max(depth >> k, 1u);
      level.pitch = (level.width * format.bytes() + 63) / 64 * 64;
      level.plane = level.pitch * (level.height + 1);
      memory.emplace_back(level.plane * level.depth * layers);
      level.data = memory.back().data();
      image.levels.push_back(level);
    }
  }
  TestImage(TestImage&&) = default;

  u8* texel(u32 x, u32 y = 0, u32 plane = 0, unsigned level = 0) {
    const ImageLevel& l = image.levels[level];
    return l.data + plane * l.plane + y * l.pitch + x * image.format.bytes();
  }
  float* floats(u32 x, u32 y = 0, u32 plane = 0, unsigned level = 0) {
    return reinterpret_cast<float*>(texel(x, y, plane, level));
  }
  void fill_with_floats(std::mt19937& random) {
    std::uniform_real_distribution<float> value(-4, 4);
    for (auto& level : memory) {
      auto* words = reinterpret_cast<float*>(level.data());
      for (size_t k = 0; k < level.size() / 4; ++k) words[k] = value(random);
    }
  }
  void fill_with_bytes(std::mt19937& random) {
    for (auto& level : memory) {
      for (u8& byte : level) byte = static_cast<u8>(random());
    }
  }
};

struct Fetch {  // what a thread hands to its instruction: %f0 to %f9, the same bits in %r0 to %r9
  float f[10] = {};
  Fetch() = default;
  Fetch(std::initializer_list<float> values) { std::copy(values.begin(), values.end(), f); }
  Fetch& integer(int index, int value) {
    f[index] = std::bit_cast<float>(value);
    return *this;
  }
};
struct Fetched {
  u32 bits[4];
  float f(int k) const { return std::bit_cast<float>(bits[k]); }
};

class ImageHarness {
 public:
  static constexpr uint64_t kTexture = 0x7700000010, kSurface = 0x7700000020;

  static std::string kernel(const std::string& code) {
    std::string text =
        ".version 8.5\n.target sm_90\n.address_size 64\n"
        ".visible .entry k(.param .u64 image, .param .u64 in, .param .u64 out, .param .u32 n) {\n"
        " .reg .b32 %i, %n, %t;\n .reg .b64 %image, %in, %out, %w;\n .reg .f32 %f<10>;\n"
        " .reg .b32 %r<10>;\n .reg .b32 %d<4>;\n .reg .b16 %h<4>;\n .reg .pred %end, %p;\n"
        " mov.u32 %i, %ctaid.x;\n mov.u32 %n, %ntid.x;\n mov.u32 %t, %tid.x;\n"
        " mad.lo.u32 %i, %i, %n, %t;\n ld.param.u32 %n, [n];\n setp.ge.u32 %end, %i, %n;\n"
        " @%end exit;\n ld.param.u64 %image, [image];\n ld.param.u64 %in, [in];\n"
        " ld.param.u64 %out, [out];\n mad.wide.u32 %in, %i, 40, %in;\n"
        " mad.wide.u32 %out, %i, 16, %out;\n mov.u32 %d0, 0;\n mov.u32 %d1, 0;\n"
        " mov.u32 %d2, 0;\n mov.u32 %d3, 0;\n";
    for (int k = 0; k < 10; ++k) {
      const std::string n = std::to_string(k);
      text += " ld.global.f32 %f" + n + ", [%in+" + std::to_string(4 * k) + "];\n mov.b32 %r" + n +
              ", %f" + n + ";\n";
    }
    return text + " " + code + "\n st.global.v4.b32 [%out], {%d0, %d1, %d2, %d3};\n ret;\n}\n";
  }

  std::vector<Fetched> run(const std::string& code, const std::vector<Fetch>& fetches,
                           uint64_t number = kTexture) {
    const auto program = device.load(kernel(code));
    if (!program) return {};
    const auto in = device.upload(fetches);
    const auto out = device.array<Fetched>(fetches.size());
    const auto n = static_cast<uint32_t>(fetches.size());
    device.launch(*program, "k", {(n + 127) / 128}, {128},
                  Params(number, in.data(), out.data(), n));
    std::vector<Fetched> results(out.begin(), out.end());
    device.memory.deallocate(in.data());
    device.memory.deallocate(out.data());
    return results;
  }
  std::optional<Fault> fault(const std::string& code, const Fetch& fetch, uint64_t number) {
    const auto program = device.load(kernel(code));
    if (!program) return {};
    const auto in = device.upload(std::vector<Fetch>{fetch});
    const auto out = device.array<Fetched>(1);
    auto found = device.try_launch(*program, "k", {1}, {1},
                                   Params(number, in.data(), out.data(), uint32_t{1}));
    device.memory.deallocate(in.data());
    device.memory.deallocate(out.data());
    return found;
  }
  std::string refusal(const std::string& code) { return device.load_error(kernel(code)).message; }

  void bind(const TestImage& image, const Sampler& sampler) {
    auto texture = std::make_shared<Texture>();
    texture->image = image.image;
    texture->sampler = sampler;
    device.memory.set_texture(kTexture, std::move(texture));
  }
  void bind_surface(const TestImage& image) {
    auto surface = std::make_shared<Surface>();
    surface->image = image.image;
    device.memory.set_surface(kSurface, std::move(surface));
  }

  TestDevice device;
};

}  // namespace farcall::softgpu
