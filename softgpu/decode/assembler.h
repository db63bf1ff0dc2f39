// What the decoding of one PTX instruction needs: its modifiers, its operands as slots, and a place
// to emit Ops.
//
// decode_FAMILY() functions (one file per family) take the modifiers they understand one by one;
// finish() refuses the instruction if any is left, so that nothing is ever ignored silently. Errors
// are sticky: the first is kept, and what follows may produce nonsense that is thrown away.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "softgpu/decode/decoder.h"

namespace farcall::softgpu {

class Assembler {
 public:
  Assembler(Decoder& decoder, FunctionContext& function, const ptx::Instruction& instruction)
      : decoder_(decoder), function_(function), instruction_(instruction) {}

  std::string_view opcode() const { return instruction_.name[0]; }

  // ---- modifiers ----
  bool accept(std::string_view modifier);
  bool is_taken(size_t index) const { return (taken_ >> index & 1) != 0; }
  // Which of these is there: its index, or -1.
  int accept_one_of(std::initializer_list<std::string_view> modifiers);
  // The first that has not been taken, for those whose order matters; empty at the end.
  std::string_view take_next();
  // Hints that do not change results: takes them all.
  void skip(std::initializer_list<std::string_view> modifiers);
  bool skip_cache_hints();  // true: one more operand follows, the policy of .L2::cache_hint
  // The next modifier that is a type; an error if there is none.
  ptx::Type type();
  ptx::Type optional_type();
  // .rn .rz .rm .rp; nearest if there is none.
  Rounding rounding(bool* found = nullptr);
  // True when all modifiers have been taken and nothing failed.
  bool finish();

  // ---- operands ----
  size_t operand_count() const { return instruction_.operands.size(); }
  void expect_operands(size_t least, size_t most);
  const ptx::Operand& operand(size_t index);
  const ptx::Type* register_type(const ptx::Operand& operand) const;  // nullptr: no register
  unsigned register_bits(const ptx::Operand& operand) const;          // 0: no register

  // Values of `type`; registers must have its width.
  Slot source(const ptx::Operand& operand, ptx::Type type);
  Slot source32(const ptx::Operand& operand);
  Slot whole128(
      const ptx::Operand& operand);  // a register of 128 bits: two 64-bit slots, low first
  // A register wider than the type will do (ld, st, cvt). *bits: 32 or 64, what the slot has.
  Slot loose_source(const ptx::Operand& operand, ptx::Type type, unsigned* bits);
  Slot destination(const ptx::Operand& operand, ptx::Type type);  // `_` gets a slot nobody reads
  Slot loose_destination(const ptx::Operand& operand, ptx::Type type, unsigned* bits);
  bool is_predicate(const ptx::Operand& operand) const;
  u16 predicate_destination(const ptx::Operand& operand);
  u16 second_predicate(const ptx::Operand& operand);  // of a|p; 0: none
  // A register, its negation, or an integer constant.
  u16 predicate_source(const ptx::Operand& operand, bool* negated);
  s64 immediate(const ptx::Operand& operand);
  // The address of a memory operand: sets a, imm, flags (AddressKind) and access.bytes; what kind
  // of access it is, the caller says in op.access.kind. False: a kernel parameter by its name, so
  // there is no register (kParam).
  bool address(Op& op, const ptx::Operand& operand, std::string_view space, u64 bytes);
  // A state space among the modifiers, "shared::cluster" being one of its own; "generic" if there
  // is none.
  std::string_view space();
  Slot constant(unsigned bits, u64 value);
  Slot temporary(unsigned bits);
  Slot special(Special special);
  const u32* list(std::vector<u32> values);

  // ---- output ----
  void guard(Op& op) const;   // gives it the instruction's guard and line
  void emit(Op op);           // with the instruction's guard and line
  void emit_for_warp(Op op);  // all lanes take part; they wait for each other
  // The usual shape: d = handler(a, b, c), each of `type`.
  void emit_simple(Handler handler, ptx::Type type);
  void emit_unguarded(Op op);

  void unsupported(std::string_view what);
  void invalid(std::string_view what);
  void unresolved(std::string_view what);
  bool failed() const { return decoder_.failed(); }

  Decoder& decoder() { return decoder_; }
  FunctionContext& function() { return function_; }
  const ptx::Instruction& instruction() const { return instruction_; }
  std::string text() const;  // "add.sat.s32"

 private:
  void reject_part(const ptx::Operand& operand);  // %r1.b0 and -%r1, which few instructions have
  Slot symbol_address(const ptx::Operand& operand, unsigned bits);
  Slot special_register(std::string_view name, unsigned bits);
  Slot pack(const ptx::Operand& operand, unsigned bits);

  Decoder& decoder_;
  FunctionContext& function_;
  const ptx::Instruction& instruction_;
  u64 taken_ = 1;  // the opcode
};

// One per file of this folder. False: the opcode is of another family.
bool decode_integer(Assembler& a);
bool decode_float(Assembler& a);
bool decode_compare(Assembler& a);
bool decode_convert(Assembler& a);
bool decode_move(Assembler& a);
bool decode_memory(Assembler& a);
bool decode_atomic(Assembler& a);
bool decode_async_copy(Assembler& a);
bool decode_bulk_copy(Assembler& a, bool is_reduction);  // behind cp.async.bulk
// st.async and red.async, behind those words.
void decode_async_store(Assembler& a);
void decode_async_reduction(Assembler& a);
bool decode_cluster(Assembler& a);
void decode_cluster_barrier(Assembler& a);  // behind barrier.cluster
bool decode_tensor_map(Assembler& a);
bool decode_mbarrier(Assembler& a);
bool decode_control(Assembler& a);
bool decode_matrix(Assembler& a);
bool decode_mma(Assembler& a);
bool decode_wmma(Assembler& a);
bool decode_warp(Assembler& a);
bool decode_texture(Assembler& a);
bool decode_surface(Assembler& a);
bool decode_video(Assembler& a);

}  // namespace farcall::softgpu
