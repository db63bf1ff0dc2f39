// Clusters of blocks: their barrier, and addresses of each other's shared memory.
#include "softgpu/decode/assembler.h"
#include "softgpu/exec/handlers/common.h"

namespace farcall::softgpu {
namespace {

// An address in a register or by name, as mapa takes it: not in brackets.
void set_address(Assembler& a, Op& op, const ptx::Operand& operand, bool shared, ptx::Type type) {
  op.a = a.source(operand, type);
  op.flags = static_cast<u8>(!shared           ? AddressKind::kGeneric
                             : type.bits == 64 ? AddressKind::kShared64
                                               : AddressKind::kShared32);
}

// The space and the type: generic addresses have 64 bits.
bool accept_address_type(Assembler& a, bool* shared, ptx::Type* type) {
  const std::string_view space = a.space();
  *shared = space == "shared::cluster";
  *type = a.type();
  if (!*shared && space != "generic") return a.unsupported("space"), false;
  const unsigned bits = type->total_bits();
  if (bits != 64 && (bits != 32 || !*shared)) return a.unsupported("type"), false;
  return !a.failed();
}

// mapa.shared::cluster.u32 d, address, rank;
void decode_mapa(Assembler& a) {
  bool shared = false;
  ptx::Type type;
  if (!accept_address_type(a, &shared, &type)) return;
  a.expect_operands(3, 3);
  Op op;
  op.handler = map_to_rank;
  op.count = static_cast<u8>(type.bits);
  op.d = a.destination(a.operand(0), type);
  set_address(a, op, a.operand(1), shared, type);
  op.b = a.source32(a.operand(2));
  a.emit(op);
}

// getctarank.shared::cluster.u32 d, address;
void decode_rank(Assembler& a) {
  bool shared = false;
  ptx::Type type;
  if (!accept_address_type(a, &shared, &type)) return;
  a.expect_operands(2, 2);
  Op op;
  op.handler = rank_of_address;
  op.d = a.destination(a.operand(0), {ptx::Type::Kind::kUnsigned, 32, 1});
  set_address(a, op, a.operand(1), shared, type);
  a.emit(op);
}

}  // namespace

// barrier.cluster.arrive{.release, .relaxed}{.aligned}; barrier.cluster.wait{.acquire}{.aligned};
void decode_cluster_barrier(Assembler& a) {
  const bool arrive = a.accept("arrive");
  if (!arrive && !a.accept("wait")) return a.unsupported("");
  a.skip({"release", "relaxed", "acquire", "aligned"});
  a.expect_operands(0, 0);
  Op op;
  op.control = arrive ? Control::kClusterArrive : Control::kClusterWait;
  a.emit(op);
}

bool decode_cluster(Assembler& a) {
  if (a.opcode() == "mapa") return decode_mapa(a), true;
  if (a.opcode() == "getctarank") return decode_rank(a), true;
  return false;
}

}  // namespace farcall::softgpu
