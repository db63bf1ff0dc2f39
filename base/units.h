// Sizes and times as people write them in options: "16MiB", "20us". What format_*() writes,
// parse_*() reads back exactly.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace farcall {

// A whole number, alone or with KiB, MiB, GiB or TiB. Not KB or MB: half of the world means 1000 by
// them.
std::optional<uint64_t> parse_byte_count(std::string_view text);
std::string format_byte_count(uint64_t bytes);

// A whole number with ns, us, ms, s, min or h; "0" needs no unit.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);
std::string format_duration(std::chrono::nanoseconds time);

}  // namespace farcall
