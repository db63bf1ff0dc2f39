// Several PTX modules as one program: finds symbols across modules, gives variables their memory
// and initial values.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/types.h"
#include "softgpu/ptx/ast.h"

namespace farcall::softgpu {

// Functions have addresses too: their number in the program, plus this. Small, so that a call
// through a pointer to data is recognised, and not zero.
constexpr u64 kFunctionAddressBase = 16;

struct LinkedVariable {
  const ptx::Variable* variable;
  size_t module;
  u64 address = 0;  // of .global and .const; others belong to kernels
};

struct LinkedFunction {
  ptx::Function* function;  // bodies are parsed on demand
  size_t module;
};

class LinkedProgram {
 public:
  // nullptr on failure, with *error written. `memory` outlives the program.
  static std::unique_ptr<LinkedProgram> link(std::span<const std::string_view> texts,
                                             AddressSpace& memory, LoadError* error,
                                             u32 red_zone_bytes = 0);
  ~LinkedProgram();
  LinkedProgram(const LinkedProgram&) = delete;
  LinkedProgram& operator=(const LinkedProgram&) = delete;

  // What a name means inside a module; an index, or nothing. A declaration without a definition is
  // not found.
  std::optional<u32> find_variable(size_t module, std::string_view name) const;
  std::optional<u32> find_function(size_t module, std::string_view name) const;
  // By the names that the host uses.
  std::optional<u32> find_kernel(std::string_view name) const;
  std::optional<u32> find_host_variable(std::string_view name) const;
  // `extern .shared` declarations are variables without a definition.
  const ptx::Variable* find_extern_shared(size_t module, std::string_view name) const;

  const std::vector<LinkedFunction>& functions() const { return functions_; }
  const std::vector<LinkedVariable>& variables() const { return variables_; }
  const ptx::Module& module(size_t index) const { return *modules_[index]; }
  u64 constant_bytes() const { return constant_bytes_; }
  // Bytes that nobody may touch behind each variable, those of kernels included: for memcheck.
  u32 red_zone_bytes() const { return red_zone_bytes_; }
  // Whether the bytes lie among the variables of the program at all, and in which; nullptr: in
  // none.
  bool among_variables(u64 address) const;
  const LinkedVariable* variable_at(u64 address, u64 bytes) const;

  static u64 function_address(u32 index) { return kFunctionAddressBase + index; }

 private:
  using Names = std::unordered_map<std::string_view, u32>;
  struct ModuleNames {
    Names variables, functions;  // definitions of this module
    std::unordered_map<std::string_view, std::string_view> aliases;
  };

  LinkedProgram(AddressSpace& memory, u32 red_zone_bytes)
      : memory_(memory), red_zone_bytes_(red_zone_bytes) {}
  bool parse(std::span<const std::string_view> texts, LoadError* error);
  bool collect(LoadError* error);
  bool allocate(LoadError* error);
  bool initialize(LoadError* error);
  bool add_global_name(Names& names, std::string_view name, u32 index, bool weak, int line,
                       LoadError* error);

  AddressSpace& memory_;
  const u32 red_zone_bytes_;
  std::vector<std::unique_ptr<ptx::Module>> modules_;
  std::vector<ModuleNames> names_;
  Names global_variables_, global_functions_;  // visible across modules
  Names host_variables_, kernels_;
  std::vector<LinkedVariable> variables_;
  std::vector<LinkedFunction> functions_;
  struct Allocation {
    u64 address, bytes;
  };
  std::vector<Allocation> allocations_;
  std::vector<u32> by_address_;  // indices of variables with an address, sorted by it
  u64 constant_bytes_ = 0;
};

}  // namespace farcall::softgpu
