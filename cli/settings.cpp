#include "cli/settings.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <system_error>

// Header-only and without exceptions, whatever variant the system's libtomlplusplus was built as.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "transport/url.h"

namespace farcall::cli {
namespace {

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

// false: the file can't be used. *url stays empty when it does not name a server.
bool read_config(const std::filesystem::path& path, std::string* url) {
  const toml::parse_result parsed = toml::parse_file(path.string());
  if (!parsed) {
    fmt::print(stderr, "farcall: {}:{}: {}\n", path.string(), parsed.error().source().begin.line,
               parsed.error().description());
    return false;
  }
  const toml::node_view<const toml::node> server = parsed.table()["server"];
  if (server && !server.is_string()) {
    fmt::print(stderr, "farcall: {}: 'server' is not a string\n", path.string());
    return false;
  }
  *url = server.value_or(std::string());
  return true;
}

std::optional<ServerChoice> checked(ServerChoice choice) {
  if (transport::parse_url(choice.url)) return choice;
  fmt::print(stderr,
             "farcall: '{}' (from {}) is not a server's URL; use tcp://HOST:PORT or unix:///PATH\n",
             choice.url, choice.source);
  return std::nullopt;
}

}  // namespace

std::filesystem::path config_path() {
  if (const char* folder = environment("XDG_CONFIG_HOME")) {
    return std::filesystem::path(folder) / "farcall/config.toml";
  }
  if (const char* home = environment("HOME")) {
    return std::filesystem::path(home) / ".config/farcall/config.toml";
  }
  return {};
}

std::optional<ServerChoice> choose_server(const std::string& option) {
  if (!option.empty()) return checked({option, "--server"});
  if (const char* url = environment("FARCALL_SERVER")) return checked({url, "FARCALL_SERVER"});
  const std::filesystem::path path = config_path();
  std::error_code ignored;
  if (!path.empty() && std::filesystem::exists(path, ignored)) {
    std::string url;
    if (!read_config(path, &url)) return std::nullopt;
    if (!url.empty()) return checked({url, path.string()});
  }
  return ServerChoice{kDefaultServer, "the default"};
}

}  // namespace farcall::cli
