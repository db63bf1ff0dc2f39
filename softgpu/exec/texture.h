// Images that kernels read as textures, and read and write as surfaces; and how a texture is
// sampled.
//
// A kernel names them by 64-bit numbers. The engine asks its AddressSpace what a number means
// (engine.h), so what is described here comes ready from the driver: texels in host memory, and how
// to read them. Every index is brought into the image before it becomes an address.
//
// Arithmetic follows the CUDA programming guide's chapter on texture fetching: coordinates are
// exact, weights of linear filtering are rounded to 1/256, the weighted sum is rounded once.
// Anisotropic filtering is done as trilinear.
#pragma once

#include <memory>
#include <vector>

#include "softgpu/exec/types.h"

namespace farcall::softgpu {

enum class TexelType : u8 {
  kUnsigned8,
  kSigned8,
  kUnsigned16,
  kSigned16,
  kUnsigned32,
  kSigned32,
  kHalf,
  kFloat,
  kUnorm8,  // read as floats in [0, 1] or [-1, 1], whatever the sampler says
  kSnorm8,
  kUnorm16,
  kSnorm16,
  kUnorm10_10_10_2,  // four channels in 32 bits, the first in the low ones
};
unsigned channel_bytes(TexelType type);  // kUnorm10_10_10_2: 1, so that four channels make 4

struct TexelFormat {
  TexelType type = TexelType::kFloat;
  u8 channels = 1;  // 1, 2 or 4
  unsigned bytes() const { return channel_bytes(type) * channels; }
};

// One step of a mipmap. Layers lie behind each other like the planes of three dimensions.
struct ImageLevel {
  u8* data = nullptr;
  u32 width = 1, height = 1, depth = 1;
  u64 pitch = 0, plane = 0;  // bytes from row to row and from plane to plane
};

struct Image {
  TexelFormat format;
  u32 layers = 1;  // of every level; the faces of a cubemap are six
  bool layered = false;
  bool cubemap = false;
  bool linear = false;             // memory without dimensions: read by index, and 0 outside
  std::vector<ImageLevel> levels;  // at least one
  std::shared_ptr<const void>
      keep;  // who owns the texels; nullptr: pages that may go, which faults
};

enum class TextureAddress : u8 { kWrap, kClamp, kMirror, kBorder };

struct Sampler {
  TextureAddress address[3] = {TextureAddress::kClamp, TextureAddress::kClamp,
                               TextureAddress::kClamp};
  bool linear_filter = false;
  bool linear_mipmap = false;
  bool normalized_coordinates = false;
  bool read_normalized = false;  // 8 and 16-bit integers become floats
  bool srgb = false;             // the first three channels of 8-bit unsigned ones
  bool seamless = false;         // cubemaps: filter over edges
  float level_bias = 0, level_min = 0, level_max = 0;
  u32 border[4] = {};  // bits of floats, or integers where the texture gives integers
};

struct Texture {
  Image image;
  Sampler sampler;
  bool gives_floats() const;  // else 32-bit integers, sign or zero extended
};

struct Surface {
  Image image;  // one level
};

enum class TextureGeometry : u8 { k1D, k2D, k3D, k1DArray, k2DArray, kCube, kCubeArray };

struct TextureRequest {
  TextureGeometry geometry = TextureGeometry::k1D;
  bool integer_coordinates = false;
  bool base_level = false;  // level and gradients do not matter, nor does the sampler's bias
  bool has_gradients = false;
  int gather = -1;  // tld4: this channel of the four texels
  u32 layer = 0;
  float at[3] = {};        // a direction for cubemaps
  s32 integer_at[3] = {};  // if integer_coordinates
  float level = 0;
  float dx[3] = {}, dy[3] = {};
  s32 offset[3] = {};  // in texels
};

// Four channels as bits. Channels that the format lacks are 0, the fourth 1. False: the geometry is
// one that the image does not have (a cubemap's of what is none).
bool sample(const Texture& texture, const TextureRequest& request, u32 out[4]);

}  // namespace farcall::softgpu
