// gpu-server, the daemon of a GPU node. Its processes:
//
//   gpu-server        one event loop; listens, reads each client's hello, starts workers, reaps
//   them.
//                     It never loads CUDA: a driver's crash or a client's bytes can't take it down,
//                     and after the hello it is not on the path of any byte.
//   gpu-worker        one per client process. Inherits the accepted connection and makes the
//   client's
//                     calls on the real driver. Whatever goes wrong there ends that one session;
//                     the operating system frees the rest. Dies with the daemon.
//   gpu-worker --probe  at start, for a moment: finds out whether there is a driver.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "server/daemon.h"
#include "server/image_store_folder.h"
#include "server/options.h"
#include "server/spawn.h"

namespace farcall::server {
namespace {

// A driver that initialises many GPUs without persistence mode takes tens of seconds.
constexpr std::chrono::milliseconds kProbeTimeout{120'000};

// Descriptors 0 to 2 exist, so that no connection gets one of their numbers; a client that hangs up
// is an error code and not a signal; as many descriptors as the system gives us.
void prepare_process() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", O_RDWR);
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP,
           SIG_IGN);  // there is nothing to reload, and a closed terminal is no reason to end
  rlimit descriptors = {};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
}

std::string_view level_name(log::Level level) {
  switch (level) {
    case log::Level::kTrace:
      return "trace";
    case log::Level::kDebug:
      return "debug";
    case log::Level::kInfo:
      return "info";
    case log::Level::kWarning:
      return "warning";
    case log::Level::kError:
      return "error";
    case log::Level::kOff:
      return "off";
  }
  return "info";
}

// False: nobody can be served, and why has been said.
bool check_driver(const WorkerCommand& command) {
  const Probe probe = probe_driver(command, kProbeTimeout);
  if (probe.usable) {
    log::info("{}", probe.text);
    return true;
  }
  std::fprintf(stderr, "gpu-server: %s\n", probe.text.c_str());
  return false;
}

void tell_ready(int fd, const std::string& urls) {
  size_t written = 0;
  while (written < urls.size()) {
    const ssize_t got = ::write(fd, urls.data() + written, urls.size() - written);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      log::error("--ready-fd {}: {}", fd, std::strerror(errno));
      break;
    }
    written += size_t(got);
  }
  ::close(fd);
}

int serve(const ServerOptions& options) {
  ImageStoreFolder images(options.image_store);
  WorkerCommand command;
  command.path = options.worker.empty() ? program_beside_this_one("gpu-worker") : options.worker;
  command.cuda = options.cuda;
  command.image_store = images.path();
  command.image_store_bytes_max = options.image_store_bytes_max;
  command.log_level = level_name(options.log_level);
  if (!check_driver(command)) return 1;

  Daemon daemon(options, command);
  std::string urls;
  for (const transport::Url& url : options.listen) {
    auto listener = transport::listen(url);
    if (!listener) return 1;  // logged
    log::info("listening on {}", (*listener)->url().text());
    urls += (*listener)->url().text() + "\n";
    daemon.add(listener.take());
  }
  if (options.ready_fd >= 0) tell_ready(options.ready_fd, urls);
  daemon.run();
  log::info("ended");
  return 0;
}

}  // namespace
}  // namespace farcall::server

int main(int argc, char** argv) {
  using namespace farcall;
  using namespace farcall::server;
  prepare_process();
  log::set_name("server");
  int exit_code = 0;
  const auto options = parse_options(argc, argv, &exit_code);
  if (!options) return exit_code;
  log::set_level(options->log_level);
  return serve(*options);
}
