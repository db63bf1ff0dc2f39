#include "softgpu/decode/symbols.h"

#include <algorithm>

#include "softgpu/ptx/parser.h"

namespace farcall::softgpu {

PtxSymbols symbols_of(std::string_view text) {
  PtxSymbols symbols;
  ptx::ParseError error;
  const auto module = ptx::parse_module(std::string(text.substr(0, text.find('\0'))), &error);
  if (!module) return symbols;
  auto add = [&](std::string_view name, bool defines, bool is_global) {
    if (!defines)
      symbols.wanted.emplace(name);
    else if (is_global)
      symbols.defined.emplace(name);
  };
  for (const ptx::Variable& variable : module->variables) {
    if (variable.is_extern && variable.space == "shared") continue;  // dynamic shared memory
    add(variable.name, !variable.is_extern, variable.is_visible || variable.is_weak);
  }
  for (const ptx::Function& function : module->functions)
    add(function.name, !function.is_declaration, function.is_visible || function.is_weak);
  for (const ptx::Alias& alias : module->aliases) symbols.defined.emplace(alias.name);
  // A declaration may come before its definition.
  for (const ptx::Function& function : module->functions) {
    if (!function.is_declaration) symbols.wanted.erase(std::string(function.name));
  }
  for (const std::string& name : symbols.defined) symbols.wanted.erase(name);
  return symbols;
}

void add_wanted_members(std::vector<std::vector<std::string>> members,
                        std::vector<std::string>* texts) {
  std::unordered_set<std::string> defined, wanted;
  auto take = [&](const PtxSymbols& symbols) {
    defined.insert(symbols.defined.begin(), symbols.defined.end());
    wanted.insert(symbols.wanted.begin(), symbols.wanted.end());
  };
  for (const std::string& text : *texts) take(symbols_of(text));
  std::vector<std::vector<PtxSymbols>> symbols;
  for (const auto& member : members) {
    auto& of_member = symbols.emplace_back();
    for (const std::string& text : member) of_member.push_back(symbols_of(text));
  }
  auto is_needed = [&](const std::vector<PtxSymbols>& of_member) {
    return std::any_of(of_member.begin(), of_member.end(), [&](const PtxSymbols& each) {
      return std::any_of(each.defined.begin(), each.defined.end(), [&](const std::string& name) {
        return wanted.contains(name) && !defined.contains(name);
      });
    });
  };
  for (bool again = true; again;) {
    again = false;
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i].empty() || !is_needed(symbols[i])) continue;
      for (const PtxSymbols& each : symbols[i]) take(each);
      std::move(members[i].begin(), members[i].end(), std::back_inserter(*texts));
      members[i].clear();
      again = true;
    }
  }
}

}  // namespace farcall::softgpu
