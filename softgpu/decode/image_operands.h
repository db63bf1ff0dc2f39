// Operands that texture and surface instructions share.
#pragma once

#include <span>

#include "softgpu/decode/assembler.h"

namespace farcall::softgpu {

// The elements of a vector, or a scalar as the one element of a vector.
std::span<const ptx::Operand> vector_elements(const ptx::Operand& operand);

// [image] or [image, coordinates]: sets a to the image's number. The coordinates, or nullptr when
// there are none or the operand is refused.
const ptx::Operand* image_operand(Assembler& a, Op& op, const ptx::Operand& operand);

}  // namespace farcall::softgpu
