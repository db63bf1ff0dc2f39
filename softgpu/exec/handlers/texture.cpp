// tex, tld4 and the questions about images. Lanes go one after the other: what a texture is may
// differ from lane to lane, and sampling is far from one instruction.
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/images.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/texture_quick.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

const Texture& find_texture(Warp& warp, const Op& op, int lane, u64 number) {
  GridRun& run = *warp.block->run;
  const Texture* const texture = run.images.texture(*run.memory, number);
  if (texture == nullptr)
    raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, number,
                "no texture has this number, or no longer");
  return *texture;
}

u32 data_type(TexelType type) {  // as OpenCL numbers them
  switch (type) {
    case TexelType::kSnorm8:
      return 0x10d0;
    case TexelType::kSnorm16:
      return 0x10d1;
    case TexelType::kUnorm8:
      return 0x10d2;
    case TexelType::kUnorm16:
      return 0x10d3;
    case TexelType::kUnorm10_10_10_2:
      return 0x10d6;
    case TexelType::kSigned8:
      return 0x10d7;
    case TexelType::kSigned16:
      return 0x10d8;
    case TexelType::kSigned32:
      return 0x10d9;
    case TexelType::kUnsigned8:
      return 0x10da;
    case TexelType::kUnsigned16:
      return 0x10db;
    case TexelType::kUnsigned32:
      return 0x10dc;
    case TexelType::kHalf:
      return 0x10dd;
    case TexelType::kFloat:
      return 0x10de;
  }
  return 0;
}
u32 channel_order(unsigned channels) {
  return channels == 1 ? 0x10b0 : channels == 2 ? 0x10b2 : 0x10b5;
}

// A level that is not there has no size.
u32 answer(const Image& image, const Sampler* sampler, u32 query, u32 level) {
  const bool there = level < image.levels.size();
  switch (query) {
    case kQueryWidth:
      return there ? image.levels[level].width : 0;
    case kQueryHeight:
      return there ? image.levels[level].height : 0;
    case kQueryDepth:
      return there ? image.levels[level].depth : 0;
    case kQueryLayers:
      return image.cubemap ? image.layers / 6 : image.layers;
    case kQueryLevels:
      return static_cast<u32>(image.levels.size());
    case kQuerySamples:
      return 1;
    case kQueryDataType: {
      // The type that reading gives, where the sampler makes floats of integers.
      const TexelType type = image.format.type;
      if (sampler != nullptr && sampler->read_normalized) {
        if (type == TexelType::kUnsigned8) return data_type(TexelType::kUnorm8);
        if (type == TexelType::kSigned8) return data_type(TexelType::kSnorm8);
        if (type == TexelType::kUnsigned16) return data_type(TexelType::kUnorm16);
        if (type == TexelType::kSigned16) return data_type(TexelType::kSnorm16);
      }
      return data_type(type);
    }
    case kQueryOrder:
      return channel_order(image.format.channels);
    case kQueryNormalized:
      return sampler != nullptr && sampler->normalized_coordinates ? 1 : 0;
    case kQueryUnnormalized:
      return sampler != nullptr && !sampler->normalized_coordinates ? 1 : 0;
    case kQueryFilter:
      return sampler != nullptr && sampler->linear_filter ? 1 : 0;
    default:  // kQueryMemoryLayout: pitched, the only one
      return 0;
  }
}

}  // namespace

void texture_fetch(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  const u32* const slots = op.list;
  const auto* numbers = lanes<u64>(warp, op.a);
  TextureRequest request;
  request.geometry = static_cast<TextureGeometry>(op.flags);
  request.integer_coordinates = (op.imm & kTextureIntegers) != 0;
  request.base_level = (op.imm & kTextureBase) != 0;
  request.has_gradients = (op.imm & kTextureGradients) != 0;
  request.gather = static_cast<int>(op.imm >> kGatherShift) - 1;
  // What most instructions do not have is looked for once.
  const Aliased<u32>::Type* operands[kTextureOperands] = {};
  for (int k = kTextureLayer; k < kTextureOperands; ++k) {
    if (slots[k] != kNoSlot) operands[k] = lanes<u32>(warp, slots[k]);
  }
  const bool has_more = operands[kTextureDx] != nullptr || operands[kTextureOffset] != nullptr;
  const auto get = [&operands](int operand, int lane) {
    return operands[operand] == nullptr ? 0u : operands[operand][lane];
  };
  u32 results[4][kLanes] = {};
  const Texture* texture = nullptr;
  u64 number = 0;
  QuickSample quick = nullptr;
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;  // if a texel's page is gone, whose read it was
    if (texture == nullptr || numbers[lane] != number) {
      number = numbers[lane];
      texture = &find_texture(warp, op, lane, number);
      quick = has_more ? nullptr : find_quick_sample(*texture, request);
    }
    request.layer = get(kTextureLayer, lane);
    request.level = bit_cast<float>(get(kTextureLevel, lane));
    for (int k = 0; k < 3; ++k) {
      const u32 at = get(kTextureAt + k, lane);
      request.at[k] = bit_cast<float>(at);
      request.integer_at[k] = static_cast<s32>(at);
      if (!has_more) continue;
      request.offset[k] = static_cast<s32>(get(kTextureOffset + k, lane));
      request.dx[k] = bit_cast<float>(get(kTextureDx + k, lane));
      request.dy[k] = bit_cast<float>(get(kTextureDy + k, lane));
    }
    u32 out[4];
    if ((quick == nullptr || !quick(*texture, request, out)) && !sample(*texture, request, out))
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, number,
                  "a fetch from a cubemap, and the texture is none");
    for (int k = 0; k < 4; ++k) results[k][lane] = out[k];
  });
  if ((op.imm & (kTextureHalf | kTextureHalfPairs)) != 0) {
    for (auto& channel : results) {
      for (u32& value : channel) value = to_half(bit_cast<float>(value)).bits;
    }
  }
  if ((op.imm & kTextureHalfPairs) != 0) {
    for (int i = 0; i < kLanes; ++i) {
      results[0][i] |= results[1][i] << 16;
      results[1][i] = results[2][i] | results[3][i] << 16;
    }
  }
  for (int k = 0; k < 4; ++k) {
    if (slots[kTextureResult + k] != kNoSlot)
      write_lanes(lanes<u32>(warp, slots[kTextureResult + k]), mask, results[k]);
  }
  set_predicate(warp, op.pd, mask, kAllLanes);
}

void texture_query(Warp& warp, const Op& op, u32 mask) {
  const auto* numbers = lanes<u64>(warp, op.a);
  u32 results[kLanes] = {};
  for_each_lane(mask, [&](int lane) {
    const Texture& texture = find_texture(warp, op, lane, numbers[lane]);
    const u32 level = op.list[1] == kNoSlot ? 0 : u32{lanes<u32>(warp, op.list[1])[lane]};
    results[lane] = answer(texture.image, &texture.sampler, op.list[0], level);
  });
  write_lanes(lanes<u32>(warp, op.d), mask, results);
}

void surface_query(Warp& warp, const Op& op, u32 mask) {
  const auto* numbers = lanes<u64>(warp, op.a);
  GridRun& run = *warp.block->run;
  u32 results[kLanes] = {};
  for_each_lane(mask, [&](int lane) {
    const Surface* const surface = run.images.surface(*run.memory, numbers[lane]);
    if (surface == nullptr)
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, numbers[lane],
                  "no surface has this number, or no longer");
    results[lane] = answer(surface->image, nullptr, op.list[0], 0);
  });
  write_lanes(lanes<u32>(warp, op.d), mask, results);
}

void is_texture(Warp& warp, const Op& op, u32 mask) {
  const auto* numbers = lanes<u64>(warp, op.a);
  GridRun& run = *warp.block->run;
  u32 found = 0;
  for_each_lane(mask, [&](int lane) {
    found |= u32{run.images.texture(*run.memory, numbers[lane]) != nullptr} << lane;
  });
  set_predicate(warp, op.pd, mask, found);
}
void is_surface(Warp& warp, const Op& op, u32 mask) {
  const auto* numbers = lanes<u64>(warp, op.a);
  GridRun& run = *warp.block->run;
  u32 found = 0;
  for_each_lane(mask, [&](int lane) {
    found |= u32{run.images.surface(*run.memory, numbers[lane]) != nullptr} << lane;
  });
  set_predicate(warp, op.pd, mask, found);
}

}  // namespace farcall::softgpu
