// What PTX texts want of each other: which members of a library a program needs.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace farcall::softgpu {

struct PtxSymbols {
  std::unordered_set<std::string> defined;  // for other modules
  std::unordered_set<std::string> wanted;   // declared, not defined
};
// Nothing of a malformed text: loading it will say what is wrong.
PtxSymbols symbols_of(std::string_view text);

// As a linker takes members of an archive: those that define what is wanted, and what these want in
// turn. Moves their texts behind `texts`.
void add_wanted_members(std::vector<std::vector<std::string>> members,
                        std::vector<std::string>* texts);

}  // namespace farcall::softgpu
