// Floats of 4, 6 and 8 bits, which only matrix instructions compute with. A byte holds one, as mma
// wants it: e2m1 in bits 2 to 5, the six-bit formats in the lower bits.
#pragma once

#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu::FARCALL_ISA {

// By way of f16: the bits of exponent and fraction go to its exponent's lower end, then a power of
// two corrects the bias. Denormals are exact.
struct Minifloat {
  u32 shift_down;  // where the value starts in its byte
  u32 magnitude;   // mask, without the sign
  u32 sign_shift;  // of the bit above the magnitude, to bit 15
  u32 shift_up;    // of the magnitude
  u32 nan;         // the magnitude that is none; 0: none is, or f16 has it right
  float scale;

  [[gnu::always_inline]] float decode(u32 byte) const {
    const u32 v = byte >> shift_down, m = v & magnitude;
    const u32 half = m << shift_up | ((v & (magnitude + 1)) << sign_shift);
    const float value = to_float(Half{static_cast<u16>(half)}) * scale;
    return m == nan && nan != 0 ? bit_cast<float>(u32{0x7fff'ffff}) : value;
  }
};

// By MatrixInput - kE4m3.
inline constexpr Minifloat kMinifloats[] = {
    {0, 0x7f, 8, 7, 0x7f, 0x1p8f},  // e4m3
    {0, 0x7f, 8, 8, 0, 1.0f},       // e5m2
    {0, 0x1f, 10, 8, 0, 0x1p12f},   // e3m2
    {0, 0x1f, 10, 7, 0, 0x1p14f},   // e2m3
    {2, 0x07, 12, 9, 0, 0x1p14f},   // e2m1
};

[[gnu::always_inline]] inline bool is_byte_float(MatrixInput input) {
  return input >= MatrixInput::kE4m3 && input <= MatrixInput::kE2m1;
}

}  // namespace farcall::softgpu::FARCALL_ISA
