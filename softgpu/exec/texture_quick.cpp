#include "softgpu/exec/texture_quick.h"

#include <array>
#include <bit>
#include <cstring>

namespace farcall::softgpu {
namespace {

// Floor of what fits in an int, without a call.
int floor_of(double x) {
  const int truncated = static_cast<int>(x);
  return truncated - (x < truncated ? 1 : 0);
}

struct Axis {
  int index[2];
  double weight[2];
};

// place() of texture.cpp for finite coordinates that stay within the image.
template <bool Linear>
[[gnu::always_inline]] inline bool quick_place(const Sampler& sampler, int dimension,
                                               float coordinate, u32 size, Axis* axis) {
  constexpr double kLargest = 1 << 30;
  double x = static_cast<double>(coordinate);
  if (!(x > -kLargest && x < kLargest)) return false;
  TextureAddress mode = sampler.address[dimension];
  if (sampler.normalized_coordinates) {
    if (mode == TextureAddress::kWrap) {
      x -= floor_of(x);
    } else if (mode == TextureAddress::kMirror) {
      const int whole = floor_of(x);
      x -= whole;
      if ((whole & 1) != 0) x = 1 - x;
    }
    x *= size;
    if (!(x > -kLargest && x < kLargest)) return false;
  } else if (mode != TextureAddress::kBorder) {
    mode = TextureAddress::kClamp;
  }
  if (Linear) x -= 0.5;
  const int n = static_cast<int>(size);
  int i = floor_of(x);
  const double fraction = x - i;
  const auto bring_in = [mode, n](int k) {
    if (static_cast<u32>(k) < static_cast<u32>(n)) return k;
    if (mode == TextureAddress::kWrap) return k < 0 ? n - 1 : 0;
    if (mode == TextureAddress::kBorder) return -1;
    return k < 0 ? 0 : n - 1;
  };
  axis->index[0] = bring_in(i);
  if (!Linear) return axis->index[0] >= 0;
  axis->index[1] = bring_in(i + 1);
  axis->weight[1] = static_cast<double>(static_cast<int>(fraction * 256 + 0.5)) / 256;
  axis->weight[0] = 1 - axis->weight[1];
  return axis->index[0] >= 0 && axis->index[1] >= 0;
}

const std::array<double, 256> kByteParts = [] {
  std::array<double, 256> t{};
  for (size_t k = 0; k < t.size(); ++k) t[k] = static_cast<double>(k) / 255;
  return t;
}();

// How to read channel k of a texel: as a number, if the texture gives floats, or as bits.
struct Floats {
  static constexpr unsigned kBytes = 4;
  static double number(const u8* texel, unsigned k) {
    float value;
    std::memcpy(&value, texel + 4 * k, 4);
    return static_cast<double>(value);
  }
  static u32 bits(const u8* texel, unsigned k) {  // a NaN stays as it is
    u32 value;
    std::memcpy(&value, texel + 4 * k, 4);
    return value;
  }
};
struct Bytes {
  static constexpr unsigned kBytes = 1;
  static double number(const u8* texel, unsigned k) { return kByteParts[texel[k]]; }
  static u32 bits(const u8* texel, unsigned k) {
    return std::bit_cast<u32>(static_cast<float>(number(texel, k)));
  }
};
struct Words {
  static constexpr unsigned kBytes = 2;
  static double number(const u8* texel, unsigned k) {
    u16 value;
    std::memcpy(&value, texel + 2 * k, 2);
    return value / 65535.0;
  }
  static u32 bits(const u8* texel, unsigned k) {
    return std::bit_cast<u32>(static_cast<float>(number(texel, k)));
  }
};
template <class Integer>
struct Integers {
  static constexpr unsigned kBytes = sizeof(Integer);
  static u32 bits(const u8* texel, unsigned k) {
    Integer value;
    std::memcpy(&value, texel + sizeof value * k, sizeof value);
    return static_cast<u32>(static_cast<s64>(value));
  }
};

template <class Reader>
constexpr bool kGivesFloats = requires(const u8* texel) {
  Reader::number(texel, 0);
};

u64 plane_of(const Image& image, const TextureRequest& request) {
  const bool layered = request.geometry == TextureGeometry::k1DArray ||
                       request.geometry == TextureGeometry::k2DArray;
  if (!layered) return 0;
  return request.layer < image.layers ? request.layer : image.layers - 1;
}

template <class Reader, unsigned Channels>
void read_one(const u8* texel, u32 out[4]) {
  for (unsigned k = 0; k < 4; ++k) out[k] = k < Channels ? Reader::bits(texel, k) : 0;
  if (Channels < 4) out[3] = kGivesFloats<Reader> ? std::bit_cast<u32>(1.0f) : 1;
}

template <class Reader, unsigned Channels, int Dimensions, bool Linear>
bool quick_sample(const Texture& texture, const TextureRequest& request, u32 out[4]) {
  const ImageLevel& level = texture.image.levels[0];
  constexpr unsigned kTexelBytes = Reader::kBytes * Channels;
  const u32 sizes[3] = {level.width, level.height, level.depth};
  Axis axes[Dimensions];
  for (int d = 0; d < Dimensions; ++d) {
    if (!quick_place<Linear>(texture.sampler, d, request.at[d], sizes[d], &axes[d])) return false;
  }
  const u8* const plane = level.data + plane_of(texture.image, request) * level.plane;
  const auto texel = [&](int tap) {
    const u8* at = plane + static_cast<u64>(axes[0].index[tap & 1]) * kTexelBytes;
    if constexpr (Dimensions > 1) at += static_cast<u64>(axes[1].index[tap >> 1 & 1]) * level.pitch;
    if constexpr (Dimensions > 2) at += static_cast<u64>(axes[2].index[tap >> 2]) * level.plane;
    return at;
  };
  if constexpr (!Linear) {
    read_one<Reader, Channels>(texel(0), out);
  } else {
    double sum[Channels] = {};
    for (int tap = 0; tap < 1 << Dimensions; ++tap) {
      double weight = axes[0].weight[tap & 1];
      if constexpr (Dimensions > 1) weight *= axes[1].weight[tap >> 1 & 1];
      if constexpr (Dimensions > 2) weight *= axes[2].weight[tap >> 2];
      if (weight == 0) continue;
      const u8* const from = texel(tap);
      for (unsigned k = 0; k < Channels; ++k) sum[k] += weight * Reader::number(from, k);
    }
    for (unsigned k = 0; k < 4; ++k)
      out[k] = k < Channels ? std::bit_cast<u32>(static_cast<float>(sum[k])) : 0;
    if (Channels < 4) out[3] = std::bit_cast<u32>(1.0f);
  }
  return true;
}

// tex1Dfetch.
template <class Reader, unsigned Channels>
bool quick_index(const Texture& texture, const TextureRequest& request, u32 out[4]) {
  const ImageLevel& level = texture.image.levels[0];
  const auto index = static_cast<u32>(request.integer_at[0]);
  if (index >= level.width) return false;
  read_one<Reader, Channels>(level.data + u64{index} * Reader::kBytes * Channels, out);
  return true;
}

template <class Reader, unsigned Channels>
QuickSample find_for(const Texture& texture, const TextureRequest& request, int dimensions) {
  if (request.integer_coordinates) return quick_index<Reader, Channels>;
  if constexpr (kGivesFloats<Reader>) {
    if (texture.sampler.linear_filter) {
      if (dimensions == 1) return quick_sample<Reader, Channels, 1, true>;
      return dimensions == 2 ? quick_sample<Reader, Channels, 2, true>
                             : quick_sample<Reader, Channels, 3, true>;
    }
  }
  if (dimensions == 1) return quick_sample<Reader, Channels, 1, false>;
  return dimensions == 2 ? quick_sample<Reader, Channels, 2, false>
                         : quick_sample<Reader, Channels, 3, false>;
}
template <class Reader>
QuickSample find_for(const Texture& texture, const TextureRequest& request, int dimensions) {
  switch (texture.image.format.channels) {
    case 1:
      return find_for<Reader, 1>(texture, request, dimensions);
    case 2:
      return find_for<Reader, 2>(texture, request, dimensions);
    default:
      return find_for<Reader, 4>(texture, request, dimensions);
  }
}

}  // namespace

QuickSample find_quick_sample(const Texture& texture, const TextureRequest& request) {
  const Image& image = texture.image;
  if (image.levels.size() != 1 || request.gather >= 0) return nullptr;
  int dimensions = 1;
  switch (request.geometry) {
    case TextureGeometry::k1D:
    case TextureGeometry::k1DArray:
      break;
    case TextureGeometry::k2D:
    case TextureGeometry::k2DArray:
      dimensions = 2;
      break;
    case TextureGeometry::k3D:
      if (image.layered || image.cubemap) return nullptr;
      dimensions = 3;
      break;
    default:
      return nullptr;
  }
  if (image.linear != request.integer_coordinates || (image.linear && dimensions != 1))
    return nullptr;
  const bool normalized = texture.sampler.read_normalized;
  switch (image.format.type) {
    case TexelType::kFloat:
      return find_for<Floats>(texture, request, dimensions);
    case TexelType::kUnsigned8:
      if (!normalized) return find_for<Integers<u8>>(texture, request, dimensions);
      return texture.sampler.srgb ? nullptr : find_for<Bytes>(texture, request, dimensions);
    case TexelType::kUnsigned16:
      return normalized ? find_for<Words>(texture, request, dimensions)
                        : find_for<Integers<u16>>(texture, request, dimensions);
    case TexelType::kSigned8:
      return normalized ? nullptr : find_for<Integers<s8>>(texture, request, dimensions);
    case TexelType::kSigned16:
      return normalized ? nullptr : find_for<Integers<s16>>(texture, request, dimensions);
    case TexelType::kUnsigned32:
    case TexelType::kSigned32:
      return find_for<Integers<u32>>(texture, request, dimensions);
    default:
      return nullptr;
  }
}

}  // namespace farcall::softgpu
