#include "server/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/clock.h"
#include "base/fault.h"
#include "base/unique_fd.h"

extern char** environ;

namespace farcall::server {
namespace {

std::vector<std::string> arguments_of(const WorkerCommand& command) {
  std::vector<std::string> arguments = {command.path, "--daemon-pid", std::to_string(::getpid())};
  const auto add = [&](const char* name, const std::string& value) {
    if (value.empty()) return;
    arguments.emplace_back(name);
    arguments.push_back(value);
  };
  if (command.cuda.softgpu) arguments.emplace_back("--softgpu");
  add("--driver", command.cuda.driver);
  add("--cudart-dir", command.cuda.cudart_dir);
  add("--image-store", command.image_store);
  if (!command.image_store.empty()) {
    add("--image-store-bytes", std::to_string(command.image_store_bytes_max));
  }
  add("--log-level", command.log_level);
  return arguments;
}

// posix_spawn's two objects, released together.
class SpawnSetup {
 public:
  SpawnSetup() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  void give(int from, int to) { ::posix_spawn_file_actions_adddup2(&actions_, from, to); }

  int start(const std::vector<std::string>& arguments, pid_t* pid) {
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, kFirstUnusedFd);
    std::vector<char*> pointers;
    for (const std::string& argument : arguments) {
      pointers.push_back(const_cast<char*>(argument.c_str()));
    }
    pointers.push_back(nullptr);
    return ::posix_spawn(pid, pointers[0], &actions_, &attributes_, pointers.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// A duplicate out of the way of the numbers that the child's descriptors get.
UniqueFd out_of_the_way(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, kFirstUnusedFd)); }

std::string cannot_start(const std::string& path, int error) {
  std::string text = "cannot start " + path + ": " + std::strerror(error);
  if (error == ENOENT) text += "; install it beside gpu-server or name it with --worker";
  return text;
}

}  // namespace

std::string program_beside_this_one(std::string_view name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / name).string();
}

Result<pid_t> spawn_worker(const WorkerCommand& command, uint64_t session_id, int connection_fd,
                           int page_fd, std::string* what_failed) {
  const UniqueFd connection = out_of_the_way(connection_fd);
  const UniqueFd page = out_of_the_way(page_fd);
  if (!connection || !page) {
    *what_failed = std::string("out of file descriptors: ") + std::strerror(errno);
    return Status::kQuota;
  }
  std::vector<std::string> arguments = arguments_of(command);
  arguments.insert(arguments.end(), {"--session", std::to_string(session_id)});

  SpawnSetup setup;
  setup.give(connection.get(), kWorkerConnectionFd);
  setup.give(page.get(), kWorkerPageFd);
  pid_t pid = -1;
  const bool fails = fault::hit("worker.spawn");  // as when there are no processes left
  if (const int error = fails ? EAGAIN : setup.start(arguments, &pid)) {
    *what_failed = cannot_start(command.path, error);
    return Status::kUnsupported;
  }
  return pid;
}

Probe probe_driver(const WorkerCommand& command, std::chrono::milliseconds timeout) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {false, std::strerror(errno)};
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  std::vector<std::string> arguments = arguments_of(command);
  arguments.emplace_back("--probe");

  SpawnSetup setup;
  setup.give(write_end.get(), STDOUT_FILENO);
  pid_t pid = -1;
  if (const int error = setup.start(arguments, &pid)) {
    return {false, cannot_start(command.path, error)};
  }
  write_end.reset();

  Probe probe;
  const Deadline deadline = Deadline::after(timeout);
  for (;;) {
    pollfd readable = {read_end.get(), POLLIN, 0};
    const int ready = ::poll(&readable, 1, deadline.remaining_ms());
    if (ready < 0 && errno == EINTR) continue;
    char buffer[1024];
    const ssize_t got = ready > 0 ? ::read(read_end.get(), buffer, sizeof buffer) : -1;
    if (got < 0 && ready > 0 && errno == EINTR) continue;
    if (got > 0 && probe.text.size() < 16 * sizeof buffer) probe.text.append(buffer, size_t(got));
    if (got > 0) continue;
    if (ready == 0) {
      ::kill(pid, SIGKILL);
      probe.text +=
          "the driver did not answer within " + std::to_string(timeout.count() / 1000) + " seconds";
    }
    break;
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  while (!probe.text.empty() && probe.text.back() == '\n') probe.text.pop_back();
  probe.usable = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!probe.usable && probe.text.empty()) {
    probe.text = WIFSIGNALED(status)
                     ? std::string("the driver crashed while it was loaded: ") +
                           ::strsignal(WTERMSIG(status))
                     : command.path + " ended with status " + std::to_string(WEXITSTATUS(status));
  }
  return probe;
}

}  // namespace farcall::server
