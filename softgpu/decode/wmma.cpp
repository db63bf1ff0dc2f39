// wmma: matrices of a whole warp whose layout in registers is the implementation's own business
// (exec/handlers/wmma.cpp has ours).
#include <fmt/format.h>

#include <cstring>

#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/matrix_plan.h"

namespace farcall::softgpu {
namespace {

using Input = MatrixInput;
using OperandKind = ptx::Operand::Kind;

struct Shape {
  std::string_view name;
  u32 rows, columns, depth;
};
constexpr Shape kShapes[] = {{"m16n16k16", 16, 16, 16}, {"m8n32k16", 8, 32, 16},
                             {"m32n8k16", 32, 8, 16},   {"m16n16k8", 16, 16, 8},
                             {"m8n8k4", 8, 8, 4},       {"m8n8k32", 8, 8, 32},
                             {"m8n8k128", 8, 8, 128}};

const Shape* accept_shape(Assembler& a) {
  for (const Shape& s : kShapes) {
    if (a.accept(s.name)) return &s;
  }
  a.unsupported("shape");
  return nullptr;
}

struct InputType {
  std::string_view name;
  Input input;
  u32 bits;
  u32 depth;  // of the shapes it has
};
constexpr InputType kInputs[] = {
    {"f16", Input::kF16, 16, 16}, {"bf16", Input::kBf16, 16, 16}, {"tf32", Input::kTf32, 32, 8},
    {"f64", Input::kF64, 64, 4},  {"s8", Input::kS8, 8, 16},      {"u8", Input::kU8, 8, 16},
    {"s4", Input::kS4, 4, 32},    {"u4", Input::kU4, 4, 32},      {"b1", Input::kB1And, 1, 128}};

const InputType* find_input(std::string_view name) {
  for (const InputType& type : kInputs) {
    if (type.name == name) return &type;
  }
  return nullptr;
}
bool find_sum(std::string_view name, MatrixSum* sum, u32* bits) {
  *bits = name == "f16" ? 16 : name == "f64" ? 64 : 32;
  *sum = name == "f16"   ? MatrixSum::kF16
         : name == "f32" ? MatrixSum::kF32
         : name == "f64" ? MatrixSum::kF64
                         : MatrixSum::kS32;
  return name == "f16" || name == "f32" || name == "f64" || name == "s32";
}
// Whether products of this type are added up in that one.
bool goes_with(const InputType& input, MatrixSum sum) {
  switch (input.input) {
    case Input::kF16:
      return sum == MatrixSum::kF16 || sum == MatrixSum::kF32;
    case Input::kBf16:
    case Input::kTf32:
      return sum == MatrixSum::kF32;
    case Input::kF64:
      return sum == MatrixSum::kF64;
    default:
      return sum == MatrixSum::kS32;
  }
}
// A C of this type exists in the shape.
bool sum_in_shape(MatrixSum sum, u32 depth) {
  switch (sum) {
    case MatrixSum::kF16:
      return depth == 16;
    case MatrixSum::kF32:
      return depth == 16 || depth == 8;
    case MatrixSum::kF64:
      return depth == 4;
    case MatrixSum::kS32:
      return depth == 16 || depth == 32 || depth == 128;
  }
  return false;
}

u32 register_bits_of(u32 bits) { return bits == 64 ? 64 : 32; }
u32 registers_of(u32 elements, u32 bits, bool is_half_input) {
  return is_half_input ? 8 : elements * bits / (kLanes * register_bits_of(bits));
}

void add_registers(Assembler& a, const ptx::Operand& operand, u32 count, u32 register_bits,
                   bool is_destination, std::vector<u32>& list) {
  const ptx::Type type{ptx::Type::Kind::kBits, static_cast<u16>(register_bits), 1};
  const bool one = count == 1 && operand.kind == OperandKind::kRegister;
  if (!one && (operand.kind != OperandKind::kVector || operand.elements.size() != count))
    return a.invalid(fmt::format("{} registers expected", count));
  for (u32 i = 0; i < count; ++i) {
    const ptx::Operand& element = one ? operand : operand.elements[i];
    list.push_back(is_destination ? a.destination(element, type) : a.source(element, type));
  }
}

template <class Plan>
std::vector<u32> list_with(const Plan& plan) {
  std::vector<u32> list(sizeof plan / sizeof(u32));
  std::memcpy(list.data(), &plan, sizeof plan);
  return list;
}

// wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {registers}, [address], stride;
void decode_move(Assembler& a, bool is_load) {
  const int matrix = is_load ? a.accept_one_of({"a", "b", "c"}) : a.accept("d") ? 2 : -1;
  if (matrix < 0) return a.invalid("no matrix");
  if (!a.accept("sync")) return a.invalid("no .sync");
  a.accept("aligned");
  const bool columns = !a.accept("row");
  if (columns && !a.accept("col")) return a.invalid("no .row or .col");
  const Shape* const shape = accept_shape(a);
  const std::string_view space = a.space();
  if (shape == nullptr) return;
  FragmentPlan plan{};
  plan.rows = matrix == 1 ? shape->depth : shape->rows;
  plan.columns = matrix == 0 ? shape->depth : shape->columns;
  plan.memory_columns = columns;
  const std::string_view name = a.take_next();
  bool is_half = false;
  if (matrix == 2) {
    MatrixSum sum;
    if (!find_sum(name, &sum, &plan.bits) || !sum_in_shape(sum, shape->depth))
      return a.unsupported("type");
  } else {
    const InputType* const type = find_input(name);
    if (type == nullptr || type->depth != shape->depth) return a.unsupported("type");
    plan.bits = type->bits;
    is_half = type->input == Input::kF16;
    // Elements of less than a byte have one layout each.
    if (plan.bits < 8 && columns != (matrix == 1)) return a.unsupported("layout");
    plan.register_columns = plan.bits < 8 && matrix == 1;
  }
  plan.register_bits = register_bits_of(plan.bits);
  plan.registers = registers_of(plan.rows * plan.columns, plan.bits, is_half);
  a.expect_operands(2, 3);
  if (a.failed()) return;
  Op op;
  op.handler = is_load ? handlers().wmma_load : handlers().wmma_store;
  a.address(op, a.operand(is_load ? 1 : 0), space, 1);
  op.access = {is_load ? Access::kRead : Access::kWrite, 0, 0};  // rows of the matrix
  plan.stride = a.operand_count() == 3 ? a.source32(a.operand(2)) : kNoSlot;
  std::vector<u32> list = list_with(plan);
  add_registers(a, a.operand(is_load ? 0 : 1), plan.registers, plan.register_bits, is_load, list);
  op.list = a.list(std::move(list));
  a.emit_for_warp(op);
}

// wmma.mma.sync.aligned.row.col.m16n16k16.f32.f16 d, a, b, c;  (D, C; or D, A, B, C)
void decode_multiply(Assembler& a) {
  const int bit_operation = a.accept_one_of({"and", "xor"});
  if ((bit_operation >= 0) != a.accept("popc")) return a.invalid(".popc and its operation");
  if (!a.accept("sync")) return a.invalid("no .sync");
  a.accept("aligned");
  // How A and B lie in memory: nothing that registers know of.
  const int layouts = a.accept("row") + a.accept("row") + a.accept("col") + a.accept("col");
  if (layouts != 2) return a.invalid("no two layouts");
  const Shape* const shape = accept_shape(a);
  if (shape == nullptr) return;
  WmmaPlan plan{};
  plan.saturate = a.accept("satfinite");
  a.accept("rn");  // of f64, and what it does anyway
  std::vector<std::string_view> names;
  for (std::string_view name = a.take_next(); !name.empty(); name = a.take_next())
    names.push_back(name);
  if (names.size() == 2) names = {names[0], "f16", "f16", names[1]};
  if (names.size() != 4) return a.unsupported("types");
  const InputType *const type_a = find_input(names[1]), *const type_b = find_input(names[2]);
  u32 d_bits = 0, c_bits = 0;
  if (type_a == nullptr || type_b == nullptr || !find_sum(names[0], &plan.d, &d_bits) ||
      !find_sum(names[3], &plan.c, &c_bits) || type_a->depth != shape->depth ||
      type_a->input != type_b->input || !goes_with(*type_a, plan.d) ||
      !goes_with(*type_a, plan.c) || (type_a->bits == 1) != (bit_operation >= 0) ||
      (plan.saturate != 0 && (plan.d != MatrixSum::kS32 || type_a->bits == 1))) {
    return a.unsupported("types");
  }
  plan.rows = shape->rows;
  plan.columns = shape->columns;
  plan.depth = shape->depth;
  plan.a = plan.b = bit_operation == 1 ? Input::kB1Xor : type_a->input;
  const bool is_half = type_a->input == Input::kF16;
  const u32 sums = plan.rows * plan.columns;
  plan.d_registers = registers_of(sums, d_bits, false);
  plan.a_registers = registers_of(plan.rows * plan.depth, type_a->bits, is_half);
  plan.b_registers = registers_of(plan.columns * plan.depth, type_a->bits, is_half);
  a.expect_operands(4, 4);
  if (a.failed()) return;
  const u32 input_bits = register_bits_of(type_a->bits);
  std::vector<u32> list = list_with(plan);
  add_registers(a, a.operand(0), plan.d_registers, register_bits_of(d_bits), true, list);
  add_registers(a, a.operand(1), plan.a_registers, input_bits, false, list);
  add_registers(a, a.operand(2), plan.b_registers, input_bits, false, list);
  add_registers(a, a.operand(3), registers_of(sums, c_bits, false), register_bits_of(c_bits), false,
                list);
  Op op;
  op.handler = handlers().wmma_multiply(plan.a, plan.d);
  op.list = a.list(std::move(list));
  if (op.handler == nullptr) return a.unsupported("types");
  a.emit_for_warp(op);
}

}  // namespace

bool decode_wmma(Assembler& a) {
  if (a.accept("load")) return decode_move(a, true), true;
  if (a.accept("store")) return decode_move(a, false), true;
  if (a.accept("mma")) return decode_multiply(a), true;
  return false;
}

}  // namespace farcall::softgpu
