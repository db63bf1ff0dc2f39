// Integer arithmetic, logic and bit fields.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/special_integer.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
constexpr ptx::Type kU32{Kind::kUnsigned, 32, 1};

ptx::Type twice(ptx::Type type) {
  type.bits = static_cast<uint16_t>(2 * type.bits);
  return type;
}

// mul.wide and mad.wide: the result, and what is added, are twice as wide.
void emit_wide(Assembler& a, IntegerOp operation, ptx::Type type) {
  Op op;
  op.handler = handlers().integer(operation, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), twice(type));
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  if (operation == IntegerOp::kMadWide) op.c = a.source(a.operand(3), twice(type));
  a.emit(op);
}

// A result of 32 bits whatever the operand has.
void emit_to_32(Assembler& a, IntegerOp operation, ptx::Type type) {
  Op op;
  op.handler = handlers().integer(operation, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), kU32);
  op.a = a.source(a.operand(1), type);
  a.emit(op);
}

void emit_carry(Assembler& a, CarryOp operation, bool reads) {
  const bool writes = a.accept("cc");
  const ptx::Type type = a.type();
  const bool is_mad = operation == CarryOp::kMadLo || operation == CarryOp::kMadHi;
  a.expect_operands(is_mad ? 4 : 3, is_mad ? 4 : 3);
  Op op;
  op.handler = handlers().carry(operation, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.flags = static_cast<u8>((reads ? 1 : 0) | (writes ? 2 : 0));
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  if (is_mad) op.c = a.source(a.operand(3), type);
  a.emit(op);
}

void decode_add(Assembler& a, bool subtract) {
  for (std::string_view modifier : a.instruction().name) {
    if (modifier == "cc") return emit_carry(a, subtract ? CarryOp::kSub : CarryOp::kAdd, false);
  }
  const bool saturate = a.accept("sat");
  const ptx::Type type = a.type();
  a.expect_operands(3, 3);
  const IntegerOp plain = subtract ? IntegerOp::kSub : IntegerOp::kAdd;
  const IntegerOp saturating = subtract ? IntegerOp::kSubSat : IntegerOp::kAddSat;
  if (type.lanes == 2 && !saturate) return a.emit_simple(find_integer_pair(plain, type), type);
  a.emit_simple(handlers().integer(saturate ? saturating : plain, type), type);
}

void decode_multiply(Assembler& a, bool add) {
  for (std::string_view modifier : a.instruction().name) {
    if (add && modifier == "cc")
      return emit_carry(a, a.accept("hi") ? CarryOp::kMadHi : (a.accept("lo"), CarryOp::kMadLo),
                        false);
  }
  const int half = a.accept_one_of({"lo", "hi", "wide"});
  const bool saturate = a.accept("sat");
  const ptx::Type type = a.type();
  a.expect_operands(add ? 4 : 3, add ? 4 : 3);
  if (half == 2)
    return saturate ? a.unsupported("")
                    : emit_wide(a, add ? IntegerOp::kMadWide : IntegerOp::kMulWide, type);
  if (half < 0) return a.invalid("neither .lo nor .hi nor .wide");
  if (saturate) {
    if (!add || half != 1) return a.unsupported("");
    return a.emit_simple(handlers().integer(IntegerOp::kMadHiSat, type), type);
  }
  const IntegerOp operation = add ? (half == 0 ? IntegerOp::kMadLo : IntegerOp::kMadHi)
                                  : (half == 0 ? IntegerOp::kMulLo : IntegerOp::kMulHi);
  a.emit_simple(handlers().integer(operation, type), type);
}

void decode_multiply24(Assembler& a, bool add) {
  const int half = a.accept_one_of({"lo", "hi"});
  const ptx::Type type = a.type();
  a.expect_operands(add ? 4 : 3, add ? 4 : 3);
  if (half < 0) return a.invalid("neither .lo nor .hi");
  const IntegerOp operation = add ? (half == 0 ? IntegerOp::kMad24Lo : IntegerOp::kMad24Hi)
                                  : (half == 0 ? IntegerOp::kMul24Lo : IntegerOp::kMul24Hi);
  a.emit_simple(handlers().integer(operation, type), type);
}

void decode_min_max(Assembler& a, bool is_min) {
  const bool relu = a.accept("relu");
  const ptx::Type type = a.type();
  a.expect_operands(3, type.lanes == 2 ? 3 : 4);
  IntegerOp operation = is_min ? IntegerOp::kMin : IntegerOp::kMax;
  if (relu) operation = is_min ? IntegerOp::kMinRelu : IntegerOp::kMaxRelu;
  if (type.lanes == 2) return a.emit_simple(find_integer_pair(operation, type), type);
  if (a.operand_count() == 4) {
    if (relu) return a.unsupported("");
    operation = is_min ? IntegerOp::kMin3 : IntegerOp::kMax3;
  }
  a.emit_simple(handlers().integer(operation, type), type);
}

// and, or, xor, not: on predicates too.
void decode_logic(Assembler& a, IntegerOp operation, u8 predicate_operation) {
  const ptx::Type type = a.type();
  const bool is_unary = operation == IntegerOp::kNot;
  a.expect_operands(is_unary ? 2 : 3, is_unary ? 2 : 3);
  if (!type.is_predicate()) return a.emit_simple(handlers().integer(operation, type), type);
  Op op;
  op.handler = predicate_logic;
  bool first_negated = false, second_negated = false;
  op.pd = a.predicate_destination(a.operand(0));
  op.ps = a.predicate_source(a.operand(1), &first_negated);
  if (!is_unary) op.pq = a.predicate_source(a.operand(2), &second_negated);
  op.flags = static_cast<u8>(predicate_operation | (first_negated ? kNegateFirst : 0) |
                             (second_negated ? kNegateSecond : 0));
  a.emit(op);
}

void decode_shift(Assembler& a, IntegerOp operation) {
  const ptx::Type type = a.type();
  a.expect_operands(3, 3);
  Op op;
  op.handler = handlers().integer(operation, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source32(a.operand(2));
  a.emit(op);
}

void decode_funnel_shift(Assembler& a) {
  const bool left = a.accept("l");
  if (!left && !a.accept("r")) return a.invalid("neither .l nor .r");
  const bool wrap = a.accept("wrap");
  if (!wrap && !a.accept("clamp")) return a.invalid("neither .wrap nor .clamp");
  const ptx::Type type = a.type();
  a.expect_operands(4, 4);
  const IntegerOp operation = left ? (wrap ? IntegerOp::kShfLeftWrap : IntegerOp::kShfLeftClamp)
                                   : (wrap ? IntegerOp::kShfRightWrap : IntegerOp::kShfRightClamp);
  a.emit_simple(handlers().integer(operation, type), type);
}

void decode_bit_field(Assembler& a, bool insert) {
  const ptx::Type type = a.type();
  a.expect_operands(insert ? 5 : 4, insert ? 5 : 4);
  Op op;
  op.handler = handlers().integer(insert ? IntegerOp::kBfi : IntegerOp::kBfe, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  if (insert) {
    op.b = a.source(a.operand(2), type);
    op.c = a.source32(a.operand(3));
    op.list = a.list({a.source32(a.operand(4))});
  } else {
    op.b = a.source32(a.operand(2));
    op.c = a.source32(a.operand(3));
  }
  a.emit(op);
}

void decode_bmsk(Assembler& a) {
  const bool wrap = a.accept("wrap");
  if (!wrap && !a.accept("clamp")) return a.invalid("neither .wrap nor .clamp");
  const ptx::Type type = a.type();
  a.expect_operands(3, 3);
  a.emit_simple(handlers().integer(wrap ? IntegerOp::kBmskWrap : IntegerOp::kBmskClamp, type),
                type);
}

void decode_szext(Assembler& a) {
  const bool wrap = a.accept("wrap");
  if (!wrap && !a.accept("clamp")) return a.invalid("neither .wrap nor .clamp");
  decode_shift(a, wrap ? IntegerOp::kSzextWrap : IntegerOp::kSzextClamp);
}

// lop3.b32 d, a, b, c, table; lop3.or.b32 d|p, a, b, c, table, q
void decode_lop3(Assembler& a) {
  const int combine = a.accept_one_of({"or", "and"});
  const ptx::Type type = a.type();
  a.expect_operands(combine < 0 ? 5 : 6, combine < 0 ? 5 : 6);
  Op op;
  op.handler = handlers().integer(IntegerOp::kLop3, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  op.c = a.source(a.operand(3), type);
  op.imm = a.immediate(a.operand(4));
  a.emit(op);
  if (combine < 0) return;
  Op test;
  test.handler = nonzero_with_predicate;
  test.a = op.d;
  test.pd = a.second_predicate(a.operand(0));
  bool negated = false;
  test.ps = a.predicate_source(a.operand(5), &negated);
  test.flags = static_cast<u8>((combine == 1 ? 1 : 0) | (negated ? 2 : 0));
  a.emit(test);
}

void decode_prmt(Assembler& a) {
  const int mode = a.accept_one_of({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  const ptx::Type type = a.type();
  a.expect_operands(4, 4);
  if (mode < 0) return a.emit_simple(handlers().integer(IntegerOp::kPrmt, type), type);
  Op selector, op;
  selector.handler = permute_selector;
  selector.flags = static_cast<u8>(mode);
  selector.a = a.source32(a.operand(3));
  selector.d = a.temporary(32);
  op.handler = handlers().integer(IntegerOp::kPrmt, type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source(a.operand(2), type);
  op.c = selector.d;
  a.emit_unguarded(selector);
  a.emit(op);
}

void decode_fns(Assembler& a) {
  const ptx::Type type = a.type();
  a.expect_operands(4, 4);
  if (type != ptx::Type{Kind::kBits, 32, 1}) return a.unsupported("");
  a.emit_simple(find_nth_set, type);
}

// dp4a.atype.btype, dp2a.mode.atype.btype
void decode_dot_product(Assembler& a, bool of_pairs) {
  const int mode = of_pairs ? a.accept_one_of({"lo", "hi"}) : 0;
  const ptx::Type first = a.type(), second = a.type();
  a.expect_operands(4, 4);
  if (mode < 0) return a.invalid("neither .lo nor .hi");
  if (first.bits != 32 || second.bits != 32 || !first.is_integer() || !second.is_integer())
    return a.unsupported("");
  Op op;
  op.handler = find_dot_product(of_pairs);
  op.flags =
      static_cast<u8>((first.is_signed() ? kDotFirstSigned : 0) |
                      (second.is_signed() ? kDotSecondSigned : 0) | (mode == 1 ? kDotHigh : 0));
  op.d = a.destination(a.operand(0), kU32);
  op.a = a.source32(a.operand(1));
  op.b = a.source32(a.operand(2));
  op.c = a.source32(a.operand(3));
  a.emit(op);
}

}  // namespace

bool decode_integer(Assembler& a) {
  const std::string_view opcode = a.opcode();
  auto same_type = [&](IntegerOp operation, size_t operands) {
    const ptx::Type type = a.type();
    a.expect_operands(operands, operands);
    a.emit_simple(handlers().integer(operation, type), type);
    return true;
  };
  auto to_32 = [&](IntegerOp operation) {
    a.expect_operands(2, 2);
    emit_to_32(a, operation, a.type());
    return true;
  };
  if (opcode == "add") return decode_add(a, false), true;
  if (opcode == "sub") return decode_add(a, true), true;
  if (opcode == "addc") return emit_carry(a, CarryOp::kAdd, true), true;
  if (opcode == "subc") return emit_carry(a, CarryOp::kSub, true), true;
  if (opcode == "madc")
    return emit_carry(a, a.accept("hi") ? CarryOp::kMadHi : (a.accept("lo"), CarryOp::kMadLo),
                      true),
           true;
  if (opcode == "mul") return decode_multiply(a, false), true;
  if (opcode == "mad") return decode_multiply(a, true), true;
  if (opcode == "mul24") return decode_multiply24(a, false), true;
  if (opcode == "mad24") return decode_multiply24(a, true), true;
  if (opcode == "sad") return same_type(IntegerOp::kSad, 4);
  if (opcode == "div") return same_type(IntegerOp::kDiv, 3);
  if (opcode == "rem") return same_type(IntegerOp::kRem, 3);
  if (opcode == "neg") return same_type(IntegerOp::kNeg, 2);
  if (opcode == "abs") return same_type(IntegerOp::kAbs, 2);
  if (opcode == "min") return decode_min_max(a, true), true;
  if (opcode == "max") return decode_min_max(a, false), true;
  if (opcode == "and") return decode_logic(a, IntegerOp::kAnd, kPredicateAnd), true;
  if (opcode == "or") return decode_logic(a, IntegerOp::kOr, kPredicateOr), true;
  if (opcode == "xor") return decode_logic(a, IntegerOp::kXor, kPredicateXor), true;
  if (opcode == "not") return decode_logic(a, IntegerOp::kNot, kPredicateNot), true;
  if (opcode == "cnot") return same_type(IntegerOp::kCnot, 2);
  if (opcode == "shl") return decode_shift(a, IntegerOp::kShl), true;
  if (opcode == "shr") return decode_shift(a, IntegerOp::kShr), true;
  if (opcode == "shf") return decode_funnel_shift(a), true;
  if (opcode == "bfe") return decode_bit_field(a, false), true;
  if (opcode == "bfi") return decode_bit_field(a, true), true;
  if (opcode == "bfind")
    return to_32(a.accept("shiftamt") ? IntegerOp::kBfindShift : IntegerOp::kBfind);
  if (opcode == "popc") return to_32(IntegerOp::kPopc);
  if (opcode == "clz") return to_32(IntegerOp::kClz);
  if (opcode == "brev") return same_type(IntegerOp::kBrev, 2);
  if (opcode == "prmt") return decode_prmt(a), true;
  if (opcode == "fns") return decode_fns(a), true;
  if (opcode == "bmsk") return decode_bmsk(a), true;
  if (opcode == "szext") return decode_szext(a), true;
  if (opcode == "lop3") return decode_lop3(a), true;
  if (opcode == "dp4a") return decode_dot_product(a, false), true;
  if (opcode == "dp2a") return decode_dot_product(a, true), true;
  return false;
}

}  // namespace farcall::softgpu
