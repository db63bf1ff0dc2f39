// The contract between decode/texture.cpp, decode/surface.cpp and the handlers of images: what a
// decoded texture or surface instruction looks like.
#pragma once

#include "softgpu/exec/handlers/handlers.h"
#include "softgpu/exec/op.h"
#include "softgpu/exec/texture.h"

namespace farcall::softgpu {

// tex, tld4. a: the texture's number; flags: TextureGeometry; imm: TextureFlags and, shifted by
// kGatherShift, 1 + the channel of tld4; list: slots by TextureOperand, kNoSlot where there is
// none; pd: set to true (all texels are resident).
enum TextureFlags : s64 {
  kTextureIntegers = 1,  // coordinates are s32
  kTextureBase = 2,      // neither level nor gradients
  kTextureGradients = 4,
  kTextureHalf = 8,        // results are f16
  kTextureHalfPairs = 16,  // results are two f16x2
};
constexpr int kGatherShift = 8;
enum TextureOperand : u8 {
  kTextureResult = 0,  // 4
  kTextureLayer = 4,
  kTextureAt = 5,  // 3
  kTextureLevel = 8,
  kTextureDx = 9,       // 3
  kTextureDy = 12,      // 3
  kTextureOffset = 15,  // 3
  kTextureOperands = 18,
};
void texture_fetch(Warp& warp, const Op& op, u32 mask);

// txq, suq: d = what list[0] (ImageQuery) says of the image a; list[1]: the level or kNoSlot.
enum ImageQuery : u8 {
  kQueryWidth,
  kQueryHeight,
  kQueryDepth,
  kQueryLayers,
  kQueryLevels,
  kQuerySamples,
  kQueryDataType,
  kQueryOrder,
  kQueryNormalized,
  kQueryUnnormalized,  // of the sampler
  kQueryFilter,
  kQueryMemoryLayout,
};
void texture_query(Warp& warp, const Op& op, u32 mask);
void surface_query(Warp& warp, const Op& op, u32 mask);

// istypep: pd = whether a is the number of such an image.
void is_texture(Warp& warp, const Op& op, u32 mask);
void is_surface(Warp& warp, const Op& op, u32 mask);

// suld, sust, sured. a: the surface's number; flags: SurfaceFlags; count: elements; imm: bytes of
// an element; list: slots of the elements, at most four, then from kSurfaceLayer on the
// coordinates.
enum SurfaceFlags : u8 {
  kSurfaceTrap = 0,  // what to do outside
  kSurfaceClamp = 1,
  kSurfaceZero = 2,
  kSurfaceOutside = 3,
  kSurfaceTexels = 4,  // .p: coordinates in texels, values converted to the format
};
enum SurfaceOperand : u8 { kSurfaceLayer = 4, kSurfaceAt = 5, kSurfaceOperands = 8 };
void surface_load(Warp& warp, const Op& op, u32 mask);
void surface_store(Warp& warp, const Op& op, u32 mask);
// By `operation` (add, min, max, and, or) with the value in list[0]; nullptr: no such combination.
Handler find_surface_reduction(AtomicOp operation, ptx::Type type);

}  // namespace farcall::softgpu
