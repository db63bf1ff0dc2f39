// cp.async: copies that hardware does on the side. Here they are done at once, which the memory
// model allows, so waiting for a group of them is nothing. An mbarrier that tracks them gets its
// arrival at once, too.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

constexpr ptx::Type kB64{ptx::Type::Kind::kBits, 64, 1};

// cp.async.mbarrier.arrive{.noinc}.shared.b64 [address];
void decode_arrive(Assembler& a) {
  const bool counted = a.accept("noinc");
  const std::string_view space = a.space();
  if (!a.accept("b64")) return a.invalid("no .b64");
  a.expect_operands(1, 1);
  Op op;
  // Without .noinc the pending count goes up by one and, all copies being done, down again.
  op.handler = counted ? mbarrier_arrive : mbarrier_touch;
  a.address(op, a.operand(0), space, 8);
  a.emit(op);
}

// cp.async.ca.shared.global{.L2::cache_hint}{.L2::128B} [to], [from], size{, source size | ignore
// source}{, policy};
void decode_copy(Assembler& a) {
  const bool bypass = a.accept("cg");
  if (!bypass && !a.accept("ca")) return a.invalid("neither .ca nor .cg");
  const bool has_policy = a.accept("L2::cache_hint");
  a.skip_cache_hints();
  if (a.space() != "shared") return a.unsupported("a destination that is not shared");
  if (a.space() != "global") return a.unsupported("a source that is not global");
  const size_t extra = has_policy ? 1 : 0;
  a.expect_operands(3 + extra, 4 + extra);
  const s64 size = a.immediate(a.operand(2));
  if (size != 16 && (bypass || (size != 4 && size != 8))) return a.invalid("no such size");
  if (has_policy) a.source(a.operand(a.operand_count() - 1), kB64);
  Op op, source;
  op.handler = copy_async;
  a.address(op, a.operand(0), "shared", static_cast<u64>(size));
  a.address(source, a.operand(1), "global", static_cast<u64>(size));
  op.b = source.a;
  Slot bytes = kNoSlot;
  bool negated = false;
  if (a.operand_count() == 4 + extra) {
    if (a.is_predicate(a.operand(3))) {
      op.ps = a.predicate_source(a.operand(3), &negated);
      op.count = 1;  // it has one
    } else {
      bytes = a.source32(a.operand(3));
    }
  }
  if (source.imm != static_cast<s32>(source.imm)) return a.unsupported("offset");
  op.list =
      a.list({bytes, static_cast<u32>(source.imm), static_cast<u32>(size), negated ? 1u : 0u});
  a.emit(op);
}

}  // namespace

bool decode_async_copy(Assembler& a) {
  const bool is_reduction = a.accept("reduce");
  if (!a.accept("async")) return false;
  if (a.accept("bulk")) return decode_bulk_copy(a, is_reduction);
  if (is_reduction) return false;
  if (a.accept("mbarrier")) {
    if (!a.accept("arrive")) return false;
    return decode_arrive(a), true;
  }
  const int group = a.accept_one_of({"commit_group", "wait_group", "wait_all"});
  if (group >= 0) {
    a.expect_operands(group == 1 ? 1 : 0, group == 1 ? 1 : 0);
    if (group == 1) a.immediate(a.operand(0));
    Op op;
    op.handler = no_operation;
    return a.emit(op), true;
  }
  return decode_copy(a), true;
}

}  // namespace farcall::softgpu
