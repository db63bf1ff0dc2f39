// Starts a gpu-worker for an accepted client. The child inherits the connection, the session's page
// and stderr, and nothing else: every descriptor of the daemon is close-on-exec, and what
// the daemon itself was given is closed from kFirstUnusedFd on. It leads a process group of its own
// (a ^C at the terminal is the daemon's to handle) and dies with the daemon.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <span>
#include <string>

#include "base/status.h"
#include "server/options.h"
#include "server/session_page.h"

namespace farcall::server {

// Descriptors of a worker, by agreement.
constexpr int kWorkerConnectionFd = 3;
constexpr int kWorkerPageFd = 4;
constexpr int kFirstUnusedFd = 5;

// What every worker of this daemon is started with.
struct WorkerCommand {
  std::string path;
  CudaOptions cuda;
  std::string image_store;
  uint64_t image_store_bytes_max = 0;
  std::string log_level;
};

// The program beside the running one: ".../bin/gpu-worker" for ".../bin/gpu-server".
std::string program_beside_this_one(std::string_view name);

// On failure what_failed is a sentence: a missing program, no processes left.
Result<pid_t> spawn_worker(const WorkerCommand& command, uint64_t session_id, int connection_fd,
                           int page_fd, std::string* what_failed);

// Lets a short-lived worker load the driver, because the daemon itself never does, and gives what
// it printed: a line about the device, or what is wrong and how to go on.
struct Probe {
  bool usable = false;
  std::string text;
};
Probe probe_driver(const WorkerCommand& command, std::chrono::milliseconds timeout);

}  // namespace farcall::server
