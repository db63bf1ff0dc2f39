// mma, ldmatrix, stmatrix, movmatrix: instructions of a whole warp.
#include <fmt/format.h>

#include <optional>

#include "softgpu/decode/assembler.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
constexpr ptx::Type kB32{Kind::kBits, 32, 1};
constexpr ptx::Type kF64{Kind::kFloat, 64, 1};

// All lanes take part.
void emit_for_warp(Assembler& a, Op op) {
  op.control = Control::kWarpSync;
  op.c = a.constant(32, kAllLanes);
  a.emit(op);
}

struct Shape {
  std::string_view name;
  int rows, depth;
};
constexpr Shape kShapes[] = {{"m8n8k4", 8, 4},     {"m8n8k16", 8, 16},  {"m8n8k32", 8, 32},
                             {"m16n8k4", 16, 4},   {"m16n8k8", 16, 8},  {"m16n8k16", 16, 16},
                             {"m16n8k32", 16, 32}, {"m16n8k64", 16, 64}};

// The types of mma are not all types of registers, so they are taken by name.
std::optional<MatrixInput> accept_input(Assembler& a) {
  static constexpr std::pair<std::string_view, MatrixInput> kInputs[] = {
      {"f16", MatrixInput::kF16}, {"bf16", MatrixInput::kBf16}, {"tf32", MatrixInput::kTf32},
      {"f64", MatrixInput::kF64}, {"s8", MatrixInput::kS8},     {"u8", MatrixInput::kU8},
      {"s4", MatrixInput::kS4},   {"u4", MatrixInput::kU4}};
  const std::string_view name = a.take_next();
  for (const auto& [known, input] : kInputs) {
    if (known == name) return input;
  }
  return {};
}
std::optional<MatrixSum> accept_sum(Assembler& a) {
  static constexpr std::pair<std::string_view, MatrixSum> kSums[] = {{"f16", MatrixSum::kF16},
                                                                     {"f32", MatrixSum::kF32},
                                                                     {"f64", MatrixSum::kF64},
                                                                     {"s32", MatrixSum::kS32}};
  const std::string_view name = a.take_next();
  for (const auto& [known, sum] : kSums) {
    if (known == name) return sum;
  }
  return {};
}

int bits_of(MatrixInput input) {
  switch (input) {
    case MatrixInput::kF16:
    case MatrixInput::kBf16:
      return 16;
    case MatrixInput::kTf32:
      return 32;
    case MatrixInput::kF64:
      return 64;
    case MatrixInput::kS8:
    case MatrixInput::kU8:
      return 8;
    default:
      return 4;
  }
}

// Which depths exist for a type. m8n8k4 of f16 (Volta) lies differently and is not among them.
bool exists(MatrixInput input, int rows, int depth) {
  switch (bits_of(input)) {
    case 64:
      return (rows == 8 && depth == 4) || (rows == 16 && (depth == 4 || depth == 8 || depth == 16));
    case 32:
      return rows == 16 && (depth == 4 || depth == 8);
    case 16:
      return rows == 16 && (depth == 8 || depth == 16);
    case 8:
      return (rows == 8 && depth == 16) || (rows == 16 && (depth == 16 || depth == 32));
    default:
      return (rows == 8 && depth == 32) || (rows == 16 && (depth == 32 || depth == 64));
  }
}

// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {d}, {a}, {b}, {c};  (D, A, B, C in that order)
void decode_mma(Assembler& a) {
  if (!a.accept("sync") || !a.accept("aligned")) return a.invalid("no .sync.aligned");
  const Shape* shape = nullptr;
  for (const Shape& s : kShapes) {
    if (shape == nullptr && a.accept(s.name)) shape = &s;
  }
  if (shape == nullptr || !a.accept("row") || !a.accept("col")) return a.unsupported("shape");
  const bool saturate = a.accept("satfinite");
  a.expect_operands(4, 4);
  const auto d_type = accept_sum(a);
  const auto a_type = accept_input(a);
  const auto b_type = accept_input(a);
  const auto c_type = accept_sum(a);
  if (a.failed() || !d_type || !a_type || !b_type || !c_type || *d_type != *c_type ||
      !exists(*a_type, shape->rows, shape->depth)) {
    return a.unsupported("types");
  }
  Op op;
  op.handler = handlers().mma(*a_type, *b_type, *d_type);
  if (op.handler == nullptr || (saturate && *d_type != MatrixSum::kS32))
    return a.unsupported("types");
  op.count = static_cast<u8>(shape->rows);
  op.imm = shape->depth;
  op.flags = saturate ? 1 : 0;

  const int bits = bits_of(*a_type);
  const size_t per_lane = bits == 64 ? 64 : 32;
  const size_t inputs_a = static_cast<size_t>(shape->rows * shape->depth * bits / 32) / per_lane;
  const size_t inputs_b = static_cast<size_t>(8 * shape->depth * bits / 32) / per_lane;
  const size_t sums = static_cast<size_t>(shape->rows) / (*d_type == MatrixSum::kF16 ? 8 : 4);
  const size_t counts[4] = {sums, inputs_a, inputs_b, sums};
  const ptx::Type input_type = bits == 64 ? kF64 : kB32,
                  sum_type = *d_type == MatrixSum::kF64 ? kF64 : kB32;
  std::vector<u32> slots;
  for (size_t k = 0; k < 4; ++k) {
    const ptx::Operand& operand = a.operand(k);
    const bool one = counts[k] == 1 && operand.kind == ptx::Operand::Kind::kRegister;
    if (!one &&
        (operand.kind != ptx::Operand::Kind::kVector || operand.elements.size() != counts[k])) {
      return a.invalid(fmt::format("{} registers expected in operand {}", counts[k], k + 1));
    }
    const ptx::Type type = k == 0 || k == 3 ? sum_type : input_type;
    for (size_t i = 0; i < counts[k]; ++i) {
      const ptx::Operand& element = one ? operand : operand.elements[i];
      slots.push_back(k == 0 ? a.destination(element, type) : a.source(element, type));
    }
  }
  op.list = a.list(std::move(slots));
  emit_for_warp(a, op);
}

void decode_matrix_move(Assembler& a, bool is_load) {
  if (!a.accept("sync") || !a.accept("aligned") || !a.accept("m8n8")) return a.unsupported("shape");
  static constexpr unsigned kCounts[] = {1, 2, 4};
  const int count = a.accept_one_of({"x1", "x2", "x4"});
  const bool transposed = a.accept("trans");
  a.space();
  if (count < 0 || !a.accept("b16")) return a.unsupported("");
  a.expect_operands(2, 2);
  Op op;
  op.handler = handlers().matrix_move(
      is_load ? (transposed ? MatrixMove::kLoadTransposed : MatrixMove::kLoad)
              : (transposed ? MatrixMove::kStoreTransposed : MatrixMove::kStore));
  a.address(op, a.operand(is_load ? 1 : 0), "shared", 16);
  const ptx::Operand& values = a.operand(is_load ? 0 : 1);
  op.count = static_cast<u8>(kCounts[count]);
  std::vector<u32> slots;
  if (values.kind != ptx::Operand::Kind::kVector || values.elements.size() != op.count) {
    return a.invalid(fmt::format("{} registers expected", op.count));
  }
  for (const ptx::Operand& element : values.elements) {
    slots.push_back(is_load ? a.destination(element, kB32) : a.source(element, kB32));
  }
  op.list = a.list(std::move(slots));
  emit_for_warp(a, op);
}

void decode_movmatrix(Assembler& a) {
  if (!a.accept("sync") || !a.accept("aligned") || !a.accept("m8n8") || !a.accept("trans") ||
      !a.accept("b16")) {
    return a.unsupported("");
  }
  a.expect_operands(2, 2);
  Op op;
  op.handler = handlers().matrix_move(MatrixMove::kTranspose);
  op.d = a.destination(a.operand(0), kB32);
  op.a = a.source(a.operand(1), kB32);
  emit_for_warp(a, op);
}

}  // namespace

bool decode_matrix(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "mma") return decode_mma(a), true;
  if (opcode == "ldmatrix") return decode_matrix_move(a, true), true;
  if (opcode == "stmatrix") return decode_matrix_move(a, false), true;
  if (opcode == "movmatrix") return decode_movmatrix(a), true;
  return false;
}

}  // namespace farcall::softgpu
