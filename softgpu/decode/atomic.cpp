// atom, red, fences.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

void decode_atom(Assembler& a, bool is_reduction) {
  // Every atomic is sequentially consistent for the whole system: more than any of these asks for.
  a.skip({"relaxed", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys", "noftz"});
  const bool has_policy = a.skip_cache_hints();
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
  static constexpr unsigned kCounts[] = {2, 4, 8};
  const int vector = a.accept_one_of({"v2", "v4", "v8"});
  const ptx::Type type = a.type();
  const size_t first = is_reduction ? 0 : 1;
  const size_t count = first + (compare ? 3 : 2) + (has_policy ? 1 : 0);
  a.expect_operands(count, count);
  if (has_policy) a.source(a.operand(count - 1), {ptx::Type::Kind::kBits, 64, 1});
  if (a.failed()) return;
  a.decoder().kernel().may_wait = true;
  Op op;
  a.address(op, a.operand(first), space, type.bytes());
  op.access.kind = Access::kAtomic;
  const ptx::Operand& value = a.operand(first + 1);
  const bool has_result = !is_reduction && a.operand(0).kind != ptx::Operand::Kind::kSink;
  if (type.total_bits() == 128) {
    if (is_reduction || vector >= 0 || !(compare || kOps[index] == AtomicOp::kExch))
      return a.unsupported("");
    op.handler = compare ? compare_and_swap_128 : exchange_128;
    if (has_result) op.d = a.whole128(a.operand(0));
    op.b = a.whole128(value);
    if (compare) op.c = a.whole128(a.operand(first + 2));
    return a.emit(op);
  }
  op.handler = compare ? find_compare_and_swap(type) : find_atomic(kOps[index], type);
  if (op.handler == nullptr) return a.unsupported("");
  if (vector < 0) {
    if (has_result) op.d = a.destination(a.operand(0), type);
    op.b = a.source(value, type);
    if (compare) op.c = a.source(a.operand(first + 2), type);
    return a.emit(op);
  }
  // Each element is atomic for itself.
  const unsigned elements = kCounts[vector];
  const bool is_vector = value.kind == ptx::Operand::Kind::kVector &&
                         value.elements.size() == elements &&
                         (!has_result || a.operand(0).elements.size() == elements);
  if (compare || !type.is_float() || elements * type.bytes() > 16) return a.unsupported("");
  if (!is_vector) return a.invalid("wrong number of vector elements");
  for (unsigned k = 0; k < elements; ++k) {
    Op part = op;
    part.imm += k * type.bytes();
    part.b = a.source(value.elements[k], type);
    if (has_result && a.operand(0).elements[k].kind != ptx::Operand::Kind::kSink)
      part.d = a.destination(a.operand(0).elements[k], type);
    a.emit(part);
  }
}

}  // namespace

bool decode_atomic(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "red" && a.accept("async")) return decode_async_reduction(a), true;
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
