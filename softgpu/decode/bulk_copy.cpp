// cp.async.bulk, cp.reduce.async.bulk and their tensor forms, st.async, red.async. Like the small
// copies they are done at once: groups are nothing, mbarriers are told of the bytes at once.
#include <cstring>

#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/bulk_plan.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

using OperandKind = ptx::Operand::Kind;
constexpr ptx::Type kB64{ptx::Type::Kind::kBits, 64, 1};
constexpr ptx::Type kB16{ptx::Type::Kind::kBits, 16, 1};

// Shared addresses become generic ones.
BulkAddress bulk_address(Assembler& a, const ptx::Operand& operand, std::string_view space) {
  Op op;
  a.address(op, operand, space == "shared" ? "shared::cluster" : space, 16);
  if (op.imm != static_cast<s32>(op.imm)) a.unsupported("offset");
  return {op.a, static_cast<s32>(op.imm)};
}

template <class Plan>
const u32* list_of(Assembler& a, const Plan& plan) {
  std::vector<u32> list(sizeof plan / sizeof(u32));
  std::memcpy(list.data(), &plan, sizeof plan);
  return a.list(std::move(list));
}

bool is_shared(std::string_view space) { return space == "shared" || space == "shared::cluster"; }

// .and, .add ... of a reduction.
bool accept_operation(Assembler& a, AtomicOp* operation) {
  static constexpr AtomicOp kOps[] = {AtomicOp::kAdd, AtomicOp::kMin, AtomicOp::kMax,
                                      AtomicOp::kInc, AtomicOp::kDec, AtomicOp::kAnd,
                                      AtomicOp::kOr,  AtomicOp::kXor};
  const int index = a.accept_one_of({"add", "min", "max", "inc", "dec", "and", "or", "xor"});
  if (index < 0) return a.invalid("no operation"), false;
  *operation = kOps[index];
  return true;
}

BulkType bulk_type(const ptx::Type& type) {
  if (type.lanes != 1) return BulkType::kNone;
  if (type.kind == ptx::Type::Kind::kBfloat) return BulkType::kBf16;
  if (type.is_float()) {
    return type.bits == 16 ? BulkType::kF16 : type.bits == 32 ? BulkType::kF32 : BulkType::kF64;
  }
  if (type.bits == 32) return type.is_signed() ? BulkType::kS32 : BulkType::kU32;
  if (type.bits == 64) return type.is_signed() ? BulkType::kS64 : BulkType::kU64;
  return BulkType::kNone;
}
bool reduces(AtomicOp operation, BulkType type) {
  switch (type) {
    case BulkType::kF16:
    case BulkType::kBf16:
      return operation == AtomicOp::kAdd || operation == AtomicOp::kMin ||
             operation == AtomicOp::kMax;
    case BulkType::kF32:
    case BulkType::kF64:
      return operation == AtomicOp::kAdd;
    case BulkType::kNone:
      return false;
    default:
      return true;
  }
}

// How the end of the copy is told: True: to an mbarrier.
bool accept_completion(Assembler& a, bool to_shared) {
  const bool barrier = a.accept("mbarrier::complete_tx::bytes");
  if (!barrier && !a.accept("bulk_group")) a.invalid("no completion");
  if (barrier != to_shared) a.unsupported("completion");
  return barrier;
}

// cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [to], [from], size, [barrier];
void decode_copy(Assembler& a, bool is_reduction) {
  const std::string_view to = a.space(), from = a.space();
  const bool to_shared = is_shared(to);
  const bool spaces_exist =
      (to_shared && (from == "global" || from == "shared")) || (to == "global" && from == "shared");
  if (!spaces_exist || (is_reduction && from != "shared")) return a.unsupported("spaces");
  const bool barrier = accept_completion(a, to_shared);
  const bool multicast = a.accept("multicast::cluster");
  const bool byte_mask = a.accept("cp_mask");
  const bool has_policy = a.accept("L2::cache_hint");
  BulkPlan plan{};
  plan.reduces = is_reduction;
  plan.blocks = plan.bytes = plan.barrier.slot = kNoSlot;
  plan.type = BulkType::kNone;
  if (is_reduction) {
    if (!accept_operation(a, &plan.operation)) return;
    a.accept("noftz");
    plan.type = bulk_type(a.type());
    if (!reduces(plan.operation, plan.type)) return a.unsupported("type");
    if (to_shared && plan.type >= BulkType::kF16) return a.unsupported("type in shared memory");
  }
  if ((multicast && (!to_shared || from != "global" || is_reduction)) ||
      (byte_mask && (to_shared || is_reduction))) {
    return a.unsupported("");
  }
  const size_t operands =
      3u + (barrier ? 1 : 0) + (multicast ? 1 : 0) + (has_policy ? 1 : 0) + (byte_mask ? 1 : 0);
  a.expect_operands(operands, operands);
  if (a.failed()) return;
  Op op;
  op.handler = bulk_copy;
  plan.to = bulk_address(a, a.operand(0), to);
  plan.from = bulk_address(a, a.operand(1), from);
  plan.size = a.source32(a.operand(2));
  size_t next = 3;
  if (barrier) plan.barrier = bulk_address(a, a.operand(next++), to);
  if (multicast) plan.blocks = a.source(a.operand(next++), kB16);
  if (has_policy) a.source(a.operand(next++), kB64);
  if (byte_mask) plan.bytes = a.source(a.operand(next++), kB16);
  op.list = list_of(a, plan);
  a.emit(op);
}

// The operand [map, {c0, c1, ...}].
void tensor_operand(Assembler& a, const ptx::Operand& operand, unsigned count, TensorPlan* plan) {
  if (operand.kind != OperandKind::kAddress || operand.elements.size() != 1 ||
      operand.elements[0].kind != OperandKind::kVector ||
      operand.elements[0].elements.size() != count) {
    return a.invalid("expected [tensor map, {coordinates}]");
  }
  ptx::Operand map = operand;
  map.elements.clear();
  plan->map = bulk_address(a, map, "generic");
  plan->coordinates = count;
  for (unsigned i = 0; i < count; ++i)
    plan->coordinate[i] = a.source32(operand.elements[0].elements[i]);
}

enum class Mode : u8 { kTile, kIm2col, kIm2colNoOffsets, kRows, kNone };
Mode accept_mode(Assembler& a, bool is_load) {
  if (a.accept("tile")) return Mode::kTile;
  if (a.accept(is_load ? "tile::gather4" : "tile::scatter4")) return Mode::kRows;
  if (is_load && a.accept("im2col")) return Mode::kIm2col;
  if (!is_load && a.accept("im2col_no_offs")) return Mode::kIm2colNoOffsets;
  return Mode::kTile;
}

// cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [to], [map, {x,
// y}], [barrier]; and cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [map, {x, y}],
// [from];
void decode_tensor(Assembler& a, bool is_reduction) {
  const int dimensions = 1 + a.accept_one_of({"1d", "2d", "3d", "4d", "5d"});
  if (dimensions == 0) return a.invalid("no dimension");
  const std::string_view to = a.space(), from = a.space();
  const bool is_load = is_shared(to) && from == "global";
  if ((!is_load && (to != "global" || from != "shared")) || (is_load && is_reduction))
    return a.unsupported("spaces");
  TensorPlan plan{};
  plan.blocks = plan.barrier.slot = kNoSlot;
  plan.direction = is_load        ? TensorDirection::kLoad
                   : is_reduction ? TensorDirection::kReduce
                                  : TensorDirection::kStore;
  if (is_reduction && !accept_operation(a, &plan.operation)) return;
  const Mode mode = accept_mode(a, is_load);
  const bool barrier = accept_completion(a, is_load);
  const bool multicast = a.accept("multicast::cluster");
  if (multicast && !is_load) return a.unsupported("");
  a.accept("cta_group::1");
  const bool has_policy = a.accept("L2::cache_hint");
  const bool offsets = mode == Mode::kIm2col;
  if (offsets && dimensions < 3) return a.invalid("im2col of less than three dimensions");
  if (mode == Mode::kRows && dimensions != 2) return a.invalid("rows of a tensor that is not 2d");
  const size_t operands =
      2u + (barrier ? 1 : 0) + (offsets ? 1 : 0) + (multicast ? 1 : 0) + (has_policy ? 1 : 0);
  a.expect_operands(operands, operands);
  if (a.failed()) return;
  plan.rows = mode == Mode::kRows ? 4 : 0;
  tensor_operand(a, a.operand(is_load ? 1 : 0),
                 mode == Mode::kRows ? 5u : static_cast<unsigned>(dimensions), &plan);
  plan.shared = bulk_address(a, a.operand(is_load ? 0 : 1), "shared");
  size_t next = 2;
  if (barrier) plan.barrier = bulk_address(a, a.operand(next++), "shared");
  if (offsets) {
    const ptx::Operand& list = a.operand(next++);
    plan.offsets = static_cast<u32>(dimensions - 2);
    if (list.kind != OperandKind::kVector || list.elements.size() != plan.offsets)
      return a.invalid("no im2col offsets");
    for (u32 i = 0; i < plan.offsets; ++i) plan.offset[i] = a.source(list.elements[i], kB16);
  }
  if (multicast) plan.blocks = a.source(a.operand(next++), kB16);
  if (has_policy) a.source(a.operand(next++), kB64);
  Op op;
  op.handler = tensor_copy;
  op.count = static_cast<u8>(dimensions);
  op.list = list_of(a, plan);
  a.emit(op);
}

// Brings nothing anywhere: there are no caches to fill.
void decode_prefetch(Assembler& a) {
  const bool tensor = a.accept("tensor");
  if (!a.accept("L2")) return a.invalid("no .L2");
  if (tensor)
    a.skip({"1d", "2d", "3d", "4d", "5d", "tile", "im2col", "tile::gather4"});
  else if (a.space() != "global")
    return a.unsupported("space");
  a.space();
  a.accept("L2::cache_hint");
  Op op;
  op.handler = no_operation;
  a.emit(op);
}

// Where a value is stored across the cluster, and the barrier that hears of its bytes.
void complete_bytes(Assembler& a, size_t operand, u32 bytes) {
  Op op;
  op.handler = mbarrier_complete;
  a.address(op, a.operand(operand), "shared::cluster", 8);
  op.c = a.constant(32, bytes);
  a.emit(op);
}

}  // namespace

bool decode_bulk_copy(Assembler& a, bool is_reduction) {
  if (!is_reduction) {
    const int group = a.accept_one_of({"commit_group", "wait_group"});
    if (group >= 0) {
      a.accept("read");
      a.expect_operands(group == 1 ? 1 : 0, group == 1 ? 1 : 0);
      if (group == 1) a.immediate(a.operand(0));
      Op op;
      op.handler = no_operation;
      return a.emit(op), true;
    }
    if (a.accept("prefetch")) return decode_prefetch(a), true;
  }
  if (a.accept("tensor"))
    decode_tensor(a, is_reduction);
  else
    decode_copy(a, is_reduction);
  return true;
}

// st.async.shared::cluster.mbarrier::complete_tx::bytes{.v2, .v4}.b32 [address], value, [barrier];
void decode_async_store(Assembler& a) {
  a.accept("weak");
  if (a.space() != "shared::cluster" || !a.accept("mbarrier::complete_tx::bytes"))
    return a.unsupported("");
  static constexpr unsigned kCounts[] = {2, 4};
  const int vector = a.accept_one_of({"v2", "v4"});
  const unsigned count = vector < 0 ? 1 : kCounts[vector];
  const ptx::Type type = a.type();
  if (a.failed() || (type.total_bits() != 32 && type.total_bits() != 64))
    return a.unsupported("type");
  a.expect_operands(3, 3);
  const ptx::Operand& value = a.operand(1);
  Op op;
  a.address(op, a.operand(0), "shared::cluster", u64{type.bytes()} * count);
  op.access.kind = Access::kStrongWrite;
  const auto kind = static_cast<AddressKind>(op.flags);
  op.count = static_cast<u8>(count);
  if (count == 1) {
    op.b = a.source(value, type);
    op.handler = handlers().store(type, kind, type.total_bits());
  } else {
    if (value.kind != OperandKind::kVector || value.elements.size() != count)
      return a.invalid("wrong number of vector elements");
    std::vector<u32> slots;
    for (const ptx::Operand& element : value.elements) slots.push_back(a.source(element, type));
    op.list = a.list(std::move(slots));
    op.handler = handlers().store_vector(type, kind, type.total_bits());
  }
  if (op.handler == nullptr) return a.unsupported("");
  a.emit(op);
  complete_bytes(a, 2, type.bytes() * count);
}

// red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [address], value,
// [barrier];
void decode_async_reduction(Assembler& a) {
  a.skip({"relaxed", "cluster"});
  if (a.space() != "shared::cluster" || !a.accept("mbarrier::complete_tx::bytes"))
    return a.unsupported("");
  AtomicOp operation;
  if (!accept_operation(a, &operation)) return;
  const ptx::Type type = a.type();
  a.expect_operands(3, 3);
  if (a.failed()) return;
  Op op;
  op.handler = type.is_integer() ? find_atomic(operation, type) : nullptr;
  if (op.handler == nullptr) return a.unsupported("type");
  a.address(op, a.operand(0), "shared::cluster", type.bytes());
  op.access.kind = Access::kAtomic;
  op.b = a.source(a.operand(1), type);
  a.emit(op);
  complete_bytes(a, 2, type.bytes());
}

}  // namespace farcall::softgpu
