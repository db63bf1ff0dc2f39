#include "server/session_registry.h"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"

namespace farcall::server {

void SessionRegistry::add(pid_t worker, Session session) {
  log::info("session {} begins: {}, worker {}", session.id, session.client, worker);
  sessions_.insert_or_assign(worker, std::move(session));
}

int SessionRegistry::reap() {
  int count = 0;
  // By pid: children that somebody else started and waits for are none of our business.
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    int status = 0;
    const pid_t ended = ::waitpid(it->first, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) {
      ++it;
      continue;
    }
    log_end(it->first, it->second, status);
    // What it may have started goes too.
    ::kill(-it->first, SIGKILL);
    it = sessions_.erase(it);
    ++count;
  }
  return count;
}

void SessionRegistry::signal_all(int signal) {
  for (const auto& [worker, session] : sessions_) {
    // The group does not exist for the first microseconds of a worker.
    if (::kill(-worker, signal) != 0) ::kill(worker, signal);
  }
}

void SessionRegistry::log_end(pid_t worker, const Session& session, int wait_status) const {
  const double seconds = double(now_ns() - session.began_ns) / 1e9;
  const SessionPageMap::End end = session.page.end();
  std::string how = end.reason;
  bool faulted = end.faulted;
  if (WIFSIGNALED(wait_status)) {
    how = fmt::format("worker {} was killed by signal {} ({})", worker, WTERMSIG(wait_status),
                      ::strsignal(WTERMSIG(wait_status)));
    faulted = true;
  } else if (how.empty()) {
    how = fmt::format("worker {} ended with status {}", worker, WEXITSTATUS(wait_status));
    faulted = true;
  }
  log::print(faulted ? log::Level::kWarning : log::Level::kInfo,
             "session {} ended after {:.3f} s and {} calls: {}; client: {}", session.id, seconds,
             session.page.calls(), how, session.client);
}

}  // namespace farcall::server
