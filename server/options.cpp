#include "server/options.h"

#include <toml++/toml.h>
#include <CLI/CLI.hpp>

#include <iostream>
#include <map>

#include "rpc/hello.h"

namespace farcall::server {
namespace {

// Lets CLI11 read its configuration from TOML, so that a flag and a key are one declaration.
class TomlConfig : public CLI::Config {
 public:
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items;
    try {
      const toml::table table = toml::parse(input);
      for (const auto& [key, value] : table) items.push_back(item(key, value));
    } catch (const toml::parse_error& error) {
      throw CLI::ConfigError("line " + std::to_string(error.source().begin.line) + ": " +
                             std::string(error.description()));
    }
    return items;
  }

 private:
  static CLI::ConfigItem item(const toml::key& key, const toml::node& value) {
    CLI::ConfigItem item;
    item.name = std::string(key.str());
    if (const toml::array* array = value.as_array()) {
      for (const toml::node& element : *array) item.inputs.push_back(text(key, element));
    } else {
      item.inputs.push_back(text(key, value));
    }
    return item;
  }
  static std::string text(const toml::key& key, const toml::node& value) {
    if (const auto string = value.value_exact<std::string>()) return *string;
    if (const auto number = value.value_exact<int64_t>()) return std::to_string(*number);
    if (const auto number = value.value_exact<double>()) return std::to_string(*number);
    if (const auto flag = value.value_exact<bool>()) return *flag ? "true" : "false";
    throw CLI::ConfigError("line " + std::to_string(key.source().begin.line) + ": the value of '" +
                           std::string(key.str()) + "' must be a string, number, boolean or list");
  }
};

const std::map<std::string, log::Level> kLevels = {
    {"off", log::Level::kOff},   {"error", log::Level::kError}, {"warning", log::Level::kWarning},
    {"info", log::Level::kInfo}, {"debug", log::Level::kDebug}, {"trace", log::Level::kTrace}};

std::chrono::milliseconds to_ms(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

}  // namespace

std::optional<ServerOptions> parse_options(int argc, const char* const* argv, int* exit_code) {
  ServerOptions options;
  std::vector<std::string> listen = {kDefaultListenUrl};
  options.max_clients = 64;
  options.max_half_open = 64;
  double hello_timeout_s = 5;
  double drain_timeout_s = 30;
  uint64_t image_store_mib = 4096;

  CLI::App app(
      "gpu-server: lets CUDA programs of other hosts use this host's GPUs.\n"
      "It admits clients and starts one gpu-worker process for each; it never loads CUDA itself.\n",
      "gpu-server");
  app.set_version_flag("--version", std::string(rpc::farcall_version()));
  app.add_option("--listen", listen,
                 "URL to listen on: tcp://HOST:PORT (port 0: any free one) or unix:///PATH. May be "
                 "repeated. Whoever can connect can run code on the GPU")
      ->capture_default_str()
      ->type_name("URL");
  auto* softgpu = app.add_flag("--softgpu", options.cuda.softgpu,
                               "Serve the bundled software device instead of a GPU");
  app.add_option("--driver", options.cuda.driver,
                 "The libcuda.so.1 that workers load (default: the system's)")
      ->type_name("PATH")
      ->excludes(softgpu);
  app.add_option("--cudart-dir", options.cuda.cudart_dir,
                 "Folder of NVIDIA's libcudart.so.N (default: $CUDA_HOME/lib64, "
                 "/usr/local/cuda/lib64, then the loader's path)")
      ->type_name("DIR");
  app.add_option("--worker", options.worker, "The gpu-worker program (default: beside gpu-server)")
      ->type_name("PATH");
  app.add_option("--image-store", options.image_store,
                 "Folder that keeps uploaded device code, so that it crosses the network once "
                 "(default: below $XDG_RUNTIME_DIR, else a temporary folder)")
      ->type_name("DIR");
  app.add_option("--image-store-size", image_store_mib,
                 "Size of that folder, above which the oldest images go")
      ->capture_default_str()
      ->type_name("MIB")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 30));
  app.add_option("--max-clients", options.max_clients, "Clients served at the same time")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--max-half-open", options.max_half_open,
                 "Connections that may be without a complete hello at the same time; one more "
                 "pushes out the oldest")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--hello-timeout", hello_timeout_s,
                 "Within this time a client must have introduced itself")
      ->capture_default_str()
      ->type_name("SECONDS")
      ->check(CLI::Range(0.05, 3600.0));
  app.add_option("--drain-timeout", drain_timeout_s,
                 "On SIGTERM or SIGINT clients may finish within this time; a second signal ends "
                 "them at once")
      ->capture_default_str()
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--ready-fd", options.ready_fd,
                 "Once listening, write the URLs to this descriptor, one a line, and close it")
      ->type_name("FD");
  app.add_option("--log-level", options.log_level,
                 "off, error, warning, info, debug or trace; FARCALL_LOG in the environment wins "
                 "(default: info)")
      ->type_name("LEVEL")
      ->transform(CLI::CheckedTransformer(kLevels, CLI::ignore_case).description(""));
  app.set_config("--config", "", "TOML file with the same names as keys; flags win over it")
      ->type_name("FILE");
  app.config_formatter(std::make_shared<TomlConfig>());
  app.allow_config_extras(CLI::config_extras_mode::error);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    *exit_code = app.exit(success);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    std::cerr << "gpu-server: " << error.what() << "\nRun gpu-server --help for the options.\n";
    *exit_code = 2;
    return std::nullopt;
  }

  for (const std::string& text : listen) {
    Result<transport::Url> url = transport::parse_url(text);  // logs what is wrong
    if (!url) {
      *exit_code = 2;
      return std::nullopt;
    }
    options.listen.push_back(url.take());
  }
  options.hello_timeout = to_ms(hello_timeout_s);
  options.drain_timeout = to_ms(drain_timeout_s);
  options.image_store_bytes_max = image_store_mib << 20;
  return options;
}

}  // namespace farcall::server
