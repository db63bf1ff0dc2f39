// Instructions in which the lanes of a warp see each other.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

// Forms without .sync exist for old targets: whoever is there takes part.
void set_members(Assembler& a, Op& op, bool sync, size_t operand) {
  if (sync) op.control = Control::kWarpSync;
  op.c = sync ? a.source32(a.operand(operand)) : a.constant(32, kAllLanes);
}

void decode_shfl(Assembler& a) {
  const bool sync = a.accept("sync");
  static constexpr ShuffleMode kModes[] = {ShuffleMode::kUp, ShuffleMode::kDown,
                                           ShuffleMode::kButterfly, ShuffleMode::kIndex};
  const int mode = a.accept_one_of({"up", "down", "bfly", "idx"});
  const ptx::Type type = a.type();
  a.expect_operands(sync ? 5 : 4, sync ? 5 : 4);
  if (mode < 0 || type.total_bits() != 32) return a.unsupported("");
  Op op;
  op.handler = handlers().shuffle(kModes[mode]);
  op.pq = a.second_predicate(a.operand(0));
  if (a.operand(0).kind != ptx::Operand::Kind::kSink) op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  op.b = a.source32(a.operand(2));
  op.list = a.list({a.source32(a.operand(3))});
  set_members(a, op, sync, 4);
  a.emit(op);
}

void decode_vote(Assembler& a) {
  const bool sync = a.accept("sync");
  static constexpr VoteFlags kModes[] = {kVoteAll, kVoteAny, kVoteUniform, kVoteBallot};
  const int mode = a.accept_one_of({"all", "any", "uni", "ballot"});
  const ptx::Type type = a.type();
  a.expect_operands(sync ? 3 : 2, sync ? 3 : 2);
  if (mode < 0) return a.invalid("no mode");
  Op op;
  op.handler = vote;
  if (kModes[mode] == kVoteBallot)
    op.d = a.destination(a.operand(0), type);
  else
    op.pd = a.predicate_destination(a.operand(0));
  bool negated = false;
  op.ps = a.predicate_source(a.operand(1), &negated);
  op.flags = static_cast<u8>(kModes[mode] | (negated ? kVoteNegated : 0));
  set_members(a, op, sync, 2);
  a.emit(op);
}

void decode_match(Assembler& a) {
  const bool all = a.accept("all");
  if (!all && !a.accept("any")) return a.invalid("neither .any nor .all");
  if (!a.accept("sync")) return a.invalid("no .sync");
  const ptx::Type type = a.type();
  a.expect_operands(3, 3);
  Op op;
  op.handler = find_match(type, all);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), {ptx::Type::Kind::kBits, 32, 1});
  op.pq = a.second_predicate(a.operand(0));
  op.a = a.source(a.operand(1), type);
  set_members(a, op, true, 2);
  a.emit(op);
}

void decode_redux(Assembler& a) {
  if (!a.accept("sync")) return a.invalid("no .sync");
  static constexpr AtomicOp kOps[] = {AtomicOp::kAdd, AtomicOp::kMin, AtomicOp::kMax,
                                      AtomicOp::kAnd, AtomicOp::kOr,  AtomicOp::kXor};
  const int operation = a.accept_one_of({"add", "min", "max", "and", "or", "xor"});
  const ptx::Type type = a.type();
  a.expect_operands(3, 3);
  if (operation < 0) return a.invalid("no operation");
  Op op;
  op.handler = find_redux(kOps[operation], type);
  if (op.handler == nullptr) return a.unsupported("");
  op.d = a.destination(a.operand(0), type);
  op.a = a.source(a.operand(1), type);
  set_members(a, op, true, 2);
  a.emit(op);
}

}  // namespace

bool decode_warp(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "shfl") return decode_shfl(a), true;
  if (opcode == "vote") return decode_vote(a), true;
  if (opcode == "match") return decode_match(a), true;
  if (opcode == "redux") return decode_redux(a), true;
  if (opcode == "activemask") {
    Op op;
    op.handler = active_mask;
    op.d = a.destination(a.operand(0), a.type());
    return a.emit(op), true;
  }
  if (opcode == "elect") {
    if (!a.accept("sync")) return a.invalid("no .sync"), true;
    Op op;
    op.handler = elect;
    op.pq = a.second_predicate(a.operand(0));
    if (a.operand(0).kind != ptx::Operand::Kind::kSink)
      op.d = a.destination(a.operand(0), {ptx::Type::Kind::kBits, 32, 1});
    set_members(a, op, true, 1);
    return a.emit(op), true;
  }
  return false;
}

}  // namespace farcall::softgpu
