// A shorter way through sample() for the usual: one level, one to three dimensions or layers,
// texels of floats, bytes or words. It gives bit for bit what sample() gives (texture.cpp), or
// leaves it to that: for the border, for coordinates that are no numbers of sensible size.
#pragma once

#include "softgpu/exec/texture.h"

namespace farcall::softgpu {

// False: not this time, call sample().
using QuickSample = bool (*)(const Texture& texture, const TextureRequest& request, u32 out[4]);

// By the texture and by what all lanes of an instruction have in common: geometry and flags.
// nullptr: there is no shorter way.
QuickSample find_quick_sample(const Texture& texture, const TextureRequest& request);

}  // namespace farcall::softgpu
