// Which server to use, and who said so: the command line, FARCALL_SERVER, the user's config file,
// or the default.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace farcall::cli {

inline constexpr const char* kDefaultServer = "tcp://127.0.0.1:7117";

struct ServerChoice {
  std::string url;
  std::string source;  // for messages: "--server", "FARCALL_SERVER", a file's path, "the default"
};

// $XDG_CONFIG_HOME/farcall/config.toml, else ~/.config/farcall/config.toml; empty without a home.
std::filesystem::path config_path();

// `option` is --server, or empty. nullopt: the config file is broken or the URL is none; the reason
// is on stderr.
std::optional<ServerChoice> choose_server(const std::string& option);

}  // namespace farcall::cli
