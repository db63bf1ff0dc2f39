// The sessions that have a worker: who they are, when they began, how they ended. One line in the
// log at each end; nothing of a session stays in the daemon when its worker is gone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "server/session_page.h"

namespace farcall::server {

class SessionRegistry {
 public:
  struct Session {
    uint64_t id = 0;
    std::string client;  // "nbody (pid 77 on host7, tcp://10.0.0.7:51812)"
    uint64_t began_ns = 0;
    SessionPageMap page;
  };

  void add(pid_t worker, Session session);
  size_t count() const { return sessions_.size(); }
  bool empty() const { return sessions_.empty(); }

  // Collects the workers that have ended; call it on SIGCHLD. Gives how many.
  int reap();
  // To every worker's process group.
  void signal_all(int signal);

 private:
  void log_end(pid_t worker, const Session& session, int wait_status) const;

  std::map<pid_t, Session> sessions_;
};

}  // namespace farcall::server
