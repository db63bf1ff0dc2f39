#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace farcall::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kTrace:
      return spdlog::level::trace;
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

std::unique_ptr<spdlog::formatter> make_formatter(const std::string& who) {
  return std::make_unique<spdlog::pattern_formatter>("%H:%M:%S.%e " + who + " %l: %v");
}

// Leaked: CUDA calls, and so log lines, may come after static destructors ran. Not in spdlog's
// registry, which the program may use for itself.
spdlog::logger& logger() {
  static spdlog::logger* const instance = [] {
    auto* created =
        new spdlog::logger("farcall", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    const char* wanted = std::getenv("FARCALL_LOG");
    created->set_level(wanted != nullptr ? spdlog::level::from_str(wanted) : spdlog::level::warn);
    created->set_error_handler([](const std::string&) {});
    created->set_formatter(make_formatter("farcall"));
    return created;
  }();
  return *instance;
}

}  // namespace

void set_name(std::string_view name) {
  logger().set_formatter(make_formatter("farcall[" + std::string(name) + "]"));
}

void set_level(Level level) {
  if (std::getenv("FARCALL_LOG") == nullptr) logger().set_level(to_spdlog(level));
}

bool enabled(Level level) { return logger().should_log(to_spdlog(level)); }

void write(Level level, std::string_view message) {
  // A line may quote what came from a peer or a file: it stays one line, without terminal codes.
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::none_of(message.begin(), message.end(), is_control)) {
    logger().log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
    return;
  }
  std::string clean;
  for (const char c : message) {
    clean +=
        is_control(static_cast<unsigned char>(c)) ? fmt::format("\\x{:02x}", c) : std::string(1, c);
  }
  logger().log(to_spdlog(level), spdlog::string_view_t(clean.data(), clean.size()));
}

}  // namespace farcall::log
