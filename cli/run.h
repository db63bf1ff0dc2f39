// `farcall run`: an unmodified program with our libraries in the place of NVIDIA's. Nothing but its
// environment is changed, and the program takes this process's place, unless its statistics are to
// be printed at the end.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/install_paths.h"

namespace farcall::cli {

struct RunOptions {
  std::string server;    // URL; not used on softgpu
  bool softgpu = false;  // locally, on the software device, without a server
  bool stats = false;
  std::string stats_file;  // empty: standard error, at the end
  std::vector<std::string> program;
};

// The arguments after `run`, cut where the program begins: at "--" or at the first that is no
// option of ours.
struct SplitArguments {
  std::vector<std::string> options;
  std::vector<std::string> program;
};
SplitArguments split_run_arguments(const std::vector<std::string>& arguments);

// LD_LIBRARY_PATH for the program: our folder, then what was there.
std::string library_path(const std::vector<std::filesystem::path>& folders, const char* before);

// Returns only when the program could not be started (126 or 127, as a shell does) or its
// statistics were printed (then the program's own exit code).
int run(const RunOptions& options, const InstallPaths& paths);

}  // namespace farcall::cli
