// Changes PTX texts so that many stay valid: swaps operands, exchanges types and opcodes, moves and
// repeats statements. Bytes changed at random hardly ever leave a text that a decoder gets to see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace farcall::fuzz {

// One change or a few, chosen by `seed`; at most `bytes_max` long.
std::string mutate_ptx(std::string_view text, uint32_t seed, size_t bytes_max);

}  // namespace farcall::fuzz
