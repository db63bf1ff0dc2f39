// ldmatrix, stmatrix, movmatrix: matrices between shared memory and the registers of a warp.
#include <fmt/format.h>

#include <optional>

#include "softgpu/decode/assembler.h"

namespace farcall::softgpu {
namespace {

constexpr ptx::Type kB32{ptx::Type::Kind::kBits, 32, 1};

struct MoveShape {
  MatrixMove move;
  u16 bits = 16;      // of an element in memory
  int registers = 1;  // of each matrix
  int count_max = 4;
};

// m8n8 of b16, or one of the shapes of bytes.
std::optional<MoveShape> accept_shape(Assembler& a, bool is_load) {
  if (a.accept("m8n8")) {
    const bool transposed = a.accept("trans");
    if (!a.accept("b16")) return {};
    return MoveShape{is_load ? (transposed ? MatrixMove::kLoadTransposed : MatrixMove::kLoad)
                             : (transposed ? MatrixMove::kStoreTransposed : MatrixMove::kStore)};
  }
  if (!is_load) {
    if (!a.accept("m16n8") || !a.accept("trans") || !a.accept("b8")) return {};
    return MoveShape{MatrixMove::kStoreBytesTransposed, 8};
  }
  const bool square = a.accept("m16n16");
  if (!square && !a.accept("m8n16")) return {};
  if (square && !a.accept("trans")) return {};
  static constexpr u16 kBits[] = {6, 4, 8};
  const int format = a.accept_one_of({"b6x16_p32", "b4x16_p64", "b8"});
  if (format < 0) return {};
  if (format < 2 && !a.accept("b8x16")) return {};
  if (square) return MoveShape{MatrixMove::kLoadBytesTransposed, kBits[format], 2, 2};
  if (format == 2) return {};
  return MoveShape{MatrixMove::kLoadUnpacked, kBits[format]};
}

void decode_matrix_move(Assembler& a, bool is_load) {
  if (!a.accept("sync") || !a.accept("aligned")) return a.invalid("no .sync.aligned");
  const auto shape = accept_shape(a, is_load);
  static constexpr int kCounts[] = {1, 2, 4};
  const int count = a.accept_one_of({"x1", "x2", "x4"});
  const std::string_view space = a.space();
  if (!shape || count < 0 || kCounts[count] > shape->count_max) return a.unsupported("shape");
  if (space != "shared" && space != "generic") return a.unsupported("space");
  a.expect_operands(2, 2);
  Op op;
  op.handler = handlers().matrix_move(shape->move);
  op.ps = shape->bits;
  a.address(op, a.operand(is_load ? 1 : 0), space, 16);
  op.access.kind = is_load ? Access::kRead : Access::kWrite;
  const ptx::Operand& values = a.operand(is_load ? 0 : 1);
  op.count = static_cast<u8>(kCounts[count]);
  const auto registers = static_cast<size_t>(kCounts[count] * shape->registers);
  std::vector<u32> slots;
  const bool one = registers == 1 && values.kind == ptx::Operand::Kind::kRegister;
  if (!one && (values.kind != ptx::Operand::Kind::kVector || values.elements.size() != registers))
    return a.invalid(fmt::format("{} registers expected", registers));
  for (size_t i = 0; i < registers; ++i) {
    const ptx::Operand& element = one ? values : values.elements[i];
    slots.push_back(is_load ? a.destination(element, kB32) : a.source(element, kB32));
  }
  op.list = a.list(std::move(slots));
  a.emit_for_warp(op);
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
  a.emit_for_warp(op);
}

}  // namespace

bool decode_matrix(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "ldmatrix") return decode_matrix_move(a, true), true;
  if (opcode == "stmatrix") return decode_matrix_move(a, false), true;
  if (opcode == "movmatrix") return decode_movmatrix(a), true;
  return false;
}

}  // namespace farcall::softgpu
