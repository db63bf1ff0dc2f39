// mbarrier: barriers that are objects in shared memory (exec/mbarrier.h).
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

constexpr ptx::Type kB64{ptx::Type::Kind::kBits, 64, 1};
constexpr ptx::Type kB32{ptx::Type::Kind::kBits, 32, 1};

// Every one of these is as strong as the strongest; the host's memory is coherent.
void skip_semantics(Assembler& a) { a.skip({"relaxed", "acquire", "release", "cta", "cluster"}); }

// The space of the object, and .b64.
std::string_view object_space(Assembler& a) {
  const std::string_view space = a.space();
  if (space != "shared" && space != "shared::cluster" && space != "generic")
    a.unsupported("an mbarrier that is not in shared memory");
  if (!a.accept("b64")) a.invalid("no .b64");
  return space;
}

void decode_object(Assembler& a, Handler handler, bool has_count) {
  const std::string_view space = object_space(a);
  a.expect_operands(has_count ? 2 : 1, has_count ? 2 : 1);
  Op op;
  op.handler = handler;
  a.address(op, a.operand(0), space, 8);
  if (has_count) op.b = a.source32(a.operand(1));
  a.emit(op);
}

// mbarrier.expect_tx / complete_tx [address], bytes;
void decode_transaction(Assembler& a, Handler handler) {
  skip_semantics(a);
  const std::string_view space = object_space(a);
  a.expect_operands(2, 2);
  Op op;
  op.handler = handler;
  a.address(op, a.operand(0), space, 8);
  op.c = a.source32(a.operand(1));
  a.emit(op);
}

// mbarrier.arrive{_drop}{.expect_tx, .noComplete} {state,} [address]{, count or bytes};
void decode_arrive(Assembler& a, bool drop) {
  const bool expects = a.accept("expect_tx");
  const bool may_not_complete = a.accept("noComplete");
  skip_semantics(a);
  const std::string_view space = object_space(a);
  const bool has_state =
      a.operand_count() != 0 && a.operand(0).kind != ptx::Operand::Kind::kAddress;
  const size_t first = has_state ? 1 : 0;
  const bool needs_count = expects || may_not_complete;
  a.expect_operands(first + (needs_count ? 2 : 1), first + 2);
  Op op;
  op.handler = drop ? mbarrier_arrive_drop : mbarrier_arrive;
  if (has_state && a.operand(0).kind != ptx::Operand::Kind::kSink) {
    if (space == "shared::cluster") return a.invalid("the state of a barrier of the cluster");
    op.d = a.destination(a.operand(0), kB64);
  }
  a.address(op, a.operand(first), space, 8);
  if (a.operand_count() == first + 2) (expects ? op.c : op.b) = a.source32(a.operand(first + 1));
  a.emit(op);
}

// mbarrier.test_wait{.parity} done, [address], state or parity;
void decode_wait(Assembler& a, bool may_suspend) {
  const bool parity = a.accept("parity");
  skip_semantics(a);
  const std::string_view space = object_space(a);
  a.expect_operands(3, may_suspend ? 4 : 3);
  Op op;
  op.handler = mbarrier_test;
  op.pd = a.predicate_destination(a.operand(0));
  if (op.pd == 0) op.pd = a.decoder().allocate_predicate();
  a.address(op, a.operand(1), space, 8);
  op.b = parity ? a.source32(a.operand(2)) : a.source(a.operand(2), kB64);
  op.count = parity ? 1 : 0;
  if (a.operand_count() == 4) a.source32(a.operand(3));  // how long to wait at most
  a.emit(op);
  // Who has to wait lets others run: those that it waits for.
  Op yield;
  yield.control = Control::kYield;
  yield.guard = op.pd;
  yield.guard_negated = true;
  a.emit_unguarded(yield);
}

}  // namespace

bool decode_mbarrier(Assembler& a) {
  if (a.accept("init")) return decode_object(a, mbarrier_init, true), true;
  if (a.accept("inval")) return decode_object(a, mbarrier_invalidate, false), true;
  if (a.accept("arrive")) return decode_arrive(a, false), true;
  if (a.accept("arrive_drop")) return decode_arrive(a, true), true;
  if (a.accept("expect_tx")) return decode_transaction(a, mbarrier_expect), true;
  if (a.accept("complete_tx")) return decode_transaction(a, mbarrier_complete), true;
  if (a.accept("test_wait")) return decode_wait(a, false), true;
  if (a.accept("try_wait")) return decode_wait(a, true), true;
  if (a.accept("pending_count")) {
    if (!a.accept("b64")) return a.invalid("no .b64"), true;
    a.expect_operands(2, 2);
    Op op;
    op.handler = mbarrier_pending_count;
    op.d = a.destination(a.operand(0), kB32);
    op.a = a.source(a.operand(1), kB64);
    return a.emit(op), true;
  }
  return false;
}

}  // namespace farcall::softgpu
