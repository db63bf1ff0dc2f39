#include "base/config.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1  // no shared library more for whoever links us
#include <toml++/toml.h>

#include "base/log.h"
#include "base/units.h"

namespace farcall {
namespace {

std::string quote(std::string_view text) {
  const toml::value<std::string> value(text);
  std::ostringstream stream;
  stream << toml::toml_formatter(
      value, toml::toml_formatter::default_flags & ~toml::format_flags::allow_literal_strings);
  return stream.str();
}

std::string quote_list(const std::vector<std::string>& items) {
  std::string text = "[";
  for (const std::string& item : items) text += (text.size() > 1 ? ", " : "") + quote(item);
  return text + "]";
}

std::optional<std::string> parse_bool(std::string_view text, bool& target) {
  if (text != "true" && text != "false") return "must be true or false";
  target = text == "true";
  return std::nullopt;
}

std::optional<std::string> parse_integer(std::string_view text, int64_t& target, int64_t min,
                                         int64_t max) {
  int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return "must be a whole number";
  if (value < min || value > max) return fmt::format("must be from {} to {}", min, max);
  target = value;
  return std::nullopt;
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    items.emplace_back(item);
  }
  return items;
}

// A scalar as the text that its parser expects; nothing for tables, arrays and dates.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  return std::nullopt;
}

}  // namespace

// One pass over a parsed file; a class only to share the context of the messages.
class ConfigFile {
 public:
  ConfigFile(const Config& config, std::string_view source) : config_(config), source_(source) {}

  Status load(const toml::table& table) {
    visit(table, "");
    return good_ ? Status::kOk : Status::kInvalid;
  }
  void complain(const toml::source_region& where, std::string_view what) {
    good_ = false;
    log::error("{}:{}: {}", source_, where.begin.line, what);
  }

 private:
  void visit(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const Config::Option* option = config_.find(name);
      if (option != nullptr) {
        apply(*option, node);
      } else if (const toml::table* section = node.as_table()) {
        visit(*section, name + ".");
      } else {
        complain(key.source(), fmt::format("{}: there is no such option", name));
      }
    }
  }

  void apply(const Config::Option& option, const toml::node& node) {
    std::optional<std::string> problem;
    if (option.form == Config::Form::kStringList) {
      problem = apply_list(*option.list, node);
    } else {
      const std::optional<std::string> text = text_of(node);
      problem = text ? option.parse(*text) : "must be a single value";
    }
    if (problem) complain(node.source(), fmt::format("{}: {}", option.name, *problem));
  }

  static std::optional<std::string> apply_list(std::vector<std::string>& list,
                                               const toml::node& node) {
    std::vector<std::string> items;
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) {
        const std::optional<std::string> text = text_of(element);
        if (!text) return "must be a list of single values";
        items.push_back(*text);
      }
    } else if (const std::optional<std::string> text = text_of(node)) {
      items.push_back(*text);  // one item needs no brackets
    } else {
      return "must be a list";
    }
    list = std::move(items);
    return std::nullopt;
  }

  const Config& config_;
  std::string_view source_;
  bool good_ = true;
};

void Config::add_option(Option option) {
  assert(find(option.name) == nullptr && "an option is added once");
  options_.push_back(std::move(option));
}

void Config::add(std::string name, std::string value_default, std::string help, Parser parser) {
  add_option({std::move(name), quote(value_default), std::move(help), Form::kString,
              std::move(parser), nullptr});
}
void Config::add(std::string name, std::string& target, std::string help) {
  add(std::move(name), target, std::move(help), Parser([&target](std::string_view text) {
        target = text;
        return std::optional<std::string>();
      }));
}
void Config::add(std::string name, bool& target, std::string help) {
  add_option({std::move(name), target ? "true" : "false", std::move(help), Form::kPlain,
              [&target](std::string_view text) { return parse_bool(text, target); }, nullptr});
}
void Config::add(std::string name, int64_t& target, std::string help, int64_t min, int64_t max) {
  add_option(
      {std::move(name), std::to_string(target), std::move(help), Form::kPlain,
       [&target, min, max](std::string_view text) { return parse_integer(text, target, min, max); },
       nullptr});
}
void Config::add(std::string name, std::vector<std::string>& target, std::string help) {
  add_option(
      {std::move(name), quote_list(target), std::move(help), Form::kStringList, nullptr, &target});
}
void Config::add_byte_count(std::string name, uint64_t& target, std::string help) {
  add(std::move(name), format_byte_count(target), std::move(help),
      [&target](std::string_view text) -> std::optional<std::string> {
        const auto value = parse_byte_count(text);
        if (!value) return "must be a size such as 4096, 64KiB or 16GiB";
        target = *value;
        return std::nullopt;
      });
}
void Config::add_duration(std::string name, std::chrono::nanoseconds& target, std::string help) {
  add(std::move(name), format_duration(target), std::move(help),
      [&target](std::string_view text) -> std::optional<std::string> {
        const auto value = parse_duration(text);
        if (!value) return "must be a time such as 20us, 5ms or 30s";
        target = *value;
        return std::nullopt;
      });
}

const Config::Option* Config::find(std::string_view name) const {
  const auto found = std::find_if(options_.begin(), options_.end(),
                                  [&](const Option& option) { return option.name == name; });
  return found == options_.end() ? nullptr : &*found;
}

Status Config::load_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file || text.fail()) {
    log::error("{}: cannot be read: {}", path, std::strerror(errno));
    return Status::kInvalid;
  }
  return load_text(text.str(), path);
}

Status Config::load_text(std::string_view text, std::string_view source) {
  ConfigFile file(*this, source);
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    file.complain(parsed.error().source(), parsed.error().description());
    return Status::kInvalid;
  }
  return file.load(parsed.table());
}

Status Config::set(std::string_view name, std::string_view text) {
  const Option* option = find(name);
  std::optional<std::string> problem;
  if (option == nullptr) {
    problem = "there is no such option";
  } else if (option->form == Form::kStringList) {
    *option->list = split_at_commas(text);
  } else {
    problem = option->parse(text);
  }
  if (!problem) return Status::kOk;
  log::error("{}={}: {}", name, text, *problem);
  return Status::kInvalid;
}

std::string Config::help() const {
  std::string text;
  std::string section;
  for (const Option& option : options_) {
    const size_t dot = option.name.rfind('.');
    const std::string wanted = dot == std::string::npos ? "" : option.name.substr(0, dot);
    if (wanted != section) text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", wanted);
    section = wanted;
    std::istringstream lines(option.help);
    for (std::string line; std::getline(lines, line);) text += "# " + line + "\n";
    const std::string key = dot == std::string::npos ? option.name : option.name.substr(dot + 1);
    text += key + " = " + option.value_default + "\n";
  }
  return text;
}

}  // namespace farcall
