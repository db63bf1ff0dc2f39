// setp, set, selp, slct.
#include "softgpu/decode/assembler.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;

// Unsigned comparisons have names of their own: lo, ls, hi, hs.
bool accept_comparison(Assembler& a, Comparison* comparison, bool* is_unsigned) {
  struct Entry {
    std::string_view name;
    Comparison comparison;
    bool is_unsigned;
  };
  static constexpr Entry kEntries[] = {
      {"eq", Comparison::kEq, false},   {"ne", Comparison::kNe, false},
      {"lt", Comparison::kLt, false},   {"le", Comparison::kLe, false},
      {"gt", Comparison::kGt, false},   {"ge", Comparison::kGe, false},
      {"lo", Comparison::kLt, true},    {"ls", Comparison::kLe, true},
      {"hi", Comparison::kGt, true},    {"hs", Comparison::kGe, true},
      {"equ", Comparison::kEqu, false}, {"neu", Comparison::kNeu, false},
      {"ltu", Comparison::kLtu, false}, {"leu", Comparison::kLeu, false},
      {"gtu", Comparison::kGtu, false}, {"geu", Comparison::kGeu, false},
      {"num", Comparison::kNum, false}, {"nan", Comparison::kNan, false},
  };
  for (const Entry& entry : kEntries) {
    if (!a.accept(entry.name)) continue;
    *comparison = entry.comparison;
    *is_unsigned = entry.is_unsigned;
    return true;
  }
  a.invalid("no comparison");
  return false;
}

s64 set_value(ptx::Type to, ptx::Type from) {
  const bool pair = from.lanes == 2;
  if (to.kind == Kind::kFloat && to.bits == 32) return kSetF32;
  if (to.kind == Kind::kFloat) return pair ? kSetF16x2 : kSetF16;
  if (to.kind == Kind::kBfloat) return pair ? kSetBf16x2 : kSetBf16;
  if (pair) return kSetMask16x2;
  return to.bits == 16 ? kSetMask16 : kSetMask;
}

void decode_setp(Assembler& a, bool is_set) {
  Comparison comparison{};
  bool is_unsigned = false;
  if (!accept_comparison(a, &comparison, &is_unsigned)) return;
  Op op;
  const int combine = a.accept_one_of({"and", "or", "xor"});
  const bool flush = a.accept("ftz");
  const ptx::Type to = is_set ? a.type() : ptx::Type{};
  ptx::Type type = a.type();
  if (is_unsigned) {
    if (!type.is_integer()) return a.invalid("an unsigned comparison of floats");
    type.kind = Kind::kUnsigned;
  }
  a.expect_operands(combine < 0 ? 3 : 4, combine < 0 ? 3 : 4);
  op.handler = handlers().compare(comparison, type, flush);
  if (op.handler == nullptr) return a.unsupported("");
  if (is_set) {
    if (to.bits != 32 && to.bits != 16) return a.unsupported("");
    op.imm = set_value(to, type);
    // set.f16x2 results may be named .f16x2 or .u32: 32 bits either way.
    ptx::Type d = to;
    if (type.lanes == 2) d = {Kind::kBits, 32, 1};
    op.d = a.destination(a.operand(0), d);
  } else {
    op.pd = a.predicate_destination(a.operand(0));
    op.pq = a.second_predicate(a.operand(0));
  }
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  if (combine >= 0) {
    bool negated = false;
    op.ps = a.predicate_source(a.operand(3), &negated);
    op.flags = static_cast<u8>((combine + 1) | (negated ? kCombineNegated : 0));
  }
  a.emit(op);
}

void decode_selp(Assembler& a) {
  const ptx::Type type = a.type();
  a.expect_operands(4, 4);
  if (type.is_predicate() || type.total_bits() == 128 || type.bits == 8) return a.unsupported("");
  Op op;
  op.handler = handlers().select(type.total_bits());
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  bool negated = false;
  op.ps = a.predicate_source(a.operand(3), &negated);
  op.flags = negated ? 1 : 0;
  a.emit(op);
}

void decode_slct(Assembler& a) {
  const bool flush = a.accept("ftz");
  const ptx::Type type = a.type(), sign = a.type();
  a.expect_operands(4, 4);
  if (sign.total_bits() != 32 || type.total_bits() == 128 || type.is_predicate())
    return a.unsupported("");
  Op op;
  op.handler = handlers().select_signed(type);
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  op.c = a.source(a.operand(3), sign);
  op.flags = static_cast<u8>((sign.is_float() ? 1 : 0) | (flush ? 2 : 0));
  a.emit(op);
}

}  // namespace

bool decode_compare(Assembler& a) {
  if (a.opcode() == "setp") return decode_setp(a, false), true;
  if (a.opcode() == "set") return decode_setp(a, true), true;
  if (a.opcode() == "selp") return decode_selp(a), true;
  if (a.opcode() == "slct") return decode_slct(a), true;
  return false;
}

}  // namespace farcall::softgpu
