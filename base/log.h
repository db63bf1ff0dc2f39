// One line per event on stderr: "farcall[client] warning: ...". Safe in other people's processes: the logger is
// private, never throws, and never writes to stdout. Level: FARCALL_LOG=off|error|warning|info|debug|trace.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace farcall::log {

enum class Level { kTrace, kDebug, kInfo, kWarning, kError, kOff };

// Names the process in every line ("client", "server", "worker 12", "softgpu"); the default level is kWarning.
void set_name(std::string_view name);
void set_level(Level level);  // FARCALL_LOG wins over this
bool enabled(Level level);
void write(Level level, std::string_view message);

template <class... Args>
void print(Level level, fmt::format_string<Args...> format, Args&&... args) noexcept {
  if (!enabled(level)) return;
  try {
    write(level, fmt::format(format, std::forward<Args>(args)...));
  } catch (...) {  // out of memory while logging: the line is lost, the program is not
  }
}
template <class... Args>
void trace(fmt::format_string<Args...> format, Args&&... args) noexcept {
  print(Level::kTrace, format, std::forward<Args>(args)...);
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) noexcept {
  print(Level::kDebug, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) noexcept {
  print(Level::kInfo, format, std::forward<Args>(args)...);
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) noexcept {
  print(Level::kWarning, format, std::forward<Args>(args)...);
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) noexcept {
  print(Level::kError, format, std::forward<Args>(args)...);
}

}  // namespace farcall::log
