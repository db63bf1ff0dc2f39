// The parts of gpu-server and their one event loop: doors, newcomers, workers, signals. Everything
// happens on the thread that calls run().
#pragma once

#include <memory>
#include <vector>

#include "server/options.h"
#include "server/spawn.h"
#include "transport/listener.h"

namespace farcall::server {

class Daemon {
 public:
  Daemon(const ServerOptions& options, WorkerCommand command);
  ~Daemon();

  void add(std::unique_ptr<transport::Listener> listener);
  // Serves until a signal has ended it and all workers are gone.
  void run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace farcall::server
