// tex, tld4, txq, suq, istypep. A texture is named by a 64-bit register that holds its number, or
// by a .texref variable, whose address is its number (the driver knows what is bound to it).
#include <fmt/format.h>

#include "softgpu/decode/assembler.h"
#include "softgpu/decode/image_operands.h"
#include "softgpu/exec/handlers/images.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
using OperandKind = ptx::Operand::Kind;
constexpr ptx::Type kB32{Kind::kBits, 32, 1};
constexpr ptx::Type kS32{Kind::kSigned, 32, 1};
constexpr ptx::Type kF32{Kind::kFloat, 32, 1};

struct Geometry {
  std::string_view name;
  TextureGeometry geometry;
  size_t dimensions;  // of a coordinate, the layer not counted
  bool layered;
};
constexpr Geometry kGeometries[] = {
    {"1d", TextureGeometry::k1D, 1, false},         {"2d", TextureGeometry::k2D, 2, false},
    {"3d", TextureGeometry::k3D, 3, false},         {"a1d", TextureGeometry::k1DArray, 1, true},
    {"a2d", TextureGeometry::k2DArray, 2, true},    {"cube", TextureGeometry::kCube, 3, false},
    {"acube", TextureGeometry::kCubeArray, 3, true}};

const Geometry* accept_geometry(Assembler& a) {
  for (const Geometry& geometry : kGeometries) {
    if (a.accept(geometry.name)) return &geometry;
  }
  a.unsupported("geometry");
  return nullptr;
}

void fill_vector(Assembler& a, const ptx::Operand& operand, ptx::Type type, size_t count,
                 std::vector<u32>& slots, size_t first) {
  const std::span<const ptx::Operand> elements = vector_elements(operand);
  if (elements.size() < count) return a.invalid(fmt::format("{} elements expected", count));
  for (size_t k = 0; k < count; ++k) slots[first + k] = a.source(elements[k], type);
}

// Behind the coordinates: texel offsets as a vector of integers. A float there is the reference
// value of a depth texture.
void decode_offsets(Assembler& a, size_t index, const Geometry& geometry, std::vector<u32>& slots) {
  if (index >= a.operand_count()) return;
  if (index + 1 < a.operand_count()) return a.unsupported("depth comparison");
  const ptx::Operand& operand = a.operand(index);
  if (operand.kind != OperandKind::kVector) {
    const ptx::Type* const type = a.register_type(operand);
    const bool is_float = operand.kind == OperandKind::kFloat32 ||
                          operand.kind == OperandKind::kFloat64 ||
                          (type != nullptr && type->is_float());
    if (is_float || geometry.dimensions != 1) return a.unsupported("depth comparison");
  }
  if (geometry.geometry == TextureGeometry::kCube ||
      geometry.geometry == TextureGeometry::kCubeArray) {
    return a.invalid("texel offsets for a cubemap");
  }
  fill_vector(a, operand, kS32, geometry.dimensions, slots, kTextureOffset);
}

void decode_results(Assembler& a, const ptx::Operand& results, ptx::Type type, size_t count,
                    std::vector<u32>& slots) {
  if (results.kind != OperandKind::kVector || results.elements.size() != count)
    return a.invalid(fmt::format("{} results expected", count));
  for (size_t k = 0; k < count; ++k) {
    const ptx::Operand& element = results.elements[k];
    if (element.kind != OperandKind::kSink)
      slots[kTextureResult + k] = a.destination(element, type);
  }
}

void decode_fetch(Assembler& a, bool is_gather) {
  Op op;
  op.handler = texture_fetch;
  std::vector<u32> slots(kTextureOperands, kNoSlot);
  if (is_gather) {
    const int channel = a.accept_one_of({"r", "g", "b", "a"});
    if (channel < 0) return a.invalid("no component");
    op.imm |= s64{channel + 1} << kGatherShift;
  }
  const int mode = a.accept_one_of({"base", "level", "grad"});
  const bool level = mode == 1, gradients = mode == 2;
  if (is_gather && mode >= 0) return a.invalid("a level");
  if (mode < 1) op.imm |= kTextureBase;
  if (gradients) op.imm |= kTextureGradients;
  const Geometry* const geometry = accept_geometry(a);
  if (geometry == nullptr) return;
  if (is_gather && (geometry->dimensions == 1 || geometry->geometry == TextureGeometry::k3D))
    return a.invalid("geometry");
  op.flags = static_cast<u8>(geometry->geometry);

  const int vector = a.accept_one_of({"v4", "v2"});
  const ptx::Type result = a.type();
  const ptx::Type coordinate = a.type();
  a.expect_operands(2, 6);
  if (a.failed()) return;
  const bool pairs = result == ptx::Type{Kind::kFloat, 16, 2};
  const bool half = result == ptx::Type{Kind::kFloat, 16, 1};
  const bool whole =
      result == kF32 || result == kS32 || result == ptx::Type{Kind::kUnsigned, 32, 1};
  if (vector != (pairs ? 1 : 0) || !(pairs || half || whole)) return a.unsupported("result type");
  if (pairs) op.imm |= kTextureHalfPairs;
  if (half) op.imm |= kTextureHalf;
  if (coordinate == kS32) {
    if (geometry->dimensions == 3 && geometry->geometry != TextureGeometry::k3D)
      return a.invalid("integer coordinates of a cubemap");
    op.imm |= kTextureIntegers;
    if (is_gather || gradients) return a.invalid("integer coordinates");
  } else if (coordinate != kF32) {
    return a.unsupported("coordinate type");
  }

  decode_results(a, a.operand(0), pairs ? kB32 : result, pairs ? 2 : 4, slots);
  const u16 resident = a.second_predicate(a.operand(0));
  const ptx::Operand* coordinates = image_operand(a, op, a.operand(1));
  if (coordinates == nullptr) return;
  std::span<const ptx::Operand> elements = vector_elements(*coordinates);
  if (geometry->layered && !elements.empty()) {
    slots[kTextureLayer] = a.source(elements[0], kB32);
    elements = elements.subspan(1);
  }
  if (elements.size() < geometry->dimensions) return a.invalid("too few coordinates");
  for (size_t k = 0; k < geometry->dimensions; ++k)
    slots[kTextureAt + k] = a.source(elements[k], coordinate);

  size_t next = 2;
  if (level) {
    // The level is an integer where the coordinates are.
    slots[kTextureLevel] = a.source(a.operand(next++), coordinate);
    if (coordinate == kS32) return a.unsupported("a level with integer coordinates");
  }
  if (gradients) {
    const size_t count = geometry->dimensions;
    fill_vector(a, a.operand(next++), kF32, count, slots, kTextureDx);
    fill_vector(a, a.operand(next++), kF32, count, slots, kTextureDy);
  }
  decode_offsets(a, next, *geometry, slots);
  op.list = a.list(std::move(slots));
  op.pd = resident;
  a.emit(op);
}

struct Query {
  std::string_view name;
  ImageQuery query;
  bool of_surfaces;
};
constexpr Query kQueries[] = {{"width", kQueryWidth, true},
                              {"height", kQueryHeight, true},
                              {"depth", kQueryDepth, true},
                              {"array_size", kQueryLayers, true},
                              {"channel_data_type", kQueryDataType, true},
                              {"channel_order", kQueryOrder, true},
                              {"num_mipmap_levels", kQueryLevels, false},
                              {"num_samples", kQuerySamples, false},
                              {"normalized_coords", kQueryNormalized, false},
                              {"force_unnormalized_coords", kQueryUnnormalized, false},
                              {"filter_mode", kQueryFilter, false}};

void decode_query(Assembler& a, bool of_surface) {
  const bool level = !of_surface && a.accept("level");
  const Query* query = nullptr;
  for (const Query& q : kQueries) {
    if (query == nullptr && (q.of_surfaces || !of_surface) && a.accept(q.name)) query = &q;
  }
  if (query == nullptr || !a.accept("b32")) return a.unsupported("query");
  a.expect_operands(level ? 3 : 2, level ? 3 : 2);
  if (a.failed()) return;
  Op op;
  op.handler = of_surface ? surface_query : texture_query;
  op.d = a.destination(a.operand(0), kB32);
  if (image_operand(a, op, a.operand(1)) != nullptr) return a.invalid("coordinates");
  op.list = a.list({query->query, level ? a.source32(a.operand(2)) : kNoSlot});
  a.emit(op);
}

void decode_type_test(Assembler& a) {
  const int kind = a.accept_one_of({"texref", "surfref"});
  if (kind < 0) return a.unsupported("type");
  a.expect_operands(2, 2);
  if (a.failed()) return;
  Op op;
  op.handler = kind == 0 ? is_texture : is_surface;
  op.pd = a.predicate_destination(a.operand(0));
  op.a = a.source(a.operand(1), {Kind::kUnsigned, 64, 1});
  a.emit(op);
}

}  // namespace

std::span<const ptx::Operand> vector_elements(const ptx::Operand& operand) {
  if (operand.kind == OperandKind::kVector) return operand.elements;
  return {&operand, 1};
}

const ptx::Operand* image_operand(Assembler& a, Op& op, const ptx::Operand& operand) {
  if (operand.kind != OperandKind::kAddress || operand.value != 0) {
    a.invalid("expected an image");
    return nullptr;
  }
  ptx::Operand number;  // the same as a value
  number.kind = operand.reg >= 0 ? OperandKind::kRegister : OperandKind::kSymbol;
  number.reg = operand.reg;
  number.symbol = operand.symbol;
  number.local = operand.local;
  op.a = a.source(number, {Kind::kUnsigned, 64, 1});
  if (operand.elements.size() > 1) {
    a.unsupported("a sampler of its own");
    return nullptr;
  }
  return operand.elements.empty() ? nullptr : &operand.elements[0];
}

bool decode_texture(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "tex" || opcode == "tld4") return decode_fetch(a, opcode == "tld4"), true;
  if (opcode == "txq" || opcode == "suq") return decode_query(a, opcode == "suq"), true;
  if (opcode == "istypep") return decode_type_test(a), true;
  return false;
}

}  // namespace farcall::softgpu
