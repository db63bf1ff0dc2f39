// From a kernel's PTX to a Kernel that can run: gathers the functions it reaches, lays out shared
// and local memory, and translates instruction by instruction.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "softgpu/decode/hoist.h"
#include "softgpu/decode/link.h"
#include "softgpu/exec/handlers/handlers.h"
#include "softgpu/exec/op.h"

namespace farcall::softgpu {

// nullptr on failure, with *error written. Not thread-safe for one program: bodies are parsed on
// demand.
std::unique_ptr<Kernel> decode_kernel(const LinkedProgram& program, u32 entry, LoadError* error);

// Everything in a kernel that cannot be decoded, where decode_kernel() stops at the first. Empty:
// it can be decoded. For softgpu-coverage.
std::vector<LoadError> survey_kernel(const LinkedProgram& program, u32 entry);

// What the signature and the bodies' declarations say, without decoding.
KernelInfo describe_kernel(const LinkedProgram& program, u32 entry);

// A function while it is translated.
struct FunctionContext {
  const ptx::Function* source;
  size_t module;
  HoistPlan hoisted;               // empty unless it is the kernel
  u32 index;                       // in Kernel::functions
  std::vector<Slot> registers;     // by ptx register number; predicates: unused
  std::vector<u16> predicates;     // by ptx register number; others: unused
  std::vector<u32> local_offsets;  // of .local and .param variables, in the frame
  std::unordered_map<std::string_view, u32> formals;  // name -> index into DecodedFunction::formals
  u32 call_scratch = 0;         // in the frame: arguments of calls that are no .param variables
  Slot alloca_start = kNoSlot;  // 64 bits: what alloca had taken when the function began
};

class Decoder {
 public:
  Decoder(const LinkedProgram& program, Kernel& kernel, u32 entry)
      : program_(program), kernel_(kernel), entry_(entry) {}

  bool run();
  KernelInfo describe();            // without translating
  std::vector<LoadError> survey();  // every error instead of the first
  const LoadError& error() const { return error_; }
  bool failed() const { return failed_; }
  void fail(LoadError error);

  // For Assembler.
  Kernel& kernel() { return kernel_; }
  const LinkedProgram& program() const { return program_; }
  Slot allocate(unsigned bytes_per_lane);
  Slot allocate_block_value(unsigned bytes_per_lane);
  Slot constant(unsigned bits, u64 value);
  Slot special(Special special);
  u16 allocate_predicate();
  void emit(const Op& op) { output_->push_back(op); }
  // Branch targets are instructions until the function is complete.
  void fix_target(size_t op, u32 instruction) { target_fixups_.push_back({op, instruction}); }
  void fix_list(std::vector<u32>& list) { list_fixups_.push_back(&list); }
  // Index into Kernel::functions; kNoSlot: not part of the kernel.
  u32 function_index(u32 linked) const;
  // Offset of a shared variable: of the program by index, or of a function.
  u32 shared_offset(u32 variable) const { return shared_.at(variable); }
  u32 local_shared_offset(const ptx::Variable* variable) const {
    return local_shared_.at(variable);
  }
  u32 dynamic_shared_offset() const { return kernel_.shared_bytes; }
  // Of %reserved_smem_offset_...; nothing: there is no such register.
  std::optional<u32> reserved_shared_offset(std::string_view name) const;
  Slot alloca_top() const { return alloca_top_; }  // of kernels that use alloca
  // What a function does besides its body, when it begins and before it returns (under the guard of
  // `at`): formals that are registers, alloca.
  void emit_prologue(FunctionContext& context);
  void emit_epilogue(const FunctionContext& context, const Op& at);

 private:
  struct TargetFixup {
    size_t op;
    u32 instruction;
  };

  void note_error();  // while surveying: keeps the error and goes on
  bool gather();
  bool scan(u32 place);
  void fill_info(KernelInfo& info) const;
  void add_function(u32 linked);
  void lay_out_shared(const ptx::Variable& variable, u32* offset);
  bool lay_out_function(FunctionContext& context);
  bool find_recursion();
  bool translate(FunctionContext& context);
  void translate_instruction(FunctionContext& context, size_t index);
  void translate_hoisted(FunctionContext& context);

  const LinkedProgram& program_;
  Kernel& kernel_;
  std::vector<Op>* output_ = &kernel_.code;
  u32 entry_;
  LoadError error_{};
  bool failed_ = false;
  bool surveying_ = false;
  std::vector<LoadError> errors_;  // of a survey

  std::vector<u32> reached_;               // linked functions, the kernel first
  std::unordered_map<u32, u32> index_of_;  // linked function -> its place in reached_
  std::vector<std::vector<u32>> callees_;  // by place
  std::vector<std::string> unusable_;      // by place: why the body could not be parsed or decoded
  u32 required_ =
      0;  // the first so many in reached_ are reached by name, the rest by pointers only
  bool has_indirect_calls_ = false;
  bool recursive_ = false;
  std::vector<bool> makes_indirect_calls_;
  u32 shared_alignment_ = 16;
  u32 red_zones_bytes_ = 0;  // part of the kernel's shared memory
  bool uses_alloca_ = false;
  Slot alloca_top_ = kNoSlot;
  std::optional<u32>
      reserved_shared_;  // the system's part of shared memory, if the kernel names it

  u32 register_bytes_ = 0;
  u32 predicate_count_ = 1;
  std::map<std::pair<unsigned, u64>, Slot> constants_;
  std::map<Special, Slot> specials_;
  std::unordered_map<u32, u32> shared_;
  std::unordered_map<const ptx::Variable*, u32> local_shared_;
  std::vector<TargetFixup> target_fixups_;
  std::vector<std::vector<u32>*> list_fixups_;
};

}  // namespace farcall::softgpu
