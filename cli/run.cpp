#include "cli/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "base/unique_fd.h"

namespace farcall::cli {
namespace fs = std::filesystem;
namespace {

constexpr int kExitNotExecutable = 126, kExitNotFound = 127;

bool set_up_environment(const RunOptions& options, const InstallPaths& paths) {
  const fs::path& folder = options.softgpu ? paths.softgpu : paths.stubs;
  std::error_code ignored;
  if (!fs::exists(folder / "libcuda.so.1", ignored)) {
    fmt::print(stderr, "farcall: no {}; build it (./dev build) or reinstall\n",
               (folder / "libcuda.so.1").string());
    return false;
  }
  std::vector<fs::path> folders = {folder};
  if (options.softgpu) {
    // Programs built with -cudart shared bring no runtime of their own; ours would look for a
    // server.
    if (const std::optional<fs::path> cudart = find_nvidia_cudart()) folders.push_back(*cudart);
  } else {
    ::setenv("FARCALL_SERVER", options.server.c_str(), 1);
  }
  ::setenv("LD_LIBRARY_PATH", library_path(folders, std::getenv("LD_LIBRARY_PATH")).c_str(), 1);
  return true;
}

int execute(const std::vector<std::string>& program) {
  std::vector<char*> arguments;
  for (const std::string& argument : program)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  fmt::print(stderr, "farcall: {}: {}\n", program[0], std::strerror(error));
  return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

pid_t child_of_run = 0;

void forward(int signal) {
  if (child_of_run > 0) ::kill(child_of_run, signal);
}

// A keyboard signal reaches the program by itself; what is sent to us alone is passed on.
void pass_signals_to_child() {
  struct sigaction action = {};
  action.sa_handler = SIG_IGN;
  for (const int keyboard : {SIGINT, SIGQUIT}) ::sigaction(keyboard, &action, nullptr);
  action.sa_handler = forward;
  for (const int sent : {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) ::sigaction(sent, &action, nullptr);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return EXIT_FAILURE;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void print_stats(int fd, const std::string& program) {
  std::string text;
  std::array<char, 4096> part;
  ::lseek(fd, 0, SEEK_SET);
  for (ssize_t bytes = 0; (bytes = ::read(fd, part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<size_t>(bytes));
  }
  if (text.empty()) {
    fmt::print(stderr,
               "farcall: {} left no statistics: it made no CUDA call, or did not end by itself\n",
               program);
    return;
  }
  fmt::print(stderr, "{}{}", text, text.ends_with('\n') ? "" : "\n");
}

// The program runs as a child, its library writes the statistics into a file in memory, we print
// them.
int run_and_print_stats(const RunOptions& options) {
  UniqueFd file(::memfd_create("farcall-stats", MFD_CLOEXEC));
  if (!file) {
    fmt::print(stderr, "farcall: memfd_create: {}\n", std::strerror(errno));
    return EXIT_FAILURE;
  }
  ::setenv("FARCALL_STATS", fmt::format("/proc/{}/fd/{}", ::getpid(), file.get()).c_str(), 1);
  const pid_t child = ::fork();
  if (child < 0) {
    fmt::print(stderr, "farcall: fork: {}\n", std::strerror(errno));
    return EXIT_FAILURE;
  }
  if (child == 0) ::_exit(execute(options.program));
  child_of_run = child;
  pass_signals_to_child();
  const int code = wait_for(child);
  if (code != kExitNotFound && code != kExitNotExecutable)
    print_stats(file.get(), options.program[0]);
  return code;
}

}  // namespace

SplitArguments split_run_arguments(const std::vector<std::string>& arguments) {
  SplitArguments split;
  size_t i = 0;
  for (; i < arguments.size() && arguments[i].starts_with("-"); ++i) {
    if (arguments[i] == "--") {
      ++i;
      break;
    }
    split.options.push_back(arguments[i]);
    if (arguments[i] == "--server" && i + 1 < arguments.size())
      split.options.push_back(arguments[++i]);
  }
  split.program.assign(arguments.begin() + static_cast<ptrdiff_t>(i), arguments.end());
  return split;
}

std::string library_path(const std::vector<fs::path>& folders, const char* before) {
  std::string path;
  for (const fs::path& folder : folders) path += (path.empty() ? "" : ":") + folder.string();
  if (before != nullptr && *before != '\0') path += std::string(":") + before;
  return path;
}

int run(const RunOptions& options, const InstallPaths& paths) {
  if (!set_up_environment(options, paths)) return EXIT_FAILURE;
  if (options.stats && options.softgpu) {
    fmt::print(stderr, "farcall: --stats counts calls to a server; with --softgpu there is none\n");
    return EXIT_FAILURE;
  }
  if (options.stats && options.stats_file.empty()) return run_and_print_stats(options);
  if (options.stats) ::setenv("FARCALL_STATS", fs::absolute(options.stats_file).c_str(), 1);
  return execute(options.program);
}

}  // namespace farcall::cli
