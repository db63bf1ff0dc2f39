#include "tests/server/daemon_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "transport/connect.h"

extern char** environ;

namespace farcall::server::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kReadyFd = 9;

std::vector<std::string> read_lines(int fd) {
  std::string text;
  char buffer[512];
  for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
    text.append(buffer, size_t(got));
  std::istringstream lines(text);
  std::vector<std::string> out;
  for (std::string line; std::getline(lines, line);) out.push_back(line);
  return out;
}

}  // namespace

DaemonProcess::DaemonProcess(std::vector<std::string> arguments) {
  std::string pattern = ::testing::TempDir() + "farcall-daemon-XXXXXX";
  folder_ = ::mkdtemp(pattern.data());
  log_path_ = folder_ + "/log";
  fake_log_path_ = folder_ + "/fake";
  const auto given = [&](const char* flag) {
    return std::find(arguments.begin(), arguments.end(), flag) != arguments.end();
  };
  std::vector<std::string> all = {FARCALL_GPU_SERVER, "--ready-fd", std::to_string(kReadyFd)};
  if (!given("--driver") && !given("--softgpu")) {
    all.insert(all.end(), {"--driver", FARCALL_FAKE_DRIVER});
  }
  if (!given("--listen")) {
    all.insert(all.end(),
               {"--listen", "tcp://127.0.0.1:0", "--listen", "unix://" + folder_ + "/socket"});
  }
  if (!given("--image-store")) all.insert(all.end(), {"--image-store", folder_ + "/images"});
  all.insert(all.end(), arguments.begin(), arguments.end());

  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), kReadyFd);
  ::posix_spawn_file_actions_addopen(&actions, 2, log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("FARCALL_")) variables.emplace_back(*variable);
  }
  for (const char* name : {"FARCALL_FAKE_CUDA_INIT", "FARCALL_FAULTS"}) {
    if (const char* value = ::getenv(name)) variables.push_back(std::string(name) + "=" + value);
  }
  variables.push_back("FARCALL_FAKE_CUDA_LOG=" + fake_log_path_);
  const auto pointers = [](const std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (const std::string& string : strings) out.push_back(const_cast<char*>(string.c_str()));
    out.push_back(nullptr);
    return out;
  };
  const int error = ::posix_spawn(&pid_, all[0].c_str(), &actions, nullptr, pointers(all).data(),
                                  pointers(variables).data());
  EXPECT_EQ(error, 0) << all[0];
  ::posix_spawn_file_actions_destroy(&actions);
  write_end.reset();
  urls_ = read_lines(read_end.get());
}

DaemonProcess::~DaemonProcess() {
  if (pid_ > 0 && exit_status_ < 0) {
    ::kill(pid_, SIGKILL);  // its workers die with it
    ::waitpid(pid_, nullptr, 0);
  }
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "--- daemon's log:\n%s", log().c_str());
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::unique_ptr<transport::Channel> DaemonProcess::connect(size_t url) const {
  auto channel =
      transport::connect(transport::parse_url(urls_.at(url)).take(), std::chrono::seconds(5));
  EXPECT_TRUE(channel.ok());
  return channel.ok() ? channel.take() : nullptr;
}

void DaemonProcess::signal(int number) const { ::kill(pid_, number); }

int DaemonProcess::wait_exit(std::chrono::milliseconds timeout) {
  if (exit_status_ >= 0) return exit_status_;
  int status = 0;
  const bool ended = eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, timeout);
  if (!ended) return -1;
  exit_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_status_;
}

int DaemonProcess::stop() {
  signal(SIGTERM);
  if (wait_exit(std::chrono::seconds(2)) < 0) signal(SIGTERM);
  return wait_exit();
}

std::string DaemonProcess::log() const {
  std::ifstream file(log_path_);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool DaemonProcess::log_has(const std::string& text, std::chrono::milliseconds timeout) const {
  return eventually([&] { return log().find(text) != std::string::npos; }, timeout);
}

int DaemonProcess::log_count(const std::string& text) const {
  const std::string all = log();
  int count = 0;
  for (size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++count;
  return count;
}

size_t DaemonProcess::descriptors() const {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       fs::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
    ++count;
  }
  return count;
}

std::vector<pid_t> DaemonProcess::workers() const {
  const std::string pid = std::to_string(pid_);
  std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> out;
  for (pid_t child; children >> child;) out.push_back(child);
  return out;
}

bool DaemonProcess::workers_become(size_t count, std::chrono::milliseconds timeout) const {
  return eventually([&] { return workers().size() == count; }, timeout);
}

rpc::HelloAnswer say_hello(transport::Channel& channel) {
  return rpc::say_hello(
      channel,
      [](rpc::schema::Hello::Builder hello) {
        hello.setProgram("server_test");
        hello.setHostName("here");
        hello.setPid(uint32_t(::getpid()));
        hello.setCudaVersion(13000);
      },
      Deadline::after(std::chrono::seconds(20)));
}

Client::Client(const DaemonProcess& daemon, size_t url) {
  auto channel = daemon.connect(url);
  accepted = say_hello(*channel);
  EXPECT_TRUE(accepted.accepted()) << accepted.problem;
  connection = std::make_unique<rpc::ClientConnection>(std::move(channel));
}

}  // namespace farcall::server::testing
