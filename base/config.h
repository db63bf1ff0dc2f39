// Options of a program as one table: name, default, help and parser of each, so that the
// configuration file, its documentation (--help-config) and the code can't disagree. A name is
// dotted, "server.listen", and is the key `listen` in the section [server] of a TOML file. The
// default of an option is what its variable holds when it is added.
//
//   Config config;
//   config.add("server.listen", options.listen, "where clients connect");
//   config.add_duration("server.grace", options.grace, "how long a worker may take to end");
//   if (config.load_file("/etc/farcall/gpu-server.toml") != Status::kOk) return 1;
//   for (pair : command_line) config.set(pair.name, pair.value);   // the last one wins
//
// Everything that is wrong is logged as "file:line: name: what is wrong", all of it and not the
// first only, and the call returns kInvalid; options that were right have been set by then.
// Variables outlive the Config.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace farcall {

class Config {
 public:
  // Stores the value; returns what is wrong with the text, as in "must be from 1 to 64", or
  // nothing.
  using Parser = std::function<std::optional<std::string>(std::string_view text)>;

  void add(std::string name, std::string& target, std::string help);
  void add(std::string name, bool& target, std::string help);
  void add(std::string name, int64_t& target, std::string help,
           int64_t min = std::numeric_limits<int64_t>::min(),
           int64_t max = std::numeric_limits<int64_t>::max());
  void add(std::string name, std::vector<std::string>& target, std::string help);
  void add_byte_count(std::string name, uint64_t& target, std::string help);
  void add_duration(std::string name, std::chrono::nanoseconds& target, std::string help);
  // Anything else; a string in the file.
  void add(std::string name, std::string value_default, std::string help, Parser parser);

  Status load_file(const std::string& path);
  // `source` stands for the file's name in messages.
  Status load_text(std::string_view toml, std::string_view source);
  // One option from a command line or the environment. The items of a list are separated by commas.
  Status set(std::string_view name, std::string_view text);

  // A complete configuration file with all defaults, each under its help.
  std::string help() const;

 private:
  // How a value is written in a file.
  enum class Form : uint8_t { kString, kPlain, kStringList };
  struct Option {
    std::string name;
    std::string value_default;  // in the file's form
    std::string help;
    Form form;
    Parser parse;
    std::vector<std::string>* list = nullptr;  // for kStringList, in place of `parse`
  };

  void add_option(Option option);
  const Option* find(std::string_view name) const;
  friend class ConfigFile;

  std::vector<Option> options_;
};

}  // namespace farcall
