// cvt.
#include "softgpu/decode/assembler.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;

void decode_cvt(Assembler& a) {
  ConvertMode mode;
  if (a.accept("pack")) return a.unsupported("cvt.pack");
  const int integral = a.accept_one_of({"rni", "rzi", "rmi", "rpi"});
  static constexpr Rounding kIntegral[] = {Rounding::kNearest, Rounding::kZero, Rounding::kDown,
                                           Rounding::kUp};
  bool has_rounding = false;
  mode.rounding = a.rounding(&has_rounding);
  if (integral >= 0) mode.rounding = kIntegral[integral];
  const bool to_nearest_away = a.accept("rna");
  mode.flush = a.accept("ftz");
  mode.saturate = a.accept("sat");
  if (a.accept("satfinite")) return a.unsupported("satfinite");
  mode.relu = a.accept("relu");
  const ptx::Type to = a.type(), from = a.type();
  if (a.failed()) return;
  // A ".rni" of floats gives an integral float; towards an integer there is nothing else.
  mode.to_integral = integral >= 0 && to.is_float() && from.is_float();
  if (to.is_integer() && from.is_float() && integral < 0)
    return a.invalid("no rounding to an integer");

  Op op;
  op.flags = static_cast<u8>(mode.rounding);
  if (a.operand_count() == 3) {  // two floats to one register
    op.handler = from.bits == 32 && from.is_float() ? handlers().convert_pair(to, mode) : nullptr;
    if (op.handler == nullptr || to_nearest_away) return a.unsupported("");
    op.d = a.destination(a.operand(0), to);
    op.a = a.source(a.operand(1), from);
    op.b = a.source(a.operand(2), from);
    return a.emit(op);
  }
  a.expect_operands(2, 2);
  if (to.kind == Kind::kTf32) {
    // .rna shares a number with a rounding that tf32 does not have.
    if (to_nearest_away) mode.rounding = Rounding::kUp;
    op.handler = handlers().convert(to, from, mode, 32);
    if (op.handler == nullptr) return a.unsupported("");
    op.d = a.destination(a.operand(0), {Kind::kBits, 32, 1});
    op.a = a.source(a.operand(1), from);
    return a.emit(op);
  }
  if (to_nearest_away) return a.unsupported("");
  unsigned d_bits = 0, a_bits = 0;
  op.d = to.is_float() ? a.destination(a.operand(0), to)
                       : a.loose_destination(a.operand(0), to, &d_bits);
  op.a =
      from.is_float() ? a.source(a.operand(1), from) : a.loose_source(a.operand(1), from, &a_bits);
  op.handler = handlers().convert(to, from, mode, d_bits);
  if (op.handler == nullptr) return a.unsupported("");
  // The low part of a wide register: narrowing reads it as such.
  if (a_bits == 64 && from.bits < 64) {
    Op narrow;
    const ptx::Type wide{Kind::kUnsigned, 64, 1};
    narrow.handler = handlers().convert({Kind::kUnsigned, 32, 1}, wide, {}, 32);
    narrow.a = op.a;
    narrow.d = a.temporary(32);
    op.a = narrow.d;
    a.emit_unguarded(narrow);
  }
  a.emit(op);
}

}  // namespace

bool decode_convert(Assembler& a) {
  if (a.opcode() == "cvt") return decode_cvt(a), true;
  return false;
}

}  // namespace farcall::softgpu
