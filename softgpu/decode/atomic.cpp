// atom, red, fences.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

void decode_atom(Assembler& a, bool is_reduction) {
  // Every atomic is sequentially consistent for the whole system: more than any of these asks for.
  a.skip({"relaxed", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys", "noftz"});
  a.skip_cache_hints();
  const std::string_view space = a.space();
  if (space != "global" && space != "shared" && space != "shared::cluster" && space != "generic")
    return a.unsupported("");
  static constexpr AtomicOp kOps[] = {AtomicOp::kAdd, AtomicOp::kMin, AtomicOp::kMax,
                                      AtomicOp::kInc, AtomicOp::kDec, AtomicOp::kAnd,
                                      AtomicOp::kOr,  AtomicOp::kXor, AtomicOp::kExch};
  const int index =
      a.accept_one_of({"add", "min", "max", "inc", "dec", "and", "or", "xor", "exch"});
  const bool compare = index < 0 && a.accept("cas");
  if (index < 0 && !compare) return a.unsupported("");
  const ptx::Type type = a.type();
  const size_t first = is_reduction ? 0 : 1, count = first + (compare ? 3 : 2);
  a.expect_operands(count, count);
  if (a.failed()) return;
  Op op;
  op.handler = compare ? find_compare_and_swap(type) : find_atomic(kOps[index], type);
  if (op.handler == nullptr) return a.unsupported("");
  if (!is_reduction && a.operand(0).kind != ptx::Operand::Kind::kSink)
    op.d = a.destination(a.operand(0), type);
  a.address(op, a.operand(first), space, type.bytes());
  op.access.kind = Access::kAtomic;
  op.b = a.source(a.operand(first + 1), type);
  if (compare) op.c = a.source(a.operand(first + 2), type);
  a.decoder().kernel().may_wait = true;
  a.emit(op);
}

}  // namespace

bool decode_atomic(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "atom" || opcode == "red") return decode_atom(a, opcode == "red"), true;
  if (opcode == "membar" || opcode == "fence") {
    if (a.accept("proxy")) {
      a.skip({"alias", "async", "tensormap::generic", "async::generic", "async.global"});
      a.space();
    }
    a.skip({"sc", "acq_rel", "acquire", "release", "cta", "gl", "gpu", "sys", "cluster",
            "mbarrier_init"});
    Op op;
    op.handler = fence;
    return a.emit(op), true;
  }
  return false;
}

}  // namespace farcall::softgpu
