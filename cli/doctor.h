// `farcall doctor`: what keeps a program from running remotely, and how to mend it.
#pragma once

#include <string>
#include <vector>

#include "cli/install_paths.h"
#include "cli/settings.h"

namespace farcall::cli {

struct Finding {
  bool good;
  std::string what;  // a sentence about a thing that was looked at
  std::string mend;  // if not good: what to do
};

std::vector<Finding> check_installation(const InstallPaths& paths);
// Reads the program's file, does not run it. `program` is looked up in PATH like a shell does.
std::vector<Finding> check_program(const std::string& program, const InstallPaths& paths);

// Connects and says hello, as a program would.
std::vector<Finding> check_server(const ServerChoice& server);

// All checks, printed; `program` may be empty. Returns an exit code: 1 if anything is to be mended.
int diagnose(const ServerChoice& server, const std::string& program, const InstallPaths& paths);

}  // namespace farcall::cli
