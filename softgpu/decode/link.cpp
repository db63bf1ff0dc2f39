#include "softgpu/decode/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "softgpu/ptx/parser.h"

namespace farcall::softgpu {
namespace {

// Bodies of texts up to this size are parsed at once, so that a malformed one is refused when it is
// loaded, as a driver does. That costs 15 ms at most; the images of libraries are larger and wait
// until a kernel is used.
constexpr size_t kEagerBytesMax = 1 << 20;

constexpr u64 kVariableAlignment = 16;          // at least: what the host copies to and from
constexpr u64 kProgramBytesMax = u64{1} << 40;  // of variables: no address space gives more

bool stored(const ptx::Variable& variable) {
  return variable.space == "global" || variable.space == "const";
}

LoadError invalid(int line, std::string message) {
  return {LoadError::Kind::kInvalidPtx, line, fmt::format("line {}: {}", line, message)};
}

}  // namespace

std::unique_ptr<LinkedProgram> LinkedProgram::link(std::span<const std::string_view> texts,
                                                   AddressSpace& memory, LoadError* error,
                                                   u32 red_zone_bytes) {
  std::unique_ptr<LinkedProgram> program(new LinkedProgram(memory, red_zone_bytes));
  const bool ok = program->parse(texts, error) && program->collect(error) &&
                  program->allocate(error) && program->initialize(error);
  return ok ? std::move(program) : nullptr;
}

LinkedProgram::~LinkedProgram() {
  for (const Allocation& allocation : allocations_) {
    memory_.deallocate(reinterpret_cast<void*>(allocation.address));
  }
}

bool LinkedProgram::parse(std::span<const std::string_view> texts, LoadError* error) {
  for (std::string_view text : texts) {
    // Images are often handed over with their terminating zero.
    text = text.substr(0, text.find('\0'));
    ptx::ParseError failure;
    auto module = ptx::parse_module(std::string(text), &failure);
    if (module && text.size() <= kEagerBytesMax) {
      for (ptx::Function& function : module->functions) {
        if (auto problem = ptx::parse_body(function)) {
          failure = std::move(*problem);
          module = nullptr;
          break;
        }
      }
    }
    if (!module) {
      *error = invalid(failure.line, failure.message);
      return false;
    }
    modules_.push_back(std::move(module));
  }
  return true;
}

// Weak definitions of one name are one thing: the first, or a strong one if there is.
bool LinkedProgram::add_global_name(Names& names, std::string_view name, u32 index, bool weak,
                                    int line, LoadError* error) {
  const auto [it, added] = names.try_emplace(name, index);
  if (added) return true;
  const bool variables = &names == &global_variables_;
  if (weak) {  // of commons without values the largest
    if (!variables) return true;
    const ptx::Variable &kept = *variables_[it->second].variable,
                        &other = *variables_[index].variable;
    if (kept.is_weak && kept.initializers.empty() && other.initializers.empty() &&
        other.bytes() > kept.bytes())
      it->second = index;
    return true;
  }
  const bool other_weak = variables ? variables_[it->second].variable->is_weak
                                    : functions_[it->second].function->is_weak;
  if (!other_weak) {
    *error = invalid(line, fmt::format("'{}' is defined in two modules", name));
    return false;
  }
  it->second = index;
  return true;
}

bool LinkedProgram::collect(LoadError* error) {
  names_.resize(modules_.size());
  for (size_t m = 0; m < modules_.size(); ++m) {
    ptx::Module& module = *modules_[m];
    ModuleNames& names = names_[m];
    for (const ptx::Variable& variable : module.variables) {
      if (variable.is_extern) continue;
      const auto index = static_cast<u32>(variables_.size());
      if (!names.variables.try_emplace(variable.name, index).second) {
        *error =
            invalid(variable.line, fmt::format("variable '{}' is defined twice", variable.name));
        return false;
      }
      variables_.push_back({&variable, m});
      const bool global = variable.is_visible || variable.is_weak;
      if (global && !add_global_name(global_variables_, variable.name, index, variable.is_weak,
                                     variable.line, error))
        return false;
      if (stored(variable)) host_variables_.try_emplace(variable.name, index);
    }
    for (ptx::Function& function : module.functions) {
      if (function.is_declaration) continue;
      const auto index = static_cast<u32>(functions_.size());
      if (!names.functions.try_emplace(function.name, index).second) {
        *error =
            invalid(function.line, fmt::format("function '{}' is defined twice", function.name));
        return false;
      }
      functions_.push_back({&function, m});
      const bool global = function.is_visible || function.is_weak;
      if (global && !add_global_name(global_functions_, function.name, index, function.is_weak,
                                     function.line, error))
        return false;
      if (function.is_entry) kernels_.try_emplace(function.name, index);
    }
    for (const ptx::Alias& alias : module.aliases) names.aliases.emplace(alias.name, alias.target);
  }
  // An alias of what other modules see is seen by them, too, unless there is a function of that
  // name.
  for (size_t m = 0; m < modules_.size(); ++m) {
    for (const ptx::Alias& alias : modules_[m]->aliases) {
      const auto function = names_[m].functions.find(alias.target);
      if (function == names_[m].functions.end()) {
        *error = {
            LoadError::Kind::kUnresolved, 0,
            fmt::format("alias '{}' of '{}', which is not defined", alias.name, alias.target)};
        return false;
      }
      const ptx::Function& target = *functions_[function->second].function;
      if (target.is_visible || target.is_weak)
        global_functions_.try_emplace(alias.name, function->second);
    }
  }
  // The host sees the one that device code sees.
  for (auto& [name, index] : host_variables_) {
    if (const auto it = global_variables_.find(name); it != global_variables_.end())
      index = it->second;
  }
  return true;
}

bool LinkedProgram::allocate(LoadError* error) {
  for (const bool constant : {false, true}) {
    u64 bytes = 0, alignment = kVariableAlignment;
    for (LinkedVariable& linked : variables_) {
      const ptx::Variable& variable = *linked.variable;
      if (!stored(variable) || (variable.space == "const") != constant) continue;
      const u64 unit = std::max<u64>(variable.alignment, kVariableAlignment);
      alignment = std::max(alignment, unit);
      bytes = (bytes + unit - 1) / unit * unit;
      linked.address = bytes;  // an offset until there is memory
      bytes += std::max<u64>(variable.bytes(), 1) + red_zone_bytes_;
      if (bytes > kProgramBytesMax) {
        *error = {LoadError::Kind::kOutOfMemory, variable.line,
                  fmt::format("variables need more than {} bytes", bytes)};
        return false;
      }
    }
    if (bytes == 0) continue;
    void* const memory = memory_.allocate(bytes, alignment);
    if (memory == nullptr) {
      *error = {LoadError::Kind::kOutOfMemory, 0,
                fmt::format("no device memory for {} bytes of variables", bytes)};
      return false;
    }
    allocations_.push_back({reinterpret_cast<u64>(memory), bytes});
    std::memset(memory, 0, bytes);
    for (LinkedVariable& linked : variables_) {
      if (stored(*linked.variable) && (linked.variable->space == "const") == constant) {
        linked.address += reinterpret_cast<u64>(memory);
      }
    }
    if (constant) constant_bytes_ = bytes;
  }
  for (u32 i = 0; i < variables_.size(); ++i) {
    if (variables_[i].address != 0) by_address_.push_back(i);
  }
  std::sort(by_address_.begin(), by_address_.end(), [this](u32 left, u32 right) {
    return variables_[left].address < variables_[right].address;
  });
  return true;
}

bool LinkedProgram::among_variables(u64 address) const {
  return std::any_of(allocations_.begin(), allocations_.end(), [&](const Allocation& allocation) {
    return address - allocation.address < allocation.bytes;
  });
}

const LinkedVariable* LinkedProgram::variable_at(u64 address, u64 bytes) const {
  const auto after =
      std::upper_bound(by_address_.begin(), by_address_.end(), address,
                       [this](u64 at, u32 index) { return at < variables_[index].address; });
  if (after == by_address_.begin()) return nullptr;
  const LinkedVariable& linked = variables_[*std::prev(after)];
  const u64 offset = address - linked.address, size = linked.variable->bytes();
  return offset <= size && bytes <= size - offset ? &linked : nullptr;
}

bool LinkedProgram::initialize(LoadError* error) {
  for (const LinkedVariable& linked : variables_) {
    const ptx::Variable& variable = *linked.variable;
    if (!stored(variable)) {
      if (variable.initializers.empty()) continue;
      *error = invalid(
          variable.line,
          fmt::format("initialiser of '{}', which is not in .global or .const", variable.name));
      return false;
    }
    const unsigned element_bytes = std::min(variable.type.bytes(), 8u);
    u8* const elements = reinterpret_cast<u8*>(linked.address);
    for (const ptx::Initializer& element : variable.initializers) {
      u64 value = static_cast<u64>(element.value);
      if (!element.symbol.empty()) {
        const std::string_view name = element.symbol;
        if (const auto index = find_variable(linked.module, name);
            index && variables_[*index].address != 0) {
          value += variables_[*index].address;
        } else if (const auto function = find_function(linked.module, name)) {
          value += function_address(*function);
        } else {
          *error = {LoadError::Kind::kUnresolved, variable.line,
                    fmt::format("line {}: initialiser of '{}' names '{}', which is not defined",
                                variable.line, variable.name, name)};
          return false;
        }
        if (element.shift >= 0) value >>= element.shift;
      }
      std::memcpy(elements + element.index * variable.type.bytes(), &value, element_bytes);
    }
  }
  return true;
}

std::optional<u32> LinkedProgram::find_variable(size_t module, std::string_view name) const {
  const auto local = names_[module].variables.find(name);
  if (local != names_[module].variables.end()) {
    const ptx::Variable& variable = *variables_[local->second].variable;
    if (!variable.is_weak) return local->second;
  }
  const auto global = global_variables_.find(name);
  if (global == global_variables_.end()) return {};
  return global->second;
}

std::optional<u32> LinkedProgram::find_function(size_t module, std::string_view name) const {
  if (const auto alias = names_[module].aliases.find(name); alias != names_[module].aliases.end())
    name = alias->second;
  const auto local = names_[module].functions.find(name);
  if (local != names_[module].functions.end() && !functions_[local->second].function->is_weak)
    return local->second;
  const auto global = global_functions_.find(name);
  if (global == global_functions_.end()) return {};
  return global->second;
}

std::optional<u32> LinkedProgram::find_kernel(std::string_view name) const {
  const auto it = kernels_.find(name);
  if (it == kernels_.end()) return {};
  return it->second;
}

std::optional<u32> LinkedProgram::find_host_variable(std::string_view name) const {
  const auto it = host_variables_.find(name);
  if (it == host_variables_.end()) return {};
  return it->second;
}

const ptx::Variable* LinkedProgram::find_extern_shared(size_t module, std::string_view name) const {
  for (const ptx::Variable& variable : modules_[module]->variables) {
    if (variable.is_extern && variable.space == "shared" && variable.name == name) return &variable;
  }
  return nullptr;
}

}  // namespace farcall::softgpu
