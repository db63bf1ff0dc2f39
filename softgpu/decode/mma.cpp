// mma and mma.sp: products of small matrices by a warp.
#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/matrix_plan.h"

namespace farcall::softgpu {
namespace {

using Input = MatrixInput;
using OperandKind = ptx::Operand::Kind;
constexpr ptx::Type kB32{ptx::Type::Kind::kBits, 32, 1};
constexpr ptx::Type kB16{ptx::Type::Kind::kBits, 16, 1};
constexpr ptx::Type kF64{ptx::Type::Kind::kFloat, 64, 1};

struct Shape {
  std::string_view name;
  int rows, depth;
};
constexpr Shape kShapes[] = {{"m8n8k4", 8, 4},       {"m8n8k16", 8, 16},    {"m8n8k32", 8, 32},
                             {"m8n8k128", 8, 128},   {"m16n8k4", 16, 4},    {"m16n8k8", 16, 8},
                             {"m16n8k16", 16, 16},   {"m16n8k32", 16, 32},  {"m16n8k64", 16, 64},
                             {"m16n8k128", 16, 128}, {"m16n8k256", 16, 256}};

// .kind::, which says how narrow floats lie in registers and whether they are scaled.
enum class Kind : u8 { kNone, kF8f6f4, kMxf8f6f4, kMxf4, kMxf4nvf4 };

struct Mma {
  const Shape* shape = nullptr;
  Kind kind = Kind::kNone;
  Input a{}, b{};
  MatrixSum d{}, c{};
  bool sparse = false, saturate = false;
  bool a_columns = false, b_columns = false;  // .col
  int scales = 0;                             // .scale_vec
  ScaleFormat scale_format{};

  bool scaled() const { return kind >= Kind::kMxf8f6f4; }
  bool four_bit_kind() const { return kind >= Kind::kMxf4; }
  int stored_depth() const { return sparse ? shape->depth / 2 : shape->depth; }
};

// The types of mma are not all types of registers, so they are taken by name.
bool accept_input(Assembler& a, Input& input) {
  static constexpr std::pair<std::string_view, Input> kInputs[] = {
      {"f16", Input::kF16},   {"bf16", Input::kBf16}, {"tf32", Input::kTf32},
      {"f64", Input::kF64},   {"s8", Input::kS8},     {"u8", Input::kU8},
      {"s4", Input::kS4},     {"u4", Input::kU4},     {"b1", Input::kB1And},
      {"e4m3", Input::kE4m3}, {"e5m2", Input::kE5m2}, {"e3m2", Input::kE3m2},
      {"e2m3", Input::kE2m3}, {"e2m1", Input::kE2m1}};
  const std::string_view name = a.take_next();
  for (const auto& [known, value] : kInputs) {
    if (known == name) return input = value, true;
  }
  return false;
}
bool accept_sum(Assembler& a, MatrixSum& sum) {
  static constexpr std::pair<std::string_view, MatrixSum> kSums[] = {{"f16", MatrixSum::kF16},
                                                                     {"f32", MatrixSum::kF32},
                                                                     {"f64", MatrixSum::kF64},
                                                                     {"s32", MatrixSum::kS32}};
  const std::string_view name = a.take_next();
  for (const auto& [known, value] : kSums) {
    if (known == name) return sum = value, true;
  }
  return false;
}

bool accept_shape(Assembler& a, Mma& m) {
  for (const Shape& s : kShapes) {
    if (a.accept(s.name)) return m.shape = &s, true;
  }
  return false;
}

// The next .row or .col; true in `columns` for .col.
bool accept_layout(Assembler& a, bool& columns) {
  const auto& name = a.instruction().name;
  const auto at = [&](std::string_view layout) {
    size_t i = 1;
    while (i < name.size() && (a.is_taken(i) || name[i] != layout)) ++i;
    return i;
  };
  columns = at("col") < at("row");
  return a.accept(columns ? "col" : "row");
}

void accept_kind(Assembler& a, Mma& m) {
  static constexpr Kind kKinds[] = {Kind::kF8f6f4, Kind::kMxf8f6f4, Kind::kMxf4, Kind::kMxf4nvf4};
  const int kind =
      a.accept_one_of({"kind::f8f6f4", "kind::mxf8f6f4", "kind::mxf4", "kind::mxf4nvf4"});
  if (kind >= 0) m.kind = kKinds[kind];
  if (m.scaled() != a.accept("block_scale")) a.invalid("a kind without its .block_scale");
  static constexpr int kScales[] = {1, 2, 4};
  const int scales = a.accept_one_of({"scale_vec::1X", "scale_vec::2X", "scale_vec::4X"});
  if (scales >= 0) m.scales = kScales[scales];
  if (m.scales == 0 && m.kind == Kind::kMxf8f6f4) m.scales = 1;
  if (m.scales == 0 && m.kind == Kind::kMxf4) m.scales = 2;
}

bool is_narrow_float(Input input) { return input >= Input::kE4m3; }

// The formats of one operand that a kind takes.
bool kind_takes(const Mma& m, Input input) {
  if (m.four_bit_kind()) return input == Input::kE2m1;
  if (m.kind != Kind::kNone) return is_narrow_float(input);
  return !is_narrow_float(input) || input == Input::kE4m3 || input == Input::kE5m2;
}

// Bits of an element in a register.
int bits_of(const Mma& m, Input input) {
  switch (input) {
    case Input::kF16:
    case Input::kBf16:
      return 16;
    case Input::kTf32:
      return 32;
    case Input::kF64:
      return 64;
    case Input::kS4:
    case Input::kU4:
      return 4;
    case Input::kB1And:
    case Input::kB1Xor:
      return 1;
    case Input::kE2m1:
      return m.four_bit_kind() ? 4 : 8;
    default:
      return 8;
  }
}

bool inputs_agree(const Mma& m) {
  auto group = [](Input input) {
    if (is_narrow_float(input)) return Input::kE4m3;
    if (input == Input::kU8) return Input::kS8;
    return input == Input::kU4 ? Input::kS4 : input;
  };
  return group(m.a) == group(m.b) && kind_takes(m, m.a) && kind_takes(m, m.b);
}

bool sums_agree(const Mma& m) {
  switch (m.a) {
    case Input::kF64:
      return m.d == MatrixSum::kF64 && m.c == m.d;
    case Input::kS8:
    case Input::kU8:
    case Input::kS4:
    case Input::kU4:
    case Input::kB1And:
    case Input::kB1Xor:
      return m.d == MatrixSum::kS32 && m.c == m.d;
    case Input::kBf16:
    case Input::kTf32:
      return m.d == MatrixSum::kF32 && m.c == m.d;
    default:
      if (m.scaled()) return m.d == MatrixSum::kF32 && m.c == m.d;
      return (m.d == MatrixSum::kF32 || m.d == MatrixSum::kF16) && m.c == m.d;
  }
}

// Which shapes exist for a type.
bool shape_exists(const Mma& m) {
  const int rows = m.shape->rows, depth = m.shape->depth;
  if (m.sparse) {
    if (rows != 16) return false;
    switch (bits_of(m, m.a)) {
      case 32:
        return depth == 8 || depth == 16;
      case 16:
        return depth == 16 || depth == 32;
      case 8:
        return is_narrow_float(m.a) ? depth == 64 : depth == 32 || depth == 64;
      case 4:
        return m.scaled() ? depth == 128 : depth == 64 || depth == 128;
      default:
        return false;
    }
  }
  switch (bits_of(m, m.a)) {
    case 64:
      return (rows == 8 && depth == 4) || (rows == 16 && (depth == 4 || depth == 8 || depth == 16));
    case 32:
      return rows == 16 && (depth == 4 || depth == 8);
    case 16:
      return rows == 16 && (depth == 8 || depth == 16);
    case 8:
      if (m.kind != Kind::kNone) return rows == 16 && depth == 32;
      if (is_narrow_float(m.a)) return rows == 16 && (depth == 16 || depth == 32);
      return (rows == 8 && depth == 16) || (rows == 16 && (depth == 16 || depth == 32));
    case 4:
      if (m.scaled()) return rows == 16 && depth == 64;
      return (rows == 8 && depth == 32) || (rows == 16 && (depth == 32 || depth == 64));
    default:
      return (rows == 8 && depth == 128) || (rows == 16 && (depth == 128 || depth == 256));
  }
}

bool scales_agree(const Mma& m) {
  switch (m.kind) {
    case Kind::kMxf8f6f4:
      return m.scales == 1 && m.scale_format == ScaleFormat::kUe8m0;
    case Kind::kMxf4:
      return m.scales == 2 && m.scale_format == ScaleFormat::kUe8m0;
    case Kind::kMxf4nvf4:
      return m.scales == 4 || (m.scales == 2 && m.scale_format == ScaleFormat::kUe8m0);
    default:
      return m.scales == 0;
  }
}

// Registers of an operand, alone or in braces.
void add_registers(Assembler& a, size_t index, size_t count, ptx::Type type, bool is_destination,
                   std::vector<u32>& slots) {
  const ptx::Operand& operand = a.operand(index);
  const bool one = count == 1 && operand.kind == OperandKind::kRegister;
  if (!one && (operand.kind != OperandKind::kVector || operand.elements.size() != count)) {
    return a.invalid(fmt::format("{} registers expected in operand {}", count, index + 1));
  }
  for (size_t i = 0; i < count; ++i) {
    const ptx::Operand& element = one ? operand : operand.elements[i];
    slots.push_back(is_destination ? a.destination(element, type) : a.source(element, type));
  }
}

// Scale data and {byte, thread}.
ScaleOperand scale_operand(Assembler& a, size_t index) {
  ScaleOperand scale{};
  std::vector<u32> data;
  add_registers(a, index, 1, kB32, false, data);
  const ptx::Operand& selector = a.operand(index + 1);
  if (selector.kind != OperandKind::kVector || selector.elements.size() != 2) {
    a.invalid("no {byte, thread} behind the scales");
    return scale;
  }
  if (a.failed()) return scale;
  scale.data = data[0];
  scale.byte = a.source(selector.elements[0], kB16);
  scale.thread = a.source(selector.elements[1], kB16);
  return scale;
}

Sparsity sparsity_of(const Mma& m) {
  if (!m.sparse) return Sparsity::kNone;
  const int bits = bits_of(m, m.a);
  return bits == 32  ? Sparsity::kOneOfTwo
         : bits == 4 ? Sparsity::kFourOfEight
                     : Sparsity::kTwoOfFour;
}

// How many choices a sparsity selector has.
int selector_end(const Mma& m) {
  const int bits = bits_of(m, m.a);
  const int metadata_bits = m.shape->depth * 16 / (bits == 32 ? 2 : bits == 4 ? 8 : 4) * 4;
  return 4 / (metadata_bits / 8 / 32);  // a word from each lane of 1, 2 or 4 in a quad
}

void emit_general(Assembler& a, const Mma& m, const std::vector<u32>& slots) {
  MmaPlan plan{};
  plan.rows = static_cast<u32>(m.shape->rows);
  plan.depth = static_cast<u32>(m.shape->depth);
  plan.bits = static_cast<u32>(bits_of(m, m.a));
  plan.a = m.a;
  plan.b = m.b;
  plan.d = m.d;
  plan.c = m.c;
  plan.saturate = m.saturate;
  plan.a_columns = m.a_columns;
  plan.b_columns = m.b_columns;
  plan.sparsity = sparsity_of(m);
  plan.scales = static_cast<u32>(m.scales);
  plan.scale_format = m.scale_format;
  size_t next = 4;
  if (m.sparse) {
    plan.metadata = a.source32(a.operand(next));
    const s64 selector = a.immediate(a.operand(next + 1));
    if (selector < 0 || selector >= selector_end(m)) a.invalid("no such sparsity selector");
    plan.selector = static_cast<u32>(selector);
    next += 2;
  }
  if (m.scaled()) {
    plan.scale_a = scale_operand(a, next);
    plan.scale_b = scale_operand(a, next + 2);
  }
  if (a.failed()) return;
  std::vector<u32> list(sizeof plan / sizeof(u32));
  std::memcpy(list.data(), &plan, sizeof plan);
  list.insert(list.end(), slots.begin(), slots.end());
  Op op;
  op.handler = m.shape->rows == 8 ? mma_volta : mma_general;
  op.list = a.list(std::move(list));
  a.emit_for_warp(op);
}

// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 d, a, b, c;  (D, A, B, C in that order)
void decode(Assembler& a) {
  Mma m;
  m.sparse = a.accept_one_of({"sp", "sp::ordered_metadata"}) >= 0;
  if (!a.accept("sync")) return a.invalid("no .sync");
  a.accept("aligned");
  accept_kind(a, m);
  if (!accept_shape(a, m)) return a.unsupported("shape");
  if (!accept_layout(a, m.a_columns) || !accept_layout(a, m.b_columns))
    return a.invalid("no .row or .col");
  m.saturate = a.accept("satfinite");
  const int bit_operation = a.accept_one_of({"and", "xor"});
  if ((bit_operation >= 0) != a.accept("popc")) return a.invalid(".popc and its operation");
  if (!accept_sum(a, m.d) || !accept_input(a, m.a) || !accept_input(a, m.b) || !accept_sum(a, m.c))
    return a.unsupported("types");
  if (m.scaled()) {
    const int format = a.accept_one_of({"ue8m0", "ue4m3"});
    if (format < 0) return a.invalid("no type of scales");
    m.scale_format = format == 0 ? ScaleFormat::kUe8m0 : ScaleFormat::kUe4m3;
  }
  if (a.failed()) return;
  if ((m.a == Input::kB1And) != (bit_operation >= 0)) return a.unsupported("types");
  if (bit_operation == 1) m.a = m.b = Input::kB1Xor;
  const bool volta = m.shape->rows == 8 && m.a == Input::kF16 && m.b == Input::kF16;
  if (volta) {
    const bool sums = (m.d == MatrixSum::kF16 || m.d == MatrixSum::kF32) &&
                      (m.c == MatrixSum::kF16 || m.c == MatrixSum::kF32);
    if (m.shape->depth != 4 || !sums || m.sparse || m.saturate) return a.unsupported("types");
  } else if (!inputs_agree(m) || !sums_agree(m) || !shape_exists(m) || !scales_agree(m)) {
    return a.unsupported("types");
  } else if (m.a_columns || !m.b_columns) {
    return a.unsupported("layout");
  }
  if (m.saturate && (m.d != MatrixSum::kS32 || m.a == Input::kB1And || m.a == Input::kB1Xor))
    return a.unsupported(".satfinite");

  const size_t operands = 4u + (m.sparse ? 2 : 0) + (m.scaled() ? 4 : 0);
  a.expect_operands(operands, operands);
  if (a.failed()) return;
  const int bits = bits_of(m, m.a), register_bits = bits == 64 ? 64 : 32;
  const int per_register = register_bits / bits * kLanes;
  auto sums = [&](MatrixSum sum) {
    if (volta) return sum == MatrixSum::kF16 ? 4 : 8;
    return m.shape->rows / (sum == MatrixSum::kF16 ? 8 : 4);
  };
  const int inputs_a = volta ? 2 : m.shape->rows * m.stored_depth() / per_register;
  const int inputs_b = volta ? 2 : 8 * m.shape->depth / per_register;
  const ptx::Type input_type = bits == 64 ? kF64 : kB32;
  const ptx::Type sum_type = m.d == MatrixSum::kF64 ? kF64 : kB32;
  std::vector<u32> slots;
  add_registers(a, 0, static_cast<size_t>(sums(m.d)), sum_type, true, slots);
  add_registers(a, 1, static_cast<size_t>(inputs_a), input_type, false, slots);
  add_registers(a, 2, static_cast<size_t>(inputs_b), input_type, false, slots);
  add_registers(a, 3, static_cast<size_t>(sums(m.c)), sum_type, false, slots);
  if (a.failed()) return;
  if (m.sparse || m.scaled() || volta) return emit_general(a, m, slots);

  Op op;
  op.handler = handlers().mma(m.a, m.b, m.d, m.shape->rows, m.saturate);
  if (op.handler == nullptr) return a.unsupported("types");
  op.imm = inputs_b;
  auto format = [](Input input) {
    return is_narrow_float(input) ? static_cast<u32>(input) - static_cast<u32>(Input::kE4m3) : 0;
  };
  slots.push_back(format(m.a));
  slots.push_back(format(m.b));
  op.list = a.list(std::move(slots));
  a.emit_for_warp(op);
}

}  // namespace

bool decode_mma(Assembler& a) { return decode(a), true; }

}  // namespace farcall::softgpu
