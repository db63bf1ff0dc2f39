// suld, sust, sured: loads, stores and reductions by coordinates.
#include <fmt/format.h>

#include "softgpu/decode/assembler.h"
#include "softgpu/decode/image_operands.h"
#include "softgpu/exec/handlers/images.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
using OperandKind = ptx::Operand::Kind;

struct Geometry {
  std::string_view name;
  size_t dimensions;
  bool layered;
};
constexpr Geometry kGeometries[] = {
    {"1d", 1, false}, {"2d", 2, false}, {"3d", 3, false}, {"a1d", 1, true}, {"a2d", 2, true}};

// Which image, which coordinates, and what to do outside: the same for all of them.
void decode_place(Assembler& a, Op& op, const ptx::Operand& operand, const Geometry& geometry,
                  std::vector<u32>& slots) {
  const ptx::Operand* const coordinates = image_operand(a, op, operand);
  if (coordinates == nullptr) return a.invalid("no coordinates");
  std::span<const ptx::Operand> elements = vector_elements(*coordinates);
  if (geometry.layered && !elements.empty()) {
    slots[kSurfaceLayer] = a.source32(elements[0]);
    elements = elements.subspan(1);
  }
  if (elements.size() < geometry.dimensions) return a.invalid("too few coordinates");
  for (size_t k = 0; k < geometry.dimensions; ++k) slots[kSurfaceAt + k] = a.source32(elements[k]);
}

bool accept_common(Assembler& a, Op& op, const Geometry** geometry) {
  if (!a.accept("b")) {
    if (!a.accept("p")) {
      a.invalid("neither .b nor .p");
      return false;
    }
    op.flags |= kSurfaceTexels;
  }
  *geometry = nullptr;
  for (const Geometry& g : kGeometries) {
    if (*geometry == nullptr && a.accept(g.name)) *geometry = &g;
  }
  if (*geometry == nullptr) {
    a.unsupported("geometry");
    return false;
  }
  const int mode = a.accept_one_of({"trap", "clamp", "zero"});
  op.flags |= static_cast<u8>(mode < 0 ? kSurfaceTrap : mode);
  return true;
}

void decode_load_store(Assembler& a, bool is_load) {
  Op op;
  op.handler = is_load ? surface_load : surface_store;
  const Geometry* geometry;
  if (!accept_common(a, op, &geometry)) return;
  const bool formatted = (op.flags & kSurfaceTexels) != 0;
  if (is_load && formatted) return a.unsupported("a formatted load");
  a.skip_cache_hints();
  const int vector = a.accept_one_of({"v2", "v4"});
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (a.failed()) return;
  const bool fits = type.kind == Kind::kBits || (formatted && type.total_bits() == 32);
  if (!fits || type.total_bits() > 64 || (formatted && type.total_bits() != 32))
    return a.unsupported("type");
  op.imm = type.bytes();
  op.count = vector < 0 ? 1 : vector == 0 ? 2 : 4;
  if (op.imm * op.count > 16) return a.invalid("more than 16 bytes");
  std::vector<u32> slots(kSurfaceOperands, kNoSlot);
  decode_place(a, op, a.operand(is_load ? 1 : 0), *geometry, slots);
  const std::span<const ptx::Operand> values = vector_elements(a.operand(is_load ? 0 : 1));
  if (values.size() != op.count) return a.invalid(fmt::format("{} values expected", op.count));
  for (size_t k = 0; k < values.size(); ++k) {
    if (is_load && values[k].kind == OperandKind::kSink) continue;
    unsigned bits = 0;
    slots[k] = is_load ? a.loose_destination(values[k], type, &bits)
                       : a.loose_source(values[k], type, &bits);
    if (bits != (type.total_bits() == 64 ? 64u : 32u)) return a.invalid("a register too wide");
  }
  op.list = a.list(std::move(slots));
  a.emit(op);
}

void decode_reduction(Assembler& a) {
  Op op;
  const Geometry* geometry;
  if (!accept_common(a, op, &geometry)) return;
  static constexpr AtomicOp kOps[] = {AtomicOp::kAdd, AtomicOp::kMin, AtomicOp::kMax,
                                      AtomicOp::kAnd, AtomicOp::kOr};
  const int operation = a.accept_one_of({"add", "min", "max", "and", "or"});
  if (operation < 0) return a.unsupported("operation");
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (a.failed()) return;
  op.handler = find_surface_reduction(kOps[operation], type);
  if (op.handler == nullptr) return a.unsupported("type");
  std::vector<u32> slots(kSurfaceOperands, kNoSlot);
  decode_place(a, op, a.operand(0), *geometry, slots);
  const std::span<const ptx::Operand> values = vector_elements(a.operand(1));
  if (values.size() != 1) return a.invalid("one value expected");
  slots[0] = a.source(values[0], type);
  op.list = a.list(std::move(slots));
  a.emit(op);
}

}  // namespace

bool decode_surface(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "suld" || opcode == "sust") return decode_load_store(a, opcode == "suld"), true;
  if (opcode == "sured") return decode_reduction(a), true;
  return false;
}

}  // namespace farcall::softgpu
