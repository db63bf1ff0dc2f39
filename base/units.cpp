#include "base/units.h"

#include <charconv>
#include <limits>
#include <span>

namespace farcall {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// Largest first, so that formatting finds the shortest text.
constexpr Unit kSizes[] = {
    {"TiB", uint64_t{1} << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}};
constexpr Unit kTimes[] = {{"h", 3'600'000'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000},
                           {"ms", 1'000'000},        {"us", 1'000},           {"ns", 1}};

std::optional<uint64_t> parse(std::string_view text, std::span<const Unit> units) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc()) return std::nullopt;
  std::string_view name(stop, static_cast<size_t>(end - stop));
  if (name.starts_with(' ')) name.remove_prefix(1);
  for (const Unit& unit : units) {
    if (name != unit.name) continue;
    if (number > std::numeric_limits<uint64_t>::max() / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  if (name.empty() && number == 0) return 0;
  return std::nullopt;
}

std::string format(uint64_t value, std::span<const Unit> units) {
  if (value == 0) return "0";
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) {
      return std::to_string(value / unit.factor) + std::string(unit.name);
    }
  }
  return std::to_string(value);
}

}  // namespace

std::optional<uint64_t> parse_byte_count(std::string_view text) { return parse(text, kSizes); }
std::string format_byte_count(uint64_t bytes) { return format(bytes, kSizes); }

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const std::optional<uint64_t> ns = parse(text, kTimes);
  if (!ns || *ns > static_cast<uint64_t>(std::chrono::nanoseconds::max().count())) {
    return std::nullopt;
  }
  return std::chrono::nanoseconds(*ns);
}
std::string format_duration(std::chrono::nanoseconds time) {
  const bool is_negative = time.count() < 0;
  const uint64_t magnitude =
      is_negative ? 0 - static_cast<uint64_t>(time.count()) : static_cast<uint64_t>(time.count());
  return (is_negative ? "-" : "") + format(magnitude, kTimes);
}

}  // namespace farcall
