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
  a.skip_cache_hints();
  if (a.accept("unified")) return a.unsupported("");
  const unsigned count = vector_count(a);
  ptx::Type type = a.type();
  a.expect_operands(2, 2);
  if (a.failed()) return;
  if (type.total_bits() == 128) {  // as two halves
    if (count != 1) return a.unsupported("");
  }
  const bool whole128 = type.total_bits() == 128;
  if (whole128) type = {Kind::kBits, 64, 1};
  const unsigned elements = whole128 ? 2 : count;
  const ptx::Operand& value = a.operand(is_load ? 0 : 1);
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

}  // namespace

bool decode_memory(Assembler& a) {
  const std::string_view opcode = a.opcode();
  if (opcode == "ld" || opcode == "ldu") return decode_load_store(a, true), true;
  if (opcode == "st") return decode_load_store(a, false), true;
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
