#include "client/stats.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "base/log.h"
#include "base/unique_fd.h"

namespace farcall::client {
namespace {

using Counter = std::atomic<uint64_t>;

// Zero-initialised and never destroyed: calls are counted before constructors and after
// destructors.
std::array<Counter, rpc::kOpcodeCount> function_counts;
std::array<Counter, 3> class_counts;

uint64_t class_count(CallClass call_class) {
  return class_counts[static_cast<size_t>(call_class)].load(std::memory_order_relaxed);
}

// URLs and names: no control characters, so quotes and backslashes are all there is to escape.
std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  }
  return out + '"';
}

}  // namespace

std::string stats_path() {
  const char* const wanted = std::getenv("FARCALL_STATS");
  std::string path = wanted != nullptr ? wanted : "";
  if (const size_t at = path.find("%p"); at != std::string::npos) {
    path.replace(at, 2, std::to_string(::getpid()));
  }
  return path;
}

void count_function(rpc::Opcode op, CallClass call_class) noexcept {
  const auto index = static_cast<size_t>(op);
  if (index < function_counts.size()) {
    function_counts[index].fetch_add(1, std::memory_order_relaxed);
  }
  class_counts[static_cast<size_t>(call_class)].fetch_add(1, std::memory_order_relaxed);
}

std::string stats_json(const rpc::ConnectionStats& connection, const StartupStats& startup) {
  std::string out;
  const auto append = std::back_inserter(out);
  fmt::format_to(append, "{{\n  \"round_trips\": {},\n", connection.round_trips);
  fmt::format_to(append, "  \"startup\": {{\"round_trips\": {}, \"ns\": {}}},\n",
                 startup.round_trips, startup.ns);
  fmt::format_to(append, "  \"server\": {},\n", json_string(startup.server));
  fmt::format_to(
      append, "  \"calls\": {{\"local\": {}, \"cached\": {}, \"async\": {}, \"waiting\": {}}},\n",
      class_count(CallClass::kLocal), class_count(CallClass::kCached), connection.calls_async,
      connection.calls_waiting);
  fmt::format_to(append, "  \"bytes_up\": {},\n  \"bytes_down\": {},\n", connection.bytes_up,
                 connection.bytes_down);
  fmt::format_to(append, "  \"blocked_ns\": {},\n  \"flushes\": {},\n", connection.blocked_ns,
                 connection.flushes);
  out += "  \"functions\": {";
  const char* separator = "";
  for (size_t i = 0; i < function_counts.size(); ++i) {
    const uint64_t count = function_counts[i].load(std::memory_order_relaxed);
    if (count == 0) continue;
    fmt::format_to(append, "{}\n    {}: {}", separator,
                   json_string(opcode_name(static_cast<rpc::Opcode>(i))), count);
    separator = ",";
  }
  out += "\n  }\n}\n";
  return out;
}

void write_stats(const std::string& path, const std::string& json) {
  UniqueFd file;
  int fd = STDERR_FILENO;
  if (path != "-") {
    file.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    fd = file.get();
  }
  for (size_t written = 0; fd >= 0 && written < json.size();) {
    const ssize_t bytes = ::write(fd, json.data() + written, json.size() - written);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) {
      fd = -1;
      break;
    }
    written += static_cast<size_t>(bytes);
  }
  if (fd < 0) log::error("FARCALL_STATS={}: {}", path, std::strerror(errno));
}

}  // namespace farcall::client
