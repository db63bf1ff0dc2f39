// mov, and what turns addresses of one state space into those of another.
#include <fmt/format.h>

#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
using OperandKind = ptx::Operand::Kind;
constexpr ptx::Type kB64{Kind::kBits, 64, 1};

void move_predicate(Assembler& a) {
  Op op;
  op.handler = predicate_logic;
  bool negated = false;
  op.pd = a.predicate_destination(a.operand(0));
  op.ps = a.predicate_source(a.operand(1), &negated);
  op.flags = static_cast<u8>(kPredicateCopy | (negated ? kNegateFirst : 0));
  a.emit(op);
}

// mov.b64 {%r1, %r2}, %rd1
void unpack(Assembler& a, ptx::Type type) {
  const auto& elements = a.operand(0).elements;
  const auto count = static_cast<unsigned>(elements.size());
  Op op;
  op.handler = handlers().unpack(type.total_bits(), count);
  if (op.handler == nullptr)
    return a.unsupported(fmt::format("{} elements in {} bits", count, type.total_bits()));
  op.a = a.source(a.operand(1), {Kind::kBits, static_cast<uint16_t>(type.total_bits()), 1});
  const ptx::Type element{Kind::kBits, static_cast<uint16_t>(type.total_bits() / count), 1};
  std::vector<u32> slots;
  for (const ptx::Operand& e : elements) {
    unsigned bits = 32;
    if (e.kind == OperandKind::kSink)
      slots.push_back(kNoSlot);
    else
      slots.push_back(element.bits < 16 ? a.loose_destination(e, element, &bits)
                                        : a.destination(e, element));
    if (bits != 32) a.invalid("element wider than its part");
  }
  op.count = static_cast<u8>(count);
  op.list = a.list(std::move(slots));
  a.emit(op);
}

// The two halves of a b128 register are slots of their own.
Slot high_half(Slot slot) { return slot + 8 * kLanes; }

void copy64(Assembler& a, Slot d, Slot from) {
  Op op;
  op.handler = handlers().copy(64);
  op.d = d;
  op.a = from;
  a.emit(op);
}

// {lo, hi} of 64 bits each, or {a, b, c, d} of 32.
void move128(Assembler& a) {
  const ptx::Operand &to = a.operand(0), &from = a.operand(1);
  auto is_vector = [&](const ptx::Operand& operand) {
    if (operand.kind != OperandKind::kVector) return false;
    if (operand.elements.size() != 2 && operand.elements.size() != 4) a.unsupported("");
    return true;
  };
  if (is_vector(to)) {
    const Slot source = a.whole128(from);
    const size_t count = to.elements.size();
    for (u32 half = 0; half < 2 && count == 2; ++half) {
      if (to.elements[half].kind != OperandKind::kSink)
        copy64(a, a.destination(to.elements[half], kB64), source + half * 8 * kLanes);
    }
    for (u32 half = 0; half < 2 && count == 4; ++half) {
      Op op;
      op.handler = handlers().unpack(64, 2);
      op.a = source + half * 8 * kLanes;
      op.count = 2;
      std::vector<u32> slots;
      for (size_t k = 0; k < 2; ++k) {
        const ptx::Operand& element = to.elements[half * 2 + k];
        slots.push_back(element.kind == OperandKind::kSink
                            ? kNoSlot
                            : a.destination(element, {Kind::kBits, 32, 1}));
      }
      op.list = a.list(std::move(slots));
      a.emit(op);
    }
  } else if (is_vector(from)) {
    const Slot d = a.whole128(to);
    if (from.elements.size() == 2) {
      copy64(a, d, a.source(from.elements[0], kB64));
      copy64(a, high_half(d), a.source(from.elements[1], kB64));
    }
    for (u32 half = 0; half < 2 && from.elements.size() == 4; ++half) {
      Op op;
      op.handler = handlers().pack(64, 2);
      op.list =
          a.list({a.source32(from.elements[half * 2]), a.source32(from.elements[half * 2 + 1])});
      op.d = d + half * 8 * kLanes;
      a.emit(op);
    }
  } else {
    const Slot d = a.whole128(to), source = a.whole128(from);
    copy64(a, d, source);
    copy64(a, high_half(d), high_half(source));
  }
}

void decode_mov(Assembler& a) {
  a.accept("v2");  // mov.v2 of packed registers is written with braces anyway
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (a.failed()) return;
  if (type.is_predicate()) return move_predicate(a);
  if (type.total_bits() == 128) return move128(a);
  if (type.bits == 8) return a.unsupported("");
  if (a.operand(0).kind == OperandKind::kVector) return unpack(a, type);
  ptx::Type bits = type;
  // A float's bits may be given as an integer in mov.
  if (a.operand(1).kind == OperandKind::kInteger) bits.kind = Kind::kBits;
  Op op;
  op.handler = handlers().copy(type.total_bits() == 64 ? 64 : 32);
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), bits);
  if (op.d != op.a) a.emit(op);
}

// Shared addresses count from the start of the block's shared memory; all others are generic ones
// already.
void decode_cvta(Assembler& a) {
  const bool to_space = a.accept("to");
  const std::string_view space = a.space();
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (type.bits != 64) return a.unsupported("addresses of 32 bits");
  Op op;
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  if ((space == "shared" || space == "shared::cluster") && to_space) {
    op.handler = generic_to_cluster;  // the address may be another block's
  } else if (space == "shared::cluster") {
    op.handler = cluster_to_generic;
    op.flags = static_cast<u8>(AddressKind::kShared64);
  } else if (space == "shared") {
    op.handler = handlers().integer(IntegerOp::kAdd, {Kind::kUnsigned, 64, 1});
    op.b = a.special(Special::kSharedBase);
  } else {
    op.handler = handlers().copy(64);
    if (op.d == op.a) return;
  }
  a.emit(op);
}

void decode_isspacep(Assembler& a) {
  const std::string_view space = a.space();
  a.expect_operands(2, 2);
  Op op;
  op.handler = is_space;
  op.flags = space == "shared"            ? kIsShared
             : space == "shared::cluster" ? kIsSharedOfCluster
             : space == "local"           ? kIsLocal
             : space == "const"           ? kIsConst
             : space == "param"           ? kIsParam
                                          : kIsGlobal;
  if (space == "generic") return a.unsupported("");
  op.pd = a.predicate_destination(a.operand(0));
  op.a = a.source(a.operand(1), kB64);
  a.emit(op);
}

}  // namespace

bool decode_move(Assembler& a) {
  if (a.opcode() == "mov") return decode_mov(a), true;
  if (a.opcode() == "cvta") return decode_cvta(a), true;
  if (a.opcode() == "isspacep") return decode_isspacep(a), true;
  return false;
}

}  // namespace farcall::softgpu
