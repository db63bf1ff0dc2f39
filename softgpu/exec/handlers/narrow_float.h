// Floats of 8, 6 and 4 bits, which only conversions know. They come in pairs: two in 16 bits, or
// two of 4 bits in 8.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

// By exponent and mantissa bits; kUe8m0 is a power of two without a sign.
enum class NarrowFormat : u8 { kE4m3, kE5m2, kE2m3, kE3m2, kE2m1, kUe8m0 };
enum class NarrowSource : u8 { kFloats, kHalves, kBfloats };  // a and b; the two halves of a

// d = the pair; of two floats, a becomes the upper one. Too large a value becomes the largest
// finite one. Op::flags: NarrowFlags.
enum NarrowFlags : u8 { kNarrowRelu = 1, kNarrowUp = 2, kNarrowSatfinite = 4 };
Handler find_to_narrow(NarrowFormat format, NarrowSource source);
// d = a pair of f16, of ue8m0 a pair of bf16.
Handler find_from_narrow(NarrowFormat format);

// d = a with infinities replaced by the largest finite value (.satfinite of wider formats).
Handler find_clamp_to_finite(ptx::Type type);

}  // namespace farcall::softgpu
