// The `farcall` command: run a program on a remote GPU, list what is there, find what is wrong.
// Each subcommand is a function in a file of its own; this one reads the command line and chooses
// the server.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/devices.h"
#include "cli/doctor.h"
#include "cli/install_paths.h"
#include "cli/run.h"
#include "cli/settings.h"
#include "cli/smi.h"

namespace farcall::cli {
namespace {

constexpr int kExitUsage = 2;

int run_command(RunOptions options) {
  if (!options.softgpu) {
    const std::optional<ServerChoice> choice = choose_server(options.server);
    if (!choice) return kExitUsage;
    options.server = choice->url;
  }
  return run(options, find_install_paths());
}

// Where the libraries lie that a listing asks, and what to call them; the stubs find the server by
// its variable. nullopt: no server could be chosen, which is printed.
struct Asked {
  std::filesystem::path folder;
  std::string name;
};
std::optional<Asked> choose_libraries(const std::string& server, bool softgpu) {
  const InstallPaths paths = find_install_paths();
  if (softgpu) return Asked{paths.softgpu, "softgpu, local"};
  const std::optional<ServerChoice> choice = choose_server(server);
  if (!choice) return std::nullopt;
  ::setenv("FARCALL_SERVER", choice->url.c_str(), 1);
  return Asked{paths.stubs, choice->url};
}

int devices_command(const std::string& server, bool softgpu) {
  const auto asked = choose_libraries(server, softgpu);
  return asked ? list_devices(asked->folder, asked->name) : kExitUsage;
}

int smi_command(const std::string& server, bool softgpu, const SmiOptions& options) {
  const auto asked = choose_libraries(server, softgpu);
  return asked ? smi(asked->folder, options) : kExitUsage;
}

int doctor_command(const std::string& server, const std::string& program) {
  const std::optional<ServerChoice> choice = choose_server(server);
  if (!choice) return kExitUsage;
  return diagnose(*choice, program, find_install_paths());
}

int main(int argc, char** argv) {
  log::set_name("cli");
  std::vector<std::string> arguments(argv + 1, argv + argc);
  RunOptions options;
  // What follows the program's name is none of our options, so the command line is cut before it is
  // parsed.
  if (!arguments.empty() && arguments[0] == "run") {
    SplitArguments split = split_run_arguments({arguments.begin() + 1, arguments.end()});
    options.program = std::move(split.program);
    arguments.assign({"run"});
    arguments.insert(arguments.end(), split.options.begin(), split.options.end());
  }

  CLI::App app(
      "CUDA programs on a host without a GPU.\nThe server is --server, else $FARCALL_SERVER, else "
      "'server' in "
      "~/.config/farcall/config.toml, else tcp://127.0.0.1:7117.",
      "farcall");
  app.require_subcommand(1);
  std::string server, program;
  bool softgpu = false;
  const auto add_server = [&server](CLI::App* command) {
    command->add_option("--server", server, "tcp://HOST:PORT or unix:///PATH");
  };

  CLI::App* run = app.add_subcommand(
      "run", "farcall run [OPTIONS] [--] PROGRAM ARGS: run a program, unmodified");
  add_server(run);
  run->add_flag("--softgpu", softgpu, "here, on the software device, without a server");
  const CLI::Option* stats =
      run->add_option("--stats", options.stats_file,
                      "write statistics as JSON to FILE (--stats=FILE), or to standard error")
          ->expected(0, 1);

  CLI::App* devices = app.add_subcommand("devices", "list the devices of the server");
  add_server(devices);
  devices->add_flag("--softgpu", softgpu, "the software device of this machine instead");

  SmiOptions smi_options;
  CLI::App* smi = app.add_subcommand("smi", "the devices of the server as nvidia-smi shows them");
  add_server(smi);
  smi->add_flag("--softgpu", softgpu, "the software device of this machine instead");
  smi->add_flag("-L,--list-gpus", smi_options.list, "one line per device");
  smi->add_option("--query-gpu", smi_options.query, "these fields only, as nvidia-smi names them");
  smi->add_option("--format", smi_options.format, "of --query-gpu: csv[,noheader][,nounits]");

  CLI::App* doctor = app.add_subcommand("doctor", "find out what is wrong, and how to mend it");
  add_server(doctor);
  doctor->add_option("program", program, "look at this program too");

  CLI::App* version = app.add_subcommand("version", "print the version");

  try {
    app.parse(std::vector<std::string>(arguments.rbegin(),
                                       arguments.rend()));  // CLI11 takes them last first
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? EXIT_SUCCESS : kExitUsage;
  }
  if (*run) {
    options.server = server;
    options.softgpu = softgpu;
    options.stats = stats->count() > 0;
    if (options.program.empty()) {
      std::fputs("farcall: run: no PROGRAM given\n", stderr);
      return kExitUsage;
    }
    return run_command(std::move(options));
  }
  if (*devices) return devices_command(server, softgpu);
  if (*smi) return smi_command(server, softgpu, smi_options);
  if (*doctor) return doctor_command(server, program);
  if (*version) std::puts("farcall " FARCALL_VERSION);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace farcall::cli

int main(int argc, char** argv) { return farcall::cli::main(argc, argv); }
