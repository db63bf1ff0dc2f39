// Floating-point arithmetic and approximate functions.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/special_float.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
constexpr ptx::Type kF32{Kind::kFloat, 32, 1};
constexpr ptx::Type kB64{Kind::kBits, 64, 1};

// Two floats in 64 bits: each half by the instruction for one.
void emit_float_pair(Assembler& a, Handler handler, size_t sources) {
  if (handler == nullptr) return a.unsupported("");
  Slot low[3] = {}, high[3] = {};
  for (size_t i = 0; i < sources; ++i) {
    Op unpack;
    unpack.handler = handlers().unpack(64, 2);
    unpack.a = a.source(a.operand(i + 1), kB64);
    unpack.count = 2;
    low[i] = a.temporary(32);
    high[i] = a.temporary(32);
    unpack.list = a.list({low[i], high[i]});
    a.emit_unguarded(unpack);
  }
  Slot results[2] = {};
  for (int half = 0; half < 2; ++half) {
    const Slot* const from = half == 0 ? low : high;
    Op op;
    op.handler = handler;
    op.d = results[half] = a.temporary(32);
    op.a = from[0];
    op.b = from[1];
    if (sources > 2) op.c = from[2];
    a.emit_unguarded(op);
  }
  Op pack;
  pack.handler = handlers().pack(64, 2);
  pack.list = a.list({results[0], results[1]});
  pack.d = a.destination(a.operand(0), kB64);
  a.emit(pack);
}

// add.f32.bf16: sums and products of f32 with operands of 16 bits, which are extended first.
void emit_mixed(Assembler& a, FloatOp operation, FloatMode mode, ptx::Type narrow) {
  const bool is_fma = operation == FloatOp::kFma;
  if (narrow.bits != 16 || narrow.lanes != 1 || !narrow.is_float()) return a.unsupported("types");
  if (mode.flush || mode.relu) return a.unsupported("");
  auto extended = [&](const ptx::Operand& operand) {
    Op op;
    op.handler = handlers().convert(kF32, narrow, {}, 32);
    op.a = a.source(operand, narrow);
    op.d = a.temporary(32);
    a.emit_unguarded(op);
    return op.d;
  };
  Op op;
  op.handler = handlers().floating(operation, kF32, mode);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), kF32);
  op.a = extended(a.operand(1));
  op.b = is_fma ? extended(a.operand(2)) : a.source(a.operand(2), kF32);
  if (is_fma) op.c = a.source(a.operand(3), kF32);
  a.emit(op);
}

// f32 add, mul and fma are exact operations with a rounding; .approx and .full stand for "any good
// result", which is here the one of rounding to nearest.
void decode_rounded(Assembler& a, FloatOp operation, size_t operands, bool approximate_allowed) {
  FloatMode mode;
  bool found = false;
  mode.rounding = a.rounding(&found);
  const bool approximate =
      approximate_allowed && !found && a.accept_one_of({"approx", "full"}) >= 0;
  mode.flush = a.accept("ftz");
  mode.saturate = a.accept("sat");
  mode.relu = a.accept("relu");
  const ptx::Type type = a.type();
  a.expect_operands(operands, operands);
  if (type.lanes == 2 && type.bits == 32) {
    if (approximate_allowed) return a.unsupported("");
    return emit_float_pair(a, handlers().floating(operation, kF32, mode), operands - 1);
  }
  const bool mixes =
      operation == FloatOp::kAdd || operation == FloatOp::kSub || operation == FloatOp::kFma;
  if (const ptx::Type narrow = mixes && type == kF32 ? a.optional_type() : ptx::Type{})
    return emit_mixed(a, operation, mode, narrow);
  if (approximate && type.bits == 64) {
    if (operation != FloatOp::kRcp || !mode.flush || mode.saturate) return a.unsupported("");
    return a.emit_simple(approximate_reciprocal_64, type);
  }
  // .noftz-free bf16 fma and its like have the same meaning with and without .rn.
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

void decode_approximate(Assembler& a, FloatOp operation) {
  FloatMode mode;
  a.accept("approx");
  mode.flush = a.accept("ftz");
  const ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (operation == FloatOp::kRsqrt && type.bits == 64 && mode.flush)
    return a.emit_simple(approximate_reciprocal_root_64, type);
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

void decode_simple(Assembler& a, FloatOp operation, size_t operands) {
  FloatMode mode;
  mode.flush = a.accept("ftz");
  const ptx::Type type = a.type();
  a.expect_operands(operands, operands);
  a.emit_simple(handlers().floating(operation, type, mode), type);
}

// Of three sources: of two, then of the result and the third.
void emit_three(Assembler& a, FloatOp operation, FloatMode mode, ptx::Type type, bool magnitudes) {
  if (type != kF32) return a.unsupported("three sources");
  Slot sources[3] = {};
  for (size_t i = 0; i < 3; ++i) {
    sources[i] = a.source(a.operand(i + 1), type);
    if (!magnitudes) continue;
    Op op;
    op.handler = handlers().floating(FloatOp::kAbs, type, {});
    op.a = sources[i];
    op.d = sources[i] = a.temporary(32);
    a.emit_unguarded(op);
  }
  Op first;
  first.handler = handlers().floating(operation, type, mode);
  first.a = sources[0];
  first.b = sources[1];
  first.d = a.temporary(32);
  a.emit_unguarded(first);
  Op second = first;
  second.a = first.d;
  second.b = sources[2];
  second.d = a.destination(a.operand(0), type);
  a.emit(second);
}

void decode_min_max(Assembler& a, bool is_min) {
  FloatMode mode;
  mode.flush = a.accept("ftz");
  const bool nan = a.accept("NaN");
  const bool xorsign = a.accept("xorsign"), magnitudes = a.accept("abs");
  const ptx::Type type = a.type();
  a.expect_operands(3, 4);
  const bool three = a.operand_count() == 4;
  if (three ? xorsign : xorsign != magnitudes) return a.unsupported("");
  FloatOp operation = is_min ? FloatOp::kMin : FloatOp::kMax;
  if (nan) operation = is_min ? FloatOp::kMinNan : FloatOp::kMaxNan;
  if (three) return emit_three(a, operation, mode, type, magnitudes);
  if (xorsign && nan)
    operation = is_min ? FloatOp::kMinNanXorsign : FloatOp::kMaxNanXorsign;
  else if (xorsign)
    operation = is_min ? FloatOp::kMinXorsign : FloatOp::kMaxXorsign;
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
