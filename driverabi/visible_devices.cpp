#include "driverabi/visible_devices.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace farcall::driverabi {
namespace {

constexpr std::string_view kUuidPrefix = "GPU-";

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }

bool starts_with_no_case(std::string_view text, std::string_view start) {
  return text.size() >= start.size() &&
         std::equal(start.begin(), start.end(), text.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The entries before the first empty one.
std::vector<std::string_view> entries(std::string_view text) {
  std::vector<std::string_view> list;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view entry = trim(text.substr(0, comma));
    if (entry.empty()) return list;
    list.push_back(entry);
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

std::optional<size_t> index_of(std::string_view entry) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), index);
  if (error != std::errc() || end != entry.data() + entry.size()) return std::nullopt;
  return index;
}

// The one device whose UUID begins like this.
std::optional<size_t> find_uuid(std::string_view entry, std::span<const DeviceUuid> uuids) {
  if (!starts_with_no_case(entry, kUuidPrefix)) return std::nullopt;
  std::optional<size_t> found;
  for (size_t i = 0; i < uuids.size(); ++i) {
    if (!starts_with_no_case(uuid_text(uuids[i]), entry)) continue;
    if (found) return std::nullopt;
    found = i;
  }
  return found;
}

}  // namespace

std::string uuid_text(const DeviceUuid& uuid) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(kUuidPrefix);
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[uuid[i] >> 4];
    text += kDigits[uuid[i] & 15];
  }
  return text;
}

std::vector<int> visible_devices(const char* text, std::span<const DeviceUuid> uuids) {
  std::vector<int> visible;
  if (text == nullptr) {
    for (size_t i = 0; i < uuids.size(); ++i) visible.push_back(int(i));
    return visible;
  }
  for (const std::string_view entry : entries(text)) {
    std::optional<size_t> device = index_of(entry);
    if (!device) device = find_uuid(entry, uuids);
    if (!device || *device >= uuids.size()) break;
    if (std::find(visible.begin(), visible.end(), int(*device)) != visible.end()) return {};
    visible.push_back(int(*device));
  }
  return visible;
}

std::string narrow_visible_devices(std::string_view within, std::string_view wanted) {
  const std::vector<std::string_view> allowed = entries(within);
  std::string narrowed;
  for (const std::string_view entry : entries(wanted)) {
    std::string_view device;
    if (const std::optional<size_t> index = index_of(entry)) {
      if (*index >= allowed.size()) break;
      device = allowed[*index];
    } else {
      const auto same = std::find_if(allowed.begin(), allowed.end(), [&](std::string_view other) {
        return other.size() == entry.size() && starts_with_no_case(other, entry);
      });
      if (same == allowed.end()) break;
      device = *same;
    }
    narrowed += (narrowed.empty() ? "" : ",") + std::string(device);
  }
  return narrowed;
}

}  // namespace farcall::driverabi
