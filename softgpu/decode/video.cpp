// vadd, vadd2, vadd4 and their like.
#include "softgpu/exec/handlers/video.h"

#include <fmt/format.h>

#include <optional>

#include "softgpu/decode/assembler.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
constexpr ptx::Type kB32{Kind::kBits, 32, 1};

struct Name {
  std::string_view name;
  VideoOp operation;
};
constexpr Name kNames[] = {{"vadd", VideoOp::kAdd},         {"vsub", VideoOp::kSub},
                           {"vabsdiff", VideoOp::kAbsDiff}, {"vmin", VideoOp::kMin},
                           {"vmax", VideoOp::kMax},         {"vavrg", VideoOp::kAverage},
                           {"vshl", VideoOp::kShl},         {"vshr", VideoOp::kShr},
                           {"vmad", VideoOp::kMad},         {"vset", VideoOp::kSet}};

// The register without its part and sign, which are in the description.
ptx::Operand whole(const ptx::Operand& operand) {
  ptx::Operand plain = operand;
  plain.part = {};
  plain.minus = false;
  return plain;
}

// .b0 ... .b3, .h0, .h1 or nothing, as video() wants it.
std::optional<u32> scalar_part(std::string_view part) {
  if (part.empty()) return 4;
  if (part.size() != 2) return {};
  const u32 index = static_cast<u32>(part[1] - '0');
  if (part[0] == 'b' && index < 4) return index << 8 | 1;
  if (part[0] == 'h' && index < 2) return index * 2 << 8 | 2;
  return {};
}

// .h10: for each result, from the top, which of the elements of b:a.
std::optional<u32> element_part(std::string_view part, u32 count, u32 standard) {
  if (part.empty()) return standard;
  if (part.size() != count + 1 || part[0] != (count == 2 ? 'h' : 'b')) return {};
  u32 selectors = 0;
  for (char c : part.substr(1)) {
    const u32 which = static_cast<u32>(c - '0');
    if (which >= 2 * count) return {};
    selectors = selectors << 4 | which;
  }
  return selectors;
}

// .h10, .b210: which results are computed.
std::optional<u32> element_mask(std::string_view part, u32 count) {
  if (part.empty()) return (u32{1} << count) - 1;
  if (part.size() < 2 || part[0] != (count == 2 ? 'h' : 'b')) return {};
  u32 mask = 0;
  u32 above = count;
  for (char c : part.substr(1)) {  // in descending order
    const u32 which = static_cast<u32>(c - '0');
    if (which >= above) return {};
    above = which;
    mask |= u32{1} << which;
  }
  return mask;
}

bool is_word(ptx::Type type) { return type.is_integer() && type.bits == 32 && type.lanes == 1; }

std::optional<u32> accept_comparison(Assembler& a) {
  static constexpr Comparison kComparisons[] = {Comparison::kEq, Comparison::kNe, Comparison::kLt,
                                                Comparison::kLe, Comparison::kGt, Comparison::kGe};
  const int index = a.accept_one_of({"eq", "ne", "lt", "le", "gt", "ge"});
  if (index < 0) return {};
  return static_cast<u32>(kComparisons[index]);
}

void decode(Assembler& a, VideoOp operation, u32 count) {
  std::vector<u32> what(kVideoWords);
  auto set = [&](VideoWord word, u32 value) { what[word] = value; };
  const bool is_mad = operation == VideoOp::kMad, is_set = operation == VideoOp::kSet;
  const bool is_shift = operation == VideoOp::kShl || operation == VideoOp::kShr;
  set(kVideoOperation, static_cast<u32>(operation));
  set(kVideoElements, count);

  const bool saturate = !is_set && a.accept("sat");
  if (is_shift) {
    const int mode = a.accept_one_of({"clamp", "wrap"});
    if (mode < 0) return a.invalid("neither .clamp nor .wrap");
    set(kVideoWrap, static_cast<u32>(mode));
  }
  if (is_set) {
    const auto comparison = accept_comparison(a);
    if (!comparison) return a.invalid("no comparison");
    set(kVideoComparison, *comparison);
  }
  const bool plus_one = is_mad && a.accept("po");
  if (is_mad) {
    static constexpr u32 kShifts[] = {7, 15};
    const int shift = a.accept_one_of({"shr7", "shr15"});
    set(kVideoShift, shift < 0 ? 0 : kShifts[shift]);
  }
  const int second = is_mad      ? -1
                     : count > 1 ? a.accept_one_of({"add"})
                                 : a.accept_one_of({"add", "min", "max"});
  const ptx::Type d_type = is_set ? ptx::Type{Kind::kUnsigned, 32, 1} : a.type();
  const ptx::Type a_type = a.type(), b_type = a.type();
  if (a.failed()) return;
  if (!is_word(d_type) || !is_word(a_type) || !is_word(b_type)) return a.unsupported("types");
  if (is_shift && b_type.is_signed()) return a.invalid("a signed shift amount");

  // c is there to be merged with, accumulated to, or compared with.
  const ptx::Operand& d = a.operand(0);
  const bool inserts = count == 1 && !is_mad && !d.part.empty();
  const bool has_c = count > 1 || is_mad || second >= 0 || inserts;
  a.expect_operands(has_c ? 4 : 3, has_c ? 4 : 3);
  if (a.failed()) return;
  if (inserts && second >= 0) return a.invalid("a part of the result and a second operation");

  const u32 bits = 32 / count;
  std::optional<u32> place, select_a, select_b;
  if (count == 1) {
    place = scalar_part(d.part);
    select_a = scalar_part(a.operand(1).part);
    select_b = scalar_part(a.operand(2).part);
  } else {
    place = element_mask(d.part, count);
    select_a = element_part(a.operand(1).part, count, count == 2 ? 0x10 : 0x3210);
    select_b = element_part(a.operand(2).part, count, count == 2 ? 0x32 : 0x7654);
  }
  if (!place || !select_a || !select_b) return a.invalid("no such part of a register");
  set(kVideoPlace, *place);
  set(kVideoSelectA, *select_a);
  set(kVideoSelectB, *select_b);
  set(kVideoSignedA, a_type.is_signed());
  set(kVideoSignedB, b_type.is_signed());
  set(kVideoSignedD, d_type.is_signed());
  if (saturate) set(kVideoSaturate, inserts ? (*place & 0xff) * 8 : bits);
  static constexpr VideoMerge kSecond[] = {VideoMerge::kAdd, VideoMerge::kMin, VideoMerge::kMax};
  const VideoMerge merge = second >= 0 ? kSecond[second]
                           : inserts   ? VideoMerge::kInsert
                                       : VideoMerge::kNone;
  set(kVideoMerge, static_cast<u32>(merge));
  const bool product_negative = a.operand(1).minus != a.operand(2).minus;
  const bool c_negative = has_c && a.operand(3).minus;
  if (is_mad) {
    if (plus_one && (product_negative || c_negative)) return a.invalid("'-' together with .po");
    if (product_negative && c_negative) return a.invalid("'-' before both product and addend");
    set(kVideoNegate, (product_negative ? 1u : 0) | (c_negative ? 2u : 0) | (plus_one ? 4u : 0));
    set(kVideoSignedD, a_type.is_signed() || b_type.is_signed() || product_negative || c_negative);
  } else if (a.operand(1).minus || a.operand(2).minus || c_negative) {
    return a.invalid("'-' before a register");
  }
  if (has_c && !a.operand(3).part.empty()) return a.invalid("a part of the third source");

  Op op;
  op.handler = video;
  op.d = a.destination(whole(d), kB32);
  op.a = a.source32(whole(a.operand(1)));
  op.b = a.source32(whole(a.operand(2)));
  op.c = has_c ? a.source32(whole(a.operand(3))) : a.constant(32, 0);
  op.list = a.list(std::move(what));
  a.emit(op);
}

}  // namespace

bool decode_video(Assembler& a) {
  std::string_view opcode = a.opcode();
  u32 count = 1;
  if (opcode.ends_with('2') || opcode.ends_with('4')) {
    count = static_cast<u32>(opcode.back() - '0');
    opcode.remove_suffix(1);
  }
  for (const Name& each : kNames) {
    if (each.name == opcode) return decode(a, each.operation, count), true;
  }
  return false;
}

}  // namespace farcall::softgpu
