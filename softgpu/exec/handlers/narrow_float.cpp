// Conversions to and from floats of 8, 6 and 4 bits: on the bits, since every format is a float
// with fewer of them.
#include "softgpu/exec/handlers/narrow_float.h"

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

struct Format {
  u32 exponent_bits, mantissa_bits;
  u32 largest;  // the code of the largest finite value
  u32 nan;      // what a NaN becomes: those formats that have none take the largest value
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  u32 sign() const { return u32{1} << (exponent_bits + mantissa_bits); }
};
constexpr Format kFormats[] = {
    {4, 3, 0x7e, 0x7f}, {5, 2, 0x7b, 0x7f}, {2, 3, 0x1f, 0x1f}, {3, 2, 0x1f, 0x1f}, {2, 1, 7, 7}};

constexpr Format format_of(NarrowFormat format) { return kFormats[static_cast<size_t>(format)]; }

// To the nearest, ties to even; saturating.
template <NarrowFormat Name>
u32 encode(float v, bool relu) {
  constexpr Format kFormat = format_of(Name);
  const u32 bits = bit_cast<u32>(v), magnitude = bits & 0x7fff'ffff;
  if (magnitude > 0x7f80'0000) return kFormat.nan;
  const bool negative = (bits >> 31) != 0;
  if (relu && negative) return 0;
  const u32 sign = negative ? kFormat.sign() : 0;
  const int exponent = static_cast<int>(magnitude >> 23) - 127, least = 1 - kFormat.bias();
  // How many bits of the float's significand are too fine; past 25, nothing is left of it.
  const int below = exponent < least ? least - exponent : 0;
  const u32 shift = 23 - kFormat.mantissa_bits + static_cast<u32>(below);
  if (shift > 25) return sign;
  const u32 significand = (magnitude & 0x7f'ffff) | 0x80'0000;
  const u32 rounded =
      (significand + (u32{1} << (shift - 1)) - 1 + (significand >> shift & 1)) >> shift;
  // A carry out of the mantissa moves into the exponent by itself.
  const u32 code = below != 0
                       ? rounded
                       : (static_cast<u32>(exponent - least) << kFormat.mantissa_bits) + rounded;
  return sign | (code > kFormat.largest ? kFormat.largest : code);
}

template <NarrowFormat Name>
float decode(u32 code) {
  constexpr Format kFormat = format_of(Name);
  const u32 magnitude = code & (kFormat.sign() - 1);
  const float sign = (code & kFormat.sign()) != 0 ? -1.0f : 1.0f;
  if (Name == NarrowFormat::kE4m3 && magnitude == 0x7f) return __builtin_nanf("");
  if (Name == NarrowFormat::kE5m2 && magnitude >= 0x7c)
    return magnitude == 0x7c ? sign * __builtin_inff() : __builtin_nanf("");
  // The exponent moves into a float's place; multiplying corrects the bias, also of denormals.
  const float scaled = bit_cast<float>(magnitude << (23 - kFormat.mantissa_bits));
  const u32 power = static_cast<u32>(127 + 127 - kFormat.bias()) << 23;
  return sign * scaled * bit_cast<float>(power);
}

u32 encode_power(float v, u8 flags) {
  const u32 bits = bit_cast<u32>(v) & 0x7fff'ffff;
  if (bits > 0x7f80'0000) return 0xff;
  u32 code = bits >> 23;
  // 2^-127 is a denormal float with one mantissa bit set, and code 0: only what lies above rounds
  // up.
  const bool above = code != 0 ? (bits & 0x7f'ffff) != 0 : bits > 0x40'0000;
  if ((flags & kNarrowUp) != 0 && above && code < 0xff) ++code;
  if (code == 0xff && (flags & kNarrowSatfinite) != 0) code = 0xfe;
  return code;
}

template <NarrowFormat Name>
u32 encode_one(float v, u8 flags) {
  if constexpr (Name == NarrowFormat::kUe8m0)
    return encode_power(v, flags);
  else
    return encode<Name>(v, (flags & kNarrowRelu) != 0);
}
template <NarrowFormat Name>
u32 encode_pair(float high, float low, u8 flags) {
  constexpr u32 kShift = Name == NarrowFormat::kE2m1 ? 4 : 8;
  return encode_one<Name>(high, flags) << kShift | encode_one<Name>(low, flags);
}

template <NarrowFormat Name, NarrowSource Source>
void to_narrow(Warp& warp, const Op& op, u32 mask) {
  const u8 flags = op.flags;
  if constexpr (Source == NarrowSource::kFloats) {
    map_lanes<u32, float, float>(
        warp, op, mask, [flags](float a, float b) { return encode_pair<Name>(a, b, flags); });
  } else {
    using T = typename Choose<Source == NarrowSource::kHalves, Half, Bfloat>::Type;
    map_lanes<u32, u32>(warp, op, mask, [flags](u32 a) {
      return encode_pair<Name>(to_float(T{static_cast<u16>(a >> 16)}),
                               to_float(T{static_cast<u16>(a)}), flags);
    });
  }
}

template <NarrowFormat Name>
void from_narrow(Warp& warp, const Op& op, u32 mask) {
  const bool relu = (op.flags & kNarrowRelu) != 0;
  map_lanes<u32, u32>(warp, op, mask, [relu](u32 a) -> u32 {
    if constexpr (Name == NarrowFormat::kUe8m0) {
      auto power = [](u32 code) -> u32 {
        return code == 0xff ? 0x7fff : code == 0 ? 0x0040 : code << 7;
      };
      return power(a >> 8 & 0xff) << 16 | power(a & 0xff);
    } else {
      constexpr u32 kShift = Name == NarrowFormat::kE2m1 ? 4 : 8;
      auto one = [relu](u32 code) -> u32 {
        const u32 bits = to_half(decode<Name>(code)).bits;
        return relu && bits > 0x7fff ? 0 : bits;
      };
      return one(a >> kShift) << 16 | one(a);
    }
  });
}

template <u32 Infinity>
u32 clamp_16(u32 v) {
  return (v & 0x7fff) == Infinity ? v - 1 : v;
}
template <u32 Infinity, bool Pair>
void clamp_to_finite(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, u32>(warp, op, mask, [](u32 v) -> u32 {
    const u32 low = clamp_16<Infinity>(v & 0xffff);
    return Pair ? low | clamp_16<Infinity>(v >> 16) << 16 : low;
  });
}
void clamp_tf32_to_finite(Warp& warp, const Op& op, u32 mask) {
  map_lanes<u32, u32>(warp, op, mask, [](u32 v) -> u32 {
    return (v & 0x7fff'ffff) == 0x7f80'0000 ? v - 0x2000 : v;
  });
}

template <NarrowSource Source>
Handler to_narrow_from(NarrowFormat format) {
  switch (format) {
    case NarrowFormat::kE4m3:
      return to_narrow<NarrowFormat::kE4m3, Source>;
    case NarrowFormat::kE5m2:
      return to_narrow<NarrowFormat::kE5m2, Source>;
    case NarrowFormat::kE2m3:
      return to_narrow<NarrowFormat::kE2m3, Source>;
    case NarrowFormat::kE3m2:
      return to_narrow<NarrowFormat::kE3m2, Source>;
    case NarrowFormat::kE2m1:
      return to_narrow<NarrowFormat::kE2m1, Source>;
    case NarrowFormat::kUe8m0:
      return to_narrow<NarrowFormat::kUe8m0, Source>;
  }
  return nullptr;
}

}  // namespace

Handler find_to_narrow(NarrowFormat format, NarrowSource source) {
  const bool power = format == NarrowFormat::kUe8m0;
  switch (source) {
    case NarrowSource::kFloats:
      return to_narrow_from<NarrowSource::kFloats>(format);
    case NarrowSource::kHalves:
      return power ? nullptr : to_narrow_from<NarrowSource::kHalves>(format);
    case NarrowSource::kBfloats:
      return power ? to_narrow_from<NarrowSource::kBfloats>(format) : nullptr;
  }
  return nullptr;
}

Handler find_from_narrow(NarrowFormat format) {
  switch (format) {
    case NarrowFormat::kE4m3:
      return from_narrow<NarrowFormat::kE4m3>;
    case NarrowFormat::kE5m2:
      return from_narrow<NarrowFormat::kE5m2>;
    case NarrowFormat::kE2m3:
      return from_narrow<NarrowFormat::kE2m3>;
    case NarrowFormat::kE3m2:
      return from_narrow<NarrowFormat::kE3m2>;
    case NarrowFormat::kE2m1:
      return from_narrow<NarrowFormat::kE2m1>;
    case NarrowFormat::kUe8m0:
      return from_narrow<NarrowFormat::kUe8m0>;
  }
  return nullptr;
}

Handler find_clamp_to_finite(ptx::Type type) {
  if (type.kind == ptx::Type::Kind::kTf32) return clamp_tf32_to_finite;
  if (!type.is_float() || type.bits != 16) return nullptr;
  const bool pair = type.lanes == 2;
  if (type.kind == ptx::Type::Kind::kBfloat)
    return pair ? clamp_to_finite<0x7f80, true> : clamp_to_finite<0x7f80, false>;
  return pair ? clamp_to_finite<0x7c00, true> : clamp_to_finite<0x7c00, false>;
}

}  // namespace farcall::softgpu
