// ld, st, and hints about caches.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

using Kind = ptx::Type::Kind;
using OperandKind = ptx::Operand::Kind;

unsigned vector_count(Assembler& a) {
  static constexpr unsigned kCounts[] = {2, 4, 8};
  const int index = a.accept_one_of({"v2", "v4", "v8"});
  return index < 0 ? 1 : kCounts[index];
}

// Accesses that other threads watch. Their scope does not matter: the host's memory is coherent.
// *is_volatile: by the rules of races it is an ordinary access.
bool accept_strong(Assembler& a, bool* is_volatile) {
  *is_volatile = a.accept("volatile");
  const bool strong = *is_volatile || a.accept_one_of({"relaxed", "acquire", "release"}) >= 0;
  a.skip({"cta", "cluster", "gpu", "sys", "mmio"});
  return strong;
}

void decode_load_store(Assembler& a, bool is_load) {
  a.accept("weak");
  bool is_volatile = false;
  const bool strong = accept_strong(a, &is_volatile);
  const std::string_view space = a.space();
  const bool has_policy = a.skip_cache_hints();
  if (a.accept("unified")) return a.unsupported("");
  const unsigned count = vector_count(a);
  ptx::Type type = a.type();
  a.expect_operands(has_policy ? 3 : 2, has_policy ? 3 : 2);
  if (has_policy) a.source(a.operand(2), {Kind::kBits, 64, 1});
  if (a.failed()) return;
  if (type.total_bits() == 128) {  // as two halves
    if (count != 1) return a.unsupported("");
  }
  const bool whole128 = type.total_bits() == 128;
  if (whole128) type = {Kind::kBits, 64, 1};
  const unsigned elements = whole128 ? 2 : count;
  // {%r1} is %r1.
  const ptx::Operand& written = a.operand(is_load ? 0 : 1);
  const bool wrapped =
      count == 1 && written.kind == OperandKind::kVector && written.elements.size() == 1;
  const ptx::Operand& value = wrapped ? written.elements[0] : written;
  Op op;
  a.address(op, a.operand(is_load ? 1 : 0), space, u64{type.bytes()} * elements);
  const auto kind = static_cast<AddressKind>(op.flags);
  if (!is_load && kind == AddressKind::kParam) return a.invalid("a store to a kernel's parameter");
  if (!is_load && space == "const") return a.invalid("a store to constant memory");

  if (strong && !is_volatile)
    op.access.kind = is_load ? Access::kStrongRead : Access::kStrongWrite;
  else
    op.access.kind = is_load ? Access::kRead : Access::kWrite;
  op.count = static_cast<u8>(elements);
  unsigned bits = type.total_bits() == 64 ? 64 : 32;
  if (elements == 1) {
    if (is_load)
      op.d = a.loose_destination(value, type, &bits);
    else
      op.b = a.loose_source(value, type, &bits);
  } else {
    std::vector<u32> slots;
    if (whole128) {
      if (a.register_bits(value) != 128) return a.invalid("the operand is no 128-bit register");
      const Slot slot = a.function().registers[static_cast<size_t>(value.reg)];
      slots = {slot, slot + 8 * kLanes};
    } else {
      if (value.kind != OperandKind::kVector || value.elements.size() != elements) {
        return a.invalid("wrong number of vector elements");
      }
      bool first = true;
      for (const ptx::Operand& element : value.elements) {
        if (element.kind == OperandKind::kSink && is_load) {
          slots.push_back(kNoSlot);
          continue;
        }
        unsigned element_bits = 0;
        slots.push_back(is_load ? a.loose_destination(element, type, &element_bits)
                                : a.loose_source(element, type, &element_bits));
        if (!first && element_bits != bits) a.invalid("vector elements of different sizes");
        bits = element_bits;
        first = false;
      }
    }
    op.list = a.list(std::move(slots));
  }
  if (strong && kind == AddressKind::kParam) return a.unsupported("");
  if (strong) {
    op.handler = is_load ? find_strong_load(type, bits) : find_strong_store(type, bits);
    a.decoder().kernel().may_wait = true;
  } else if (elements == 1) {
    op.handler = is_load ? handlers().load(type, kind, bits) : handlers().store(type, kind, bits);
  } else {
    if (elements == 8 && type.bits != 32) return a.unsupported("");
    op.handler = is_load ? handlers().load_vector(type, kind, bits)
                         : handlers().store_vector(type, kind, bits);
  }
  if (op.handler == nullptr) return a.unsupported("");
  if (!is_load) op.access.register_bits = static_cast<u8>(bits);
  a.emit(op);
}

// What to keep in a cache: changes no result, so any value will do.
void decode_create_policy(Assembler& a) {
  const int kind = a.accept_one_of({"fractional", "range", "cvt"});
  a.accept("global");
  a.accept("L2");
  a.skip_cache_hints();
  const ptx::Type type = a.type();
  if (kind < 0 || type.total_bits() != 64) return a.unsupported("");
  a.expect_operands(kind == 1 ? 4 : kind == 2 ? 2 : 1, kind == 1 ? 4 : 2);
  Op op;
  op.handler = handlers().copy(64);
  op.d = a.destination(a.operand(0), type);
  op.a = a.constant(64, 0);
  if (kind == 0 && a.operand_count() == 2) a.source(a.operand(1), {Kind::kFloat, 32, 1});
  if (kind == 1) {
    Op unused;
    a.address(unused, a.operand(1), "global", 1);
    a.source32(a.operand(2));
    a.source32(a.operand(3));
  }
  if (kind == 2) op.a = a.source(a.operand(1), type);
  a.emit(op);
}

// Of memory that several devices share as one. There is none on this device, so no address can be
// right.
void decode_multimem(Assembler& a) {
  const int kind = a.accept_one_of({"ld_reduce", "st", "red"});
  if (kind < 0) return a.unsupported("");
  a.skip({"weak", "relaxed", "acquire", "release", "cta", "cluster", "gpu", "sys", "global"});
  a.skip({"min", "max", "add", "and", "or", "xor", "acc::f32", "acc::f16", "v2", "v4", "v8"});
  const std::string_view type = a.take_next();
  const bool narrow = type.starts_with("e4m3") || type.starts_with("e5m2");
  if (!narrow && !ptx::parse_type(type)) return a.unsupported("no known type");
  a.expect_operands(2, 2);
  Op op;
  op.handler = no_multicast_memory;
  a.address(op, a.operand(kind == 0 ? 1 : 0), "global", 1);
  a.emit(op);
}

}  // namespace

bool decode_memory(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "ld" || opcode == "ldu") return decode_load_store(a, true), true;
  if (opcode == "st" && a.accept("async")) return decode_async_store(a), true;
  if (opcode == "st") return decode_load_store(a, false), true;
  if (opcode == "createpolicy") return decode_create_policy(a), true;
  if (opcode == "multimem") return decode_multimem(a), true;
  if (opcode == "prefetch" || opcode == "prefetchu" || opcode == "discard" ||
      opcode == "applypriority") {
    a.space();
    a.skip_cache_hints();
    a.skip({"L1", "L2", "tensormap"});
    Op op;
    op.handler = no_operation;
    return a.emit(op), true;
  }
  return false;
}

}  // namespace farcall::softgpu
