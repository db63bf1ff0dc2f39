// tensormap.replace and tensormap.cp_fenceproxy: tensor maps made by kernels.
#include "softgpu/exec/tensor_map.h"
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

struct Field {
  std::string_view name;
  TensorField field;
  bool wide, indexed;
  s64 limit;  // of constants; 0: a register will do
};
constexpr Field kFields[] = {
    {"global_address", kTensorAddress, true, false, 0},
    {"rank", kTensorRank, false, false, 0},
    {"box_dim", kTensorBox, false, true, 0},
    {"global_dim", kTensorDimension, false, true, 0},
    {"global_stride", kTensorStride, true, true, 0},
    {"element_stride", kTensorElementStride, false, true, 0},
    {"elemtype", kTensorType, false, false, static_cast<s64>(TensorType::kCount)},
    {"interleave_layout", kTensorInterleave, false, false, 1},
    {"swizzle_mode", kTensorSwizzle, false, false, static_cast<s64>(TensorSwizzle::kCount)},
    {"swizzle_atomicity", kTensorSwizzleAtomicity, false, false, 1},
    {"fill_mode", kTensorFill, false, false, 2}};

// tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [map], index, value;
void decode_replace(Assembler& a) {
  if (!a.accept("tile")) return a.unsupported("mode");
  const Field* field = nullptr;
  for (const Field& f : kFields) {
    if (field == nullptr && a.accept(f.name)) field = &f;
  }
  if (field == nullptr) return a.unsupported("field");
  const std::string_view space = a.space();
  if (!a.accept("b1024") || !a.accept(field->wide ? "b64" : "b32")) return a.invalid("types");
  const size_t operands = field->indexed ? 3 : 2;
  a.expect_operands(operands, operands);
  if (a.failed()) return;
  Op op;
  op.handler = replace_tensor_field;
  op.count = field->field;
  a.address(op, a.operand(0), space, sizeof(TensorMap));
  u32 index = 0;
  if (field->indexed) {
    const s64 ordinal = a.immediate(a.operand(1));
    if (ordinal < 0 || ordinal >= (field->field == kTensorStride ? 4 : 5))
      return a.invalid("no such dimension");
    index = static_cast<u32>(ordinal);
  }
  const ptx::Operand& value = a.operand(operands - 1);
  if (field->limit != 0) {
    const s64 v = a.immediate(value);
    if (a.failed() || v < 0 || v >= field->limit) return a.unsupported("value");
  }
  if (field->field == kTensorType) {
    // PTX counts the types in another order than CUtensorMapDataType.
    static constexpr TensorType kTypes[] = {
        TensorType::kU8,     TensorType::kU16, TensorType::kU32,  TensorType::kS32,
        TensorType::kU64,    TensorType::kS64, TensorType::kF16,  TensorType::kF32,
        TensorType::kF32Ftz, TensorType::kF64, TensorType::kBf16, TensorType::kTf32,
        TensorType::kTf32Ftz};
    op.b = a.constant(32, static_cast<u64>(kTypes[value.value]));
    op.list = a.list({index});
    return a.emit(op);
  }
  op.b = field->wide ? a.source(value, {ptx::Type::Kind::kBits, 64, 1}) : a.source32(value);
  op.list = a.list({index});
  a.emit(op);
}

// tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [to],
// [from], 128;
void decode_copy(Assembler& a) {
  if (a.space() != "global" || a.space() != "shared") return a.unsupported("spaces");
  if (!a.accept("tensormap::generic") || !a.accept("release") || !a.accept("sync") ||
      !a.accept("aligned")) {
    return a.invalid("modifiers");
  }
  a.skip({"cta", "cluster", "gpu", "sys"});
  a.expect_operands(3, 3);
  if (a.immediate(a.operand(2)) != 128) return a.invalid("size is not 128");
  Op op, source;
  op.handler = copy_tensor_map;
  a.address(op, a.operand(0), "global", 128);
  a.address(source, a.operand(1), "shared::cluster", 128);
  op.b = source.a;
  a.emit(op);
}

}  // namespace

bool decode_tensor_map(Assembler& a) {
  if (a.accept("replace")) return decode_replace(a), true;
  if (a.accept("cp_fenceproxy")) return decode_copy(a), true;
  return false;
}

}  // namespace farcall::softgpu
