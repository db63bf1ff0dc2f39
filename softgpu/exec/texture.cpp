#include "softgpu/exec/texture.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace farcall::softgpu {
namespace {

// ---- texels as numbers ----

double half_to_double(u16 bits) {
  const int exponent = bits >> 10 & 31;
  const double fraction = bits & 1023;
  double value;
  if (exponent == 31) {
    value = fraction == 0 ? INFINITY : NAN;
  } else {
    value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

template <class T>
T load(const u8* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The most negative value means -1, as its neighbour does.
double signed_to_unit(int value, int largest) {
  return std::max(static_cast<double>(value) / largest, -1.0);
}

const std::array<double, 256>& srgb_table() {
  static const std::array<double, 256> table = [] {
    std::array<double, 256> t;
    for (size_t i = 0; i < t.size(); ++i) {
      const double c = static_cast<double>(i) / 255;
      t[i] = c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
    }
    return t;
  }();
  return table;
}

struct Color {
  double c[4];
};

// A texel of a texture that gives floats.
Color read_float(const Texture& texture, const u8* texel) {
  const TexelFormat format = texture.image.format;
  Color color{{0, 0, 0, 1}};
  for (unsigned k = 0; k < format.channels; ++k) {
    double& c = color.c[k];
    switch (format.type) {
      case TexelType::kUnsigned8:
      case TexelType::kUnorm8:
        c = texture.sampler.srgb && k < 3 ? srgb_table()[texel[k]] : texel[k] / 255.0;
        break;
      case TexelType::kSigned8:
      case TexelType::kSnorm8:
        c = signed_to_unit(static_cast<s8>(texel[k]), 127);
        break;
      case TexelType::kUnsigned16:
      case TexelType::kUnorm16:
        c = load<u16>(texel + 2 * k) / 65535.0;
        break;
      case TexelType::kSigned16:
      case TexelType::kSnorm16:
        c = signed_to_unit(load<s16>(texel + 2 * k), 32767);
        break;
      case TexelType::kHalf:
        c = half_to_double(load<u16>(texel + 2 * k));
        break;
      case TexelType::kFloat:
        c = static_cast<double>(load<float>(texel + 4 * k));
        break;
      case TexelType::kUnorm10_10_10_2: {
        const u32 word = load<u32>(texel);
        c = k < 3 ? (word >> 10 * k & 1023) / 1023.0 : (word >> 30) / 3.0;
        break;
      }
      case TexelType::kUnsigned32:
      case TexelType::kSigned32:
        break;  // give integers
    }
  }
  return color;
}

void read_integer(const Texture& texture, const u8* texel, u32 out[4]) {
  const TexelFormat format = texture.image.format;
  for (unsigned k = 0; k < format.channels; ++k) {
    switch (format.type) {
      case TexelType::kUnsigned8:
        out[k] = texel[k];
        break;
      case TexelType::kSigned8:
        out[k] = static_cast<u32>(static_cast<s32>(static_cast<s8>(texel[k])));
        break;
      case TexelType::kUnsigned16:
        out[k] = load<u16>(texel + 2 * k);
        break;
      case TexelType::kSigned16:
        out[k] = static_cast<u32>(s32{load<s16>(texel + 2 * k)});
        break;
      default:
        out[k] = load<u32>(texel + 4 * k);
        break;
    }
  }
}

// ---- coordinates ----

// Where a coordinate falls along one dimension: two neighbours and the weight of the second.
struct Axis {
  int index[2];  // within the image, or -1: the border
  double weight;
};

int into_range(TextureAddress mode, double i, u32 size) {
  const auto n = static_cast<int>(size);
  const int index = static_cast<int>(i);
  if (index >= 0 && index < n) return index;
  switch (mode) {
    case TextureAddress::kWrap:  // the coordinate was, so it is a neighbour
      return index < 0 ? n - 1 : 0;
    case TextureAddress::kBorder:
      return -1;
    default:
      return index < 0 ? 0 : n - 1;
  }
}

// Not a number counts as 0, here and below.
double defined(double v) { return v == v ? v : 0; }

Axis place(TextureAddress mode, double x, bool normalized, u32 size, bool linear, s32 offset) {
  x = defined(x);
  if (offset != 0) x += normalized ? static_cast<double>(offset) / size : offset;
  if (normalized) {
    if (mode == TextureAddress::kWrap) {
      x = defined(x - std::floor(x));
    } else if (mode == TextureAddress::kMirror) {
      const double whole = std::floor(x);
      const double part = defined(x - whole);
      x = defined(std::fmod(whole, 2)) != 0 ? 1 - part : part;
    }
    x *= size;
  } else if (mode == TextureAddress::kWrap || mode == TextureAddress::kMirror) {
    mode = TextureAddress::kClamp;  // both need normalised coordinates
  }
  if (linear) x -= 0.5;
  x = std::clamp(x, -2.0, size + 1.0);  // beyond, all is the same
  const double i = std::floor(x);
  Axis axis;
  axis.index[0] = into_range(mode, i, size);
  axis.index[1] = linear ? into_range(mode, i + 1, size) : axis.index[0];
  axis.weight = linear ? std::floor((x - i) * 256 + 0.5) / 256 : 0;
  return axis;
}

// ---- cubemaps ----

struct CubePoint {
  int face;
  double m, s, t;  // s / m and t / m in [-1, 1]
};

// The programming guide's table.
CubePoint on_face(int face, const double at[3]) {
  const double x = at[0], y = at[1], z = at[2];
  switch (face) {
    case 0:
      return {0, x, -z, -y};
    case 1:
      return {1, -x, z, -y};
    case 2:
      return {2, y, x, z};
    case 3:
      return {3, -y, x, -z};
    case 4:
      return {4, z, x, -y};
    default:
      return {5, -z, -x, -y};
  }
}
int select_face(const double at[3]) {
  const double x = std::fabs(at[0]), y = std::fabs(at[1]), z = std::fabs(at[2]);
  if (x >= y && x >= z) return std::signbit(at[0]) ? 1 : 0;
  if (y >= z) return std::signbit(at[1]) ? 3 : 2;
  return std::signbit(at[2]) ? 5 : 4;
}
// The other way: a direction through (s, t) of a face, m being 1.
void direction_of(int face, double s, double t, double at[3]) {
  const double directions[6][3] = {{1, -t, -s}, {-1, -t, s}, {s, 1, t},
                                   {s, -1, -t}, {s, -t, 1},  {-s, -t, -1}};
  std::copy_n(directions[face], 3, at);
}

// ---- sampling one level ----

// Reads texels of one level for one request.
class LevelReader {
 public:
  LevelReader(const Texture& texture, const ImageLevel& level) : texture_(texture), level_(level) {}

  // nullptr: the border.
  const u8* texel(int i, int j, u32 plane) const {
    if (i < 0 || j < 0) return nullptr;
    return level_.data + plane * level_.plane + static_cast<u64>(j) * level_.pitch +
           static_cast<u64>(i) * texture_.image.format.bytes();
  }
  Color color(const u8* texel) const {
    if (texel != nullptr) return read_float(texture_, texel);
    Color border;
    for (int k = 0; k < 4; ++k)
      border.c[k] = static_cast<double>(std::bit_cast<float>(texture_.sampler.border[k]));
    return border;
  }
  void integers(const u8* texel, u32 out[4]) const {
    if (texel != nullptr) return read_integer(texture_, texel, out);
    std::copy_n(texture_.sampler.border, 4, out);
  }

 private:
  const Texture& texture_;
  const ImageLevel& level_;
};

// The up to eight texels that a request touches in one level.
struct Footprint {
  const u8* texel[8];  // bit 0 of the index: second in x, 1: in y, 2: in z
  double weight[8];
  int count = 0;  // 1, 2, 4 or 8
};

// A bilinear footprint that goes over the edge of a face: each texel from the face where it lies.
// At a corner of the cube only three texels meet, and the fourth weight is theirs in equal parts.
Footprint seamless_footprint(const LevelReader& reader, u32 size, const CubePoint& point,
                             u32 first_plane) {
  const auto n = static_cast<double>(size);
  const double x = (defined(point.s / point.m) + 1) / 2 * n - 0.5;
  const double y = (defined(point.t / point.m) + 1) / 2 * n - 0.5;
  const double i = std::floor(x), j = std::floor(y);
  const double a = std::floor((x - i) * 256 + 0.5) / 256;
  const double b = std::floor((y - j) * 256 + 0.5) / 256;
  Footprint footprint;
  footprint.count = 4;
  int corner = -1;
  for (int k = 0; k < 4; ++k) {
    const double column = i + (k & 1), row = j + (k >> 1);
    const bool out_x = column < 0 || column >= n, out_y = row < 0 || row >= n;
    footprint.weight[k] = ((k & 1) != 0 ? a : 1 - a) * ((k & 2) != 0 ? b : 1 - b);
    if (out_x && out_y) {
      corner = k;
      footprint.texel[k] = nullptr;
      continue;
    }
    int face = point.face;
    double s = 2 * (column + 0.5) / n - 1, t = 2 * (row + 0.5) / n - 1;
    if (out_x || out_y) {
      double at[3];
      direction_of(face, s, t, at);
      face = select_face(at);
      const CubePoint there = on_face(face, at);
      s = there.s / there.m;
      t = there.t / there.m;
    }
    const auto index = [n](double v) {
      return static_cast<int>(std::clamp(std::floor((v + 1) / 2 * n), 0.0, n - 1));
    };
    footprint.texel[k] = reader.texel(index(s), index(t), first_plane + static_cast<u32>(face));
  }
  if (corner >= 0) {
    const double share = footprint.weight[corner] / 3;
    for (int k = 0; k < 4; ++k) footprint.weight[k] += share;
    footprint.weight[corner] = 0;
    footprint.texel[corner] = footprint.texel[corner ^ 3];  // any that is there
  }
  return footprint;
}

Footprint find_footprint(const Texture& texture, const TextureRequest& request,
                         const ImageLevel& level, const LevelReader& reader) {
  const Image& image = texture.image;
  const Sampler& sampler = texture.sampler;
  const bool cube =
      request.geometry == TextureGeometry::kCube || request.geometry == TextureGeometry::kCubeArray;
  bool linear = sampler.linear_filter && texture.gives_floats();
  if (request.gather >= 0) linear = true;  // the same four texels
  u32 plane = 0;
  double at[3];
  bool normalized = sampler.normalized_coordinates;
  int dimensions = 1;
  for (int k = 0; k < 3; ++k) at[k] = static_cast<double>(request.at[k]);
  switch (request.geometry) {
    case TextureGeometry::k1D:
      break;
    case TextureGeometry::k2D:
      dimensions = 2;
      break;
    case TextureGeometry::k3D:
      dimensions = image.layered || image.cubemap ? 2 : 3;
      break;
    case TextureGeometry::k1DArray:
      plane = std::min(request.layer, image.layers - 1);
      break;
    case TextureGeometry::k2DArray:
      plane = std::min(request.layer, image.layers - 1);
      dimensions = 2;
      break;
    case TextureGeometry::kCube:
    case TextureGeometry::kCubeArray: {
      const u32 cubes = image.layers / 6;
      if (request.geometry == TextureGeometry::kCubeArray)
        plane = std::min(request.layer, cubes - 1) * 6;
      for (double& v : at) v = defined(v);
      const CubePoint point = on_face(select_face(at), at);
      if (sampler.seamless && linear) return seamless_footprint(reader, level.width, point, plane);
      plane += static_cast<u32>(point.face);
      at[0] = (defined(point.s / point.m) + 1) / 2;
      at[1] = (defined(point.t / point.m) + 1) / 2;
      dimensions = 2;
      normalized = true;
      break;
    }
  }
  if (request.integer_coordinates) {
    normalized = linear = false;
    for (int k = 0; k < 3; ++k) at[k] = request.integer_at[k];
  }
  const u32 sizes[3] = {level.width, level.height, level.depth};
  Axis axes[3];
  for (int k = 0; k < dimensions; ++k) {
    TextureAddress mode = sampler.address[k];
    if (image.linear) mode = TextureAddress::kBorder;
    if (cube && sampler.seamless) mode = TextureAddress::kClamp;
    axes[k] = place(mode, at[k], normalized, sizes[k], linear, request.offset[k]);
  }
  Footprint footprint;
  footprint.count = linear ? 1 << dimensions : 1;
  for (int k = 0; k < footprint.count; ++k) {
    int index[3] = {};
    double weight = 1;
    for (int d = 0; d < dimensions; ++d) {
      const int second = k >> d & 1;
      index[d] = axes[d].index[second];
      if (linear) weight *= second != 0 ? axes[d].weight : 1 - axes[d].weight;
    }
    footprint.weight[k] = weight;
    footprint.texel[k] = index[2] < 0
                             ? nullptr
                             : reader.texel(index[0], index[1], plane + static_cast<u32>(index[2]));
  }
  return footprint;
}

Color filter(const LevelReader& reader, const Footprint& footprint) {
  if (footprint.count == 1) return reader.color(footprint.texel[0]);
  Color sum{};
  for (int k = 0; k < footprint.count; ++k) {
    if (footprint.weight[k] == 0) continue;  // else infinities would spread to their neighbours
    const Color color = reader.color(footprint.texel[k]);
    for (int c = 0; c < 4; ++c) sum.c[c] += footprint.weight[k] * color.c[c];
  }
  return sum;
}

// ---- mipmaps ----

double length(const double* v, int n) {
  double sum = 0;
  for (int k = 0; k < n; ++k) sum += v[k] * v[k];
  return std::sqrt(sum);
}

// How many texels of the first level one step of the grid covers, as a power of two.
double level_of_gradients(const Texture& texture, const TextureRequest& request) {
  const ImageLevel& base = texture.image.levels[0];
  const double sizes[3] = {static_cast<double>(base.width), static_cast<double>(base.height),
                           static_cast<double>(base.depth)};
  const bool cube =
      request.geometry == TextureGeometry::kCube || request.geometry == TextureGeometry::kCubeArray;
  double largest = 0;
  for (const float* gradient : {request.dx, request.dy}) {
    double d[3] = {static_cast<double>(gradient[0]), static_cast<double>(gradient[1]),
                   static_cast<double>(gradient[2])};
    int n = 3;
    if (cube) {
      const double at[3] = {static_cast<double>(request.at[0]), static_cast<double>(request.at[1]),
                            static_cast<double>(request.at[2])};
      const int face = select_face(at);
      const CubePoint p = on_face(face, at), change = on_face(face, d);
      const double square = 2 * p.m * p.m;  // of (s / m + 1) / 2
      d[0] = (change.s * p.m - p.s * change.m) / square;
      d[1] = (change.t * p.m - p.t * change.m) / square;
      n = 2;
    } else if (request.geometry == TextureGeometry::k1D ||
               request.geometry == TextureGeometry::k1DArray) {
      n = 1;
    } else if (request.geometry != TextureGeometry::k3D) {
      n = 2;
    }
    if (cube || texture.sampler.normalized_coordinates) {
      for (int k = 0; k < n; ++k) d[k] *= sizes[k];
    }
    largest = std::max(largest, defined(length(d, n)));
  }
  return std::log2(largest);  // of 0: -infinity, which is clamped
}

double find_level(const Texture& texture, const TextureRequest& request) {
  const Sampler& sampler = texture.sampler;
  double level = 0;
  if (!request.base_level) {
    level = request.has_gradients ? level_of_gradients(texture, request)
                                  : defined(static_cast<double>(request.level));
    level = defined(level + static_cast<double>(sampler.level_bias));
  }
  level = std::max(level, static_cast<double>(sampler.level_min));
  level = std::min(level, static_cast<double>(sampler.level_max));
  return std::clamp(defined(level), 0.0, static_cast<double>(texture.image.levels.size() - 1));
}

}  // namespace

unsigned channel_bytes(TexelType type) {
  switch (type) {
    case TexelType::kUnsigned8:
    case TexelType::kSigned8:
    case TexelType::kUnorm8:
    case TexelType::kSnorm8:
    case TexelType::kUnorm10_10_10_2:
      return 1;
    case TexelType::kUnsigned16:
    case TexelType::kSigned16:
    case TexelType::kHalf:
    case TexelType::kUnorm16:
    case TexelType::kSnorm16:
      return 2;
    default:
      return 4;
  }
}

bool Texture::gives_floats() const {
  switch (image.format.type) {
    case TexelType::kUnsigned8:
    case TexelType::kSigned8:
    case TexelType::kUnsigned16:
    case TexelType::kSigned16:
      return sampler.read_normalized;
    case TexelType::kUnsigned32:
    case TexelType::kSigned32:
      return false;
    default:
      return true;
  }
}

bool sample(const Texture& texture, const TextureRequest& request, u32 out[4]) {
  const Image& image = texture.image;
  const bool cube =
      request.geometry == TextureGeometry::kCube || request.geometry == TextureGeometry::kCubeArray;
  if (cube && (!image.cubemap || image.layers < 6)) return false;

  double level = image.levels.size() == 1 ? 0 : find_level(texture, request);
  const bool blend = texture.sampler.linear_mipmap && texture.gives_floats() && request.gather < 0;
  // As for texels, the weight has eight bits behind the point.
  level = blend ? std::floor(level * 256 + 0.5) / 256 : std::floor(level + 0.5);
  const auto first = static_cast<size_t>(level);
  const double weight = level - static_cast<double>(first);
  const LevelReader reader(texture, image.levels[first]);
  const Footprint footprint = find_footprint(texture, request, image.levels[first], reader);

  if (request.gather >= 0) {
    // Counter-clockwise from the lower left: (0, 1), (1, 1), (1, 0), (0, 0).
    static constexpr int kOrder[] = {2, 3, 1, 0};
    for (int k = 0; k < 4; ++k) {
      const u8* const texel = footprint.texel[kOrder[k]];
      if (texture.gives_floats()) {
        out[k] = std::bit_cast<u32>(static_cast<float>(reader.color(texel).c[request.gather]));
      } else {
        u32 all[4] = {0, 0, 0, 1};
        reader.integers(texel, all);
        out[k] = all[request.gather];
      }
    }
    return true;
  }
  if (!texture.gives_floats()) {
    out[0] = out[1] = out[2] = 0;
    out[3] = 1;
    reader.integers(footprint.texel[0], out);
    return true;
  }
  if (footprint.count == 1 && weight == 0 && image.format.type == TexelType::kFloat) {
    out[0] = out[1] = out[2] = 0;
    out[3] = std::bit_cast<u32>(1.0f);
    reader.integers(footprint.texel[0], out);  // as bits: a NaN stays as it is
    return true;
  }
  Color color = filter(reader, footprint);
  if (weight > 0) {
    const LevelReader next(texture, image.levels[first + 1]);
    const Color other =
        filter(next, find_footprint(texture, request, image.levels[first + 1], next));
    for (int k = 0; k < 4; ++k) color.c[k] = (1 - weight) * color.c[k] + weight * other.c[k];
  }
  for (int k = 0; k < 4; ++k) out[k] = std::bit_cast<u32>(static_cast<float>(color.c[k]));
  return true;
}

}  // namespace farcall::softgpu
