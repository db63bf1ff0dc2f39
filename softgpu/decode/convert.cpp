// cvt.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/narrow_float.h"
#include "softgpu/exec/handlers/special_integer.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;

constexpr ptx::Type kB32{Kind::kBits, 32, 1};

// Pairs of 8, 6 and 4 bits, by the names of their types, which no register has.
struct NarrowType {
  std::string_view name;
  NarrowFormat format;
  uint16_t bits;  // of the register that holds two
};
constexpr NarrowType kNarrowTypes[] = {
    {"e4m3x2", NarrowFormat::kE4m3, 16}, {"e5m2x2", NarrowFormat::kE5m2, 16},
    {"e2m3x2", NarrowFormat::kE2m3, 16}, {"e3m2x2", NarrowFormat::kE3m2, 16},
    {"e2m1x2", NarrowFormat::kE2m1, 8},  {"ue8m0x2", NarrowFormat::kUe8m0, 16}};

const NarrowType* find_narrow_type(std::string_view name) {
  for (const NarrowType& type : kNarrowTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

bool is_narrow(const Assembler& a) {
  for (std::string_view word : a.instruction().name) {
    if (find_narrow_type(word) != nullptr) return true;
  }
  return false;
}

void decode_narrow(Assembler& a) {
  const int rounding = a.accept_one_of({"rn", "rz", "rp"});
  const bool satfinite = a.accept("satfinite"), relu = a.accept("relu");
  const std::string_view to_name = a.take_next(), from_name = a.take_next();
  const NarrowType *to = find_narrow_type(to_name), *from = find_narrow_type(from_name);
  const ptx::Type wide = ptx::parse_type(to != nullptr ? from_name : to_name);
  if ((to == nullptr) == (from == nullptr) || !wide.is_float()) return a.unsupported("");
  const NarrowType& narrow = to != nullptr ? *to : *from;
  const bool power = narrow.format == NarrowFormat::kUe8m0;
  const ptx::Type bits{Kind::kBits, narrow.bits, 1};
  const bool halves = wide.kind == Kind::kFloat && wide.bits == 16 && wide.lanes == 2;
  const bool bfloats = wide.kind == Kind::kBfloat && wide.lanes == 2;
  const bool floats = wide.kind == Kind::kFloat && wide.bits == 32 && wide.lanes == 1;
  // PTX has powers of two for rz and rp, everything else for rn.
  const bool to_nearest = to == nullptr || !power;
  if ((rounding == 0) != to_nearest || rounding < 0) return a.unsupported("rounding");
  if (power && relu) return a.unsupported("");
  Op op;
  op.flags = static_cast<u8>((relu ? kNarrowRelu : 0) | (rounding == 2 ? kNarrowUp : 0) |
                             (satfinite ? kNarrowSatfinite : 0));
  if (to == nullptr) {
    if (satfinite || !(power ? bfloats : halves)) return a.unsupported("");
    a.expect_operands(2, 2);
    op.handler = find_from_narrow(narrow.format);
    op.d = a.destination(a.operand(0), kB32);
    op.a = a.source(a.operand(1), bits);
    return a.emit(op);
  }
  if (!power && !satfinite) return a.invalid("no .satfinite");
  if (!floats && !(power ? bfloats : halves)) return a.unsupported("");
  op.handler = find_to_narrow(narrow.format, floats   ? NarrowSource::kFloats
                                             : halves ? NarrowSource::kHalves
                                                      : NarrowSource::kBfloats);
  a.expect_operands(floats ? 3 : 2, floats ? 3 : 2);
  op.d = a.destination(a.operand(0), bits);
  op.a = a.source(a.operand(1), floats ? wide : kB32);
  if (floats) op.b = a.source(a.operand(2), wide);
  a.emit(op);
}

// cvt.pack.sat.u8.s32.b32 d, a, b, c: two saturated integers below what c has.
void decode_pack(Assembler& a) {
  if (!a.accept("sat")) return a.invalid("no .sat");
  const std::string_view to = a.take_next();
  const ptx::Type from = a.type();
  struct Target {
    std::string_view name;
    u8 bits;
    bool is_signed;
  };
  static constexpr Target kTargets[] = {{"s16", 16, true}, {"u16", 16, false}, {"s8", 8, true},
                                        {"u8", 8, false},  {"s4", 4, true},    {"u4", 4, false},
                                        {"s2", 2, true},   {"u2", 2, false}};
  const Target* target = nullptr;
  for (const Target& each : kTargets) {
    if (each.name == to) target = &each;
  }
  if (target == nullptr || from != ptx::Type{Kind::kSigned, 32, 1}) return a.unsupported("");
  const bool with_rest = target->bits < 16;
  if (with_rest && !a.accept("b32")) return a.invalid("no type of the third source");
  a.expect_operands(with_rest ? 4 : 3, with_rest ? 4 : 3);
  Op op;
  op.handler = saturate_and_pack;
  op.count = target->bits;
  op.flags = target->is_signed ? 1 : 0;
  op.d = a.destination(a.operand(0), kB32);
  op.a = a.source(a.operand(1), from);
  op.b = a.source(a.operand(2), from);
  op.c = with_rest ? a.source32(a.operand(3)) : a.constant(32, 0);
  a.emit(op);
}

void decode_cvt(Assembler& a) {
  ConvertMode mode;
  if (a.accept("pack")) return decode_pack(a);
  if (is_narrow(a)) return decode_narrow(a);
  const int integral = a.accept_one_of({"rni", "rzi", "rmi", "rpi"});
  static constexpr Rounding kIntegral[] = {Rounding::kNearest, Rounding::kZero, Rounding::kDown,
                                           Rounding::kUp};
  bool has_rounding = false;
  mode.rounding = a.rounding(&has_rounding);
  if (integral >= 0) mode.rounding = kIntegral[integral];
  const bool to_nearest_away = a.accept("rna");
  mode.flush = a.accept("ftz");
  mode.saturate = a.accept("sat");
  const bool satfinite = a.accept("satfinite");
  mode.relu = a.accept("relu");
  const ptx::Type to = a.type(), from = a.type();
  if (a.failed()) return;
  // A ".rni" of floats gives an integral float; towards an integer there is nothing else.
  mode.to_integral = integral >= 0 && to.is_float() && from.is_float();
  if (to.is_integer() && from.is_float() && integral < 0)
    return a.invalid("no rounding to an integer");

  Op op;
  op.flags = static_cast<u8>(mode.rounding);
  // .satfinite is a step of its own, on the way to the destination.
  Op clamp;
  if (satfinite) {
    clamp.handler = find_clamp_to_finite(to);
    if (clamp.handler == nullptr || from != ptx::Type{Kind::kFloat, 32, 1})
      return a.unsupported("");
  }
  auto emit = [&] {
    if (!satfinite) return a.emit(op);
    clamp.d = op.d;
    clamp.a = op.d = a.temporary(32);
    a.emit_unguarded(op);
    a.emit(clamp);
  };
  if (a.operand_count() == 3) {  // two floats to one register
    op.handler = from.bits == 32 && from.is_float() ? handlers().convert_pair(to, mode) : nullptr;
    if (op.handler == nullptr || to_nearest_away) return a.unsupported("");
    op.d = a.destination(a.operand(0), to);
    op.a = a.source(a.operand(1), from);
    op.b = a.source(a.operand(2), from);
    return emit();
  }
  a.expect_operands(2, 2);
  if (to.kind == Kind::kTf32) {
    // .rna shares a number with a rounding that tf32 does not have.
    if (to_nearest_away) mode.rounding = Rounding::kUp;
    op.handler = handlers().convert(to, from, mode, 32);
    if (op.handler == nullptr) return a.unsupported("");
    op.d = a.destination(a.operand(0), {Kind::kBits, 32, 1});
    op.a = a.source(a.operand(1), from);
    return emit();
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
  emit();
}

}  // namespace

bool decode_convert(Assembler& a) {
  if (a.opcode() == "cvt") return decode_cvt(a), true;
  return false;
}

}  // namespace farcall::softgpu
