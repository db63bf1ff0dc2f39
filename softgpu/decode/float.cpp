// Floating-point arithmetic and approximate functions.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

// f32 add, mul and fma are exact operations with a rounding; .approx and .full stand for "any good
// result", which is here the one of rounding to nearest.
void decode_rounded(Assembler& a, FloatOp operation, size_t operands, bool approximate_allowed) {
  FloatMode mode;
  bool found = false;
  mode.rounding = a.rounding(&found);
  if (approximate_allowed && !found) a.accept_one_of({"approx", "full"});
  mode.flush = a.accept("ftz");
  mode.saturate = a.accept("sat");
  mode.relu = a.accept("relu");
  const ptx::Type type = a.type();
  a.expect_operands(operands, operands);
  // .noftz-free bf16 fma and its like have the same meaning with and without .rn.
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

void decode_approximate(Assembler& a, FloatOp operation) {
  FloatMode mode;
  a.accept("approx");
  mode.flush = a.accept("ftz");
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

void decode_simple(Assembler& a, FloatOp operation, size_t operands) {
  FloatMode mode;
  mode.flush = a.accept("ftz");
  const ptx::Type type = a.type();
  a.expect_operands(operands, operands);
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

void decode_min_max(Assembler& a, bool is_min) {
  FloatMode mode;
  mode.flush = a.accept("ftz");
  const bool nan = a.accept("NaN"), xorsign = a.accept("xorsign") && a.accept("abs");
  const ptx::Type type = a.type();
  if (a.operand_count() == 4) return a.unsupported("three sources");
  a.expect_operands(3, 3);
  if (nan && xorsign) return a.unsupported("");
  FloatOp operation = is_min ? FloatOp::kMin : FloatOp::kMax;
  if (nan) operation = is_min ? FloatOp::kMinNan : FloatOp::kMaxNan;
  if (xorsign) operation = is_min ? FloatOp::kMinXorsign : FloatOp::kMaxXorsign;
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

void decode_testp(Assembler& a) {
  const int test =
      a.accept_one_of({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (test < 0) return a.invalid("no test");
  Op op;
  op.handler = find_float_test(type);
  if (op.handler == nullptr) return a.unsupported("");
  static constexpr FloatTest kTests[] = {kFinite,     kInfinite, kNumber,
                                         kNotANumber, kNormal,   kSubnormal};
  op.flags = kTests[test];
  op.pd = a.predicate_destination(a.operand(0));
  op.a = a.source(a.operand(1), type);
  a.emit(op);
}

}  // namespace

bool decode_float(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "add") return decode_rounded(a, FloatOp::kAdd, 3, false), true;
  if (opcode == "sub") return decode_rounded(a, FloatOp::kSub, 3, false), true;
  if (opcode == "mul") return decode_rounded(a, FloatOp::kMul, 3, false), true;
  if (opcode == "fma") return decode_rounded(a, FloatOp::kFma, 4, false), true;
  if (opcode == "mad") return decode_rounded(a, FloatOp::kFma, 4, false), true;
  if (opcode == "div") return decode_rounded(a, FloatOp::kDiv, 3, true), true;
  if (opcode == "rcp") return decode_rounded(a, FloatOp::kRcp, 2, true), true;
  if (opcode == "sqrt") return decode_rounded(a, FloatOp::kSqrt, 2, true), true;
  if (opcode == "rsqrt") return decode_approximate(a, FloatOp::kRsqrt), true;
  if (opcode == "sin") return decode_approximate(a, FloatOp::kSin), true;
  if (opcode == "cos") return decode_approximate(a, FloatOp::kCos), true;
  if (opcode == "ex2") return decode_approximate(a, FloatOp::kEx2), true;
  if (opcode == "lg2") return decode_approximate(a, FloatOp::kLg2), true;
  if (opcode == "tanh") return decode_approximate(a, FloatOp::kTanh), true;
  if (opcode == "neg") return decode_simple(a, FloatOp::kNeg, 2), true;
  if (opcode == "abs") return decode_simple(a, FloatOp::kAbs, 2), true;
  if (opcode == "copysign") return decode_simple(a, FloatOp::kCopysign, 3), true;
  if (opcode == "min") return decode_min_max(a, true), true;
  if (opcode == "max") return decode_min_max(a, false), true;
  if (opcode == "testp") return decode_testp(a), true;
  return false;
}

}  // namespace farcall::softgpu
