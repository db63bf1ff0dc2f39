#include "softgpu/driver/config.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/log.h"

namespace farcall::softgpu {
namespace {

constexpr int kDevicesMax = 16;
constexpr size_t kMemoryMin = size_t{1} << 20;
constexpr size_t kMemoryMax = size_t{1} << 42;  // the windows of all devices must fit into 47 bits
constexpr unsigned kWorkersMax = 1024;

std::optional<size_t> parse_number(std::string_view text) {
  size_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "512M", "8G", "8GiB", "1073741824".
std::optional<size_t> parse_bytes(std::string_view text) {
  if (text.ends_with("iB")) text.remove_suffix(2);
  if (text.ends_with("B")) text.remove_suffix(1);
  int shift = 0;
  if (!text.empty()) {
    const std::string_view units = "KMGT";
    if (size_t unit = units.find(static_cast<char>(std::toupper(text.back())));
        unit != std::string_view::npos) {
      shift = 10 * (static_cast<int>(unit) + 1);
      text.remove_suffix(1);
    }
  }
  std::optional<size_t> count = parse_number(text);
  if (!count || *count > (kMemoryMax >> shift)) return std::nullopt;
  return *count << shift;
}

// "12.1" -> 121.
std::optional<int> parse_capability(std::string_view text) {
  size_t dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::optional<size_t> major = parse_number(text.substr(0, dot));
  std::optional<size_t> minor = parse_number(text.substr(dot + 1));
  if (!major || !minor || *major < 5 || *major > 99 || *minor > 9) return std::nullopt;
  return static_cast<int>(*major * 10 + *minor);
}

// "libcublasLt=13.0,libother=9.0"; nothing: an empty list.
std::optional<std::vector<LibraryView>> parse_views(std::string_view text) {
  std::vector<LibraryView> views;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const size_t equals = item.find('=');
    if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
    const std::optional<int> sm = parse_capability(item.substr(equals + 1));
    if (!sm) return std::nullopt;
    views.push_back({std::string(item.substr(0, equals)), *sm});
  }
  return views;
}

template <class T, class U>
void set(T* target, const char* name, const char* text, std::optional<U> value) {
  if (value) {
    *target = static_cast<T>(*std::move(value));
  } else {
    log::warning("{}='{}' is not understood; using the default", name, text);
  }
}

std::optional<double> parse_seconds(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0)) {
    return std::nullopt;
  }
  return value;
}

// "memcheck,racecheck". A checker that is asked for and does not run would be worse than none, so
// what is not known is an error in the log.
void read_check(std::string_view text, Config* config) {
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word == "memcheck") {
      config->check.memory = true;
    } else if (word == "racecheck") {
      config->check.races = true;
    } else if (word == "initcheck") {
      config->check.initialized = true;
    } else if (word == "leakcheck") {
      config->check.memory = config->check_leaks = true;
    } else if (!word.empty()) {
      log::error("FARCALL_SOFTGPU_CHECK: '{}' is none of memcheck, leakcheck, racecheck, initcheck",
                 word);
    }
  }
}

template <class T>
std::optional<T> within(std::optional<T> value, T low, T high) {
  return value && *value >= low && *value <= high ? value : std::nullopt;
}

}  // namespace

Config read_config(const char* (*get)(const char* name)) {
  Config config;
  if (const char* text = get("FARCALL_SOFTGPU_DEVICES")) {
    set(&config.devices, "FARCALL_SOFTGPU_DEVICES", text,
        within<size_t>(parse_number(text), 0, kDevicesMax));
  }
  if (const char* text = get("CUDA_VISIBLE_DEVICES")) config.visible_devices = text;
  if (const char* text = get("FARCALL_SOFTGPU_MEMORY")) {
    set(&config.memory_bytes, "FARCALL_SOFTGPU_MEMORY", text,
        within<size_t>(parse_bytes(text), kMemoryMin, kMemoryMax));
  }
  if (const char* text = get("FARCALL_SOFTGPU_NAME"); text != nullptr && *text != '\0') {
    config.name = text;
  }
  if (const char* text = get("FARCALL_SOFTGPU_CC")) {
    set(&config.sm, "FARCALL_SOFTGPU_CC", text, parse_capability(text));
  }
  if (config.sm < 120) config.library_views.clear();
  if (const char* text = get("FARCALL_SOFTGPU_CC_OF")) {
    set(&config.library_views, "FARCALL_SOFTGPU_CC_OF", text, parse_views(text));
  }
  if (const char* text = get("FARCALL_SOFTGPU_WORKERS")) {
    set(&config.workers, "FARCALL_SOFTGPU_WORKERS", text,
        within<size_t>(parse_number(text), 0, kWorkersMax));
  }
  const auto enabled = [get](const char* name) {
    const char* text = get(name);
    return text != nullptr && std::string_view(text) == "1";
  };
  if (const char* text = get("FARCALL_SOFTGPU_CHECK")) read_check(text, &config);
  if (const char* text = get("FARCALL_SOFTGPU_CHECK_EXIT")) {
    set(&config.check_exit, "FARCALL_SOFTGPU_CHECK_EXIT", text,
        within<size_t>(parse_number(text), 0, 255));
  }
  if (const char* text = get("FARCALL_SOFTGPU_TIMEOUT")) {
    set(&config.timeout_s, "FARCALL_SOFTGPU_TIMEOUT", text, parse_seconds(text));
  }
  config.null_kernels = enabled("FARCALL_SOFTGPU_NULL_KERNELS");
  config.launch_blocking = enabled("CUDA_LAUNCH_BLOCKING");
  return config;
}

Config config_from_environment() {
  return read_config([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace farcall::softgpu
