// A real gpu-server for a test, with the fake driver, on a free port of the loopback interface and
// a Unix socket. Its log goes to a file that the test reads; it is killed, with its workers, when
// the object goes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "rpc/client_connection.h"
#include "rpc/hello.h"
#include "transport/channel.h"

namespace farcall::server::testing {

class DaemonProcess {
 public:
  // Adds --driver with the fake unless the arguments choose a driver themselves, and two --listen.
  explicit DaemonProcess(std::vector<std::string> arguments = {});
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  pid_t pid() const { return pid_; }
  // What it wrote to --ready-fd: tcp, then unix. Empty if it ended before.
  const std::vector<std::string>& urls() const { return urls_; }
  std::unique_ptr<transport::Channel> connect(size_t url = 0) const;

  void signal(int number) const;
  // -1: still running after that long.
  int wait_exit(std::chrono::milliseconds timeout = std::chrono::seconds(20));
  // SIGTERM with a second one at once, if need be; the exit status.
  int stop();

  std::string log() const;  // so far
  // Waits until the log holds the text; false after the timeout.
  bool log_has(const std::string& text,
               std::chrono::milliseconds timeout = std::chrono::seconds(10)) const;
  int log_count(const std::string& text) const;

  size_t descriptors() const;          // that the daemon has open
  std::vector<pid_t> workers() const;  // children of the daemon
  // Waits until there are so many.
  bool workers_become(size_t count,
                      std::chrono::milliseconds timeout = std::chrono::seconds(10)) const;
  const std::string& fake_driver_log() const { return fake_log_path_; }

 private:
  std::string folder_, log_path_, fake_log_path_;
  pid_t pid_ = -1;
  int exit_status_ = -1;
  std::vector<std::string> urls_;
};

// A client as libfarcall.so is one: said hello, was accepted.
struct Client {
  // Fails the test if there is no acceptance.
  explicit Client(const DaemonProcess& daemon, size_t url = 0);

  rpc::HelloAnswer accepted;
  std::unique_ptr<rpc::ClientConnection> connection;
};
rpc::HelloAnswer say_hello(transport::Channel& channel);

// Polls until the condition holds.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
  const Deadline deadline = Deadline::after(timeout);
  while (!condition()) {
    if (deadline.expired()) return false;
    timespec nap = {0, 5'000'000};
    ::nanosleep(&nap, nullptr);
  }
  return true;
}

}  // namespace farcall::server::testing
