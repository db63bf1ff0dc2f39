// gpu-worker, one process per client process, started by gpu-server with the accepted connection as
// an open descriptor. A story in order:
//
//   1. ties its life to the daemon's and gives up what it will not need;
//   2. loads the driver (NVIDIA's or softgpu's libcuda.so.1), then NVIDIA's libcudart over it;
//   3. answers the hello with a snapshot of the devices, or says why not;
//   4. Worker::run(): reads calls and makes them, until the client is gone (worker.h);
//   5. leaves a sentence about the end for the daemon's log, and exits at once: the operating
//   system
//      and the driver free whatever the client left behind.
//
// A broken invariant or a crash in the driver kills this process and with it one session; that is
// the design. With --probe it only does step 2 and prints what it found: the daemon loads no CUDA.
#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/log.h"
#include "driverabi/visible_devices.h"
#include "rpc/hello.h"
#include "server/cuda_libraries.h"
#include "server/device_snapshot.h"
#include "server/options.h"
#include "server/output_capture.h"
#include "server/session_page.h"
#include "server/spawn.h"
#include "server/worker.h"

namespace farcall::server {
namespace {

constexpr const char* kVisibleDevices = "CUDA_VISIBLE_DEVICES";

struct WorkerOptions {
  CudaOptions cuda;
  pid_t daemon = 0;
  uint64_t session = 0;
  std::string image_store;
  uint64_t image_store_bytes_max = 0;
  log::Level log_level = log::Level::kInfo;
  bool probe = false;
};

// Until when a client that was told why its session ends may read it.
constexpr std::chrono::milliseconds kFarewell{1000};

const std::map<std::string, log::Level> kLevels = {
    {"off", log::Level::kOff},   {"error", log::Level::kError}, {"warning", log::Level::kWarning},
    {"info", log::Level::kInfo}, {"debug", log::Level::kDebug}, {"trace", log::Level::kTrace}};

bool parse(int argc, char** argv, WorkerOptions* options, int* exit_code) {
  CLI::App app("gpu-worker: makes one client's CUDA calls. Started by gpu-server.", "gpu-worker");
  app.add_option("--daemon-pid", options->daemon, "ends when this process does");
  app.add_option("--session", options->session, "number of the session, for the log");
  app.add_flag("--softgpu", options->cuda.softgpu, "load the bundled software device");
  app.add_option("--driver", options->cuda.driver, "libcuda.so.1 to load");
  app.add_option("--cudart-dir", options->cuda.cudart_dir, "folder of NVIDIA's libcudart.so.N");
  app.add_option("--image-store", options->image_store, "folder of uploaded images");
  app.add_option("--image-store-bytes", options->image_store_bytes_max, "its size");
  app.add_option("--log-level", options->log_level, "as gpu-server's")
      ->transform(CLI::CheckedTransformer(kLevels));
  app.add_flag("--probe", options->probe, "print what driver there is, and exit");
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error);
    return false;
  }
}

// --- 1. Life and rights

// False: the daemon is gone already.
bool die_with(pid_t daemon) {
  if (daemon == 0) return true;
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == daemon;
}

// The place for a sandbox. Not in a probe: NVIDIA's driver may need its setuid helper once per
// boot, to make the device nodes.
void give_up_rights() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // A core would hold the client's data, and many gigabytes of mapped device memory.
  const rlimit none = {0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

// SIGTERM becomes a readable descriptor, in this thread and all that it or the driver will start.
UniqueFd terminate_as_fd() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC));
}

// --- 2. and 3. From the hello to the first call

int probe(const WorkerOptions& options) {
  const CudaLibraries cuda(options.cuda);
  std::printf("%s\n", cuda.ok() ? describe(cuda).c_str() : cuda.problem().c_str());
  std::fflush(stdout);
  return cuda.ok() ? 0 : 1;
}

// What the program is linked to, or else what the client's stubs were made from.
int runtime_major(const rpc::ClientFacts& client) {
  const uint32_t version =
      client.runtime_version != 0 ? client.runtime_version : client.cuda_version;
  return int(version / 1000);
}

// The devices that the program asked for, among those this server was started with: the driver
// reads both from the environment. Before it starts.
void choose_devices(const rpc::ClientFacts& client) {
  const char* const ours = std::getenv(kVisibleDevices);
  if (client.visible_devices) {
    const std::string narrowed =
        ours != nullptr ? driverabi::narrow_visible_devices(ours, *client.visible_devices)
                        : *client.visible_devices;
    ::setenv(kVisibleDevices, narrowed.c_str(), 1);
  }
  // The order says which device an index of ours means; it may not be changed under it.
  if (client.device_order && ours == nullptr) {
    ::setenv("CUDA_DEVICE_ORDER", client.device_order->c_str(), 1);
  }
}

// Why there are none, for the program that asked for that.
std::string no_device_problem(const CudaLibraries& cuda, const rpc::ClientFacts& client) {
  if (cuda.problem_result() != CUDA_ERROR_NO_DEVICE || !client.visible_devices) {
    return cuda.problem();
  }
  return fmt::format("CUDA_VISIBLE_DEVICES='{}' leaves none of the server's devices",
                     printable(*client.visible_devices));
}

bool greet(transport::Channel& channel, const WorkerOptions& options, const CudaLibraries& cuda) {
  return rpc::accept(channel, [&](rpc::schema::Accepted::Builder accepted) {
           accepted.setSessionId(options.session);
           fill_snapshot(cuda, accepted);
         }) == Status::kOk;
}

// --- 5. The end

// Waits until the client has closed: its unread bytes would reset the connection, and with it the
// sentence on its way.
void linger(transport::Channel& channel) {
  const int fd = channel.native_handle();
  ::shutdown(fd, SHUT_WR);
  const Deadline deadline = Deadline::after(kFarewell);
  char scratch[4096];
  pollfd readable = {fd, POLLIN, 0};
  while (::poll(&readable, 1, deadline.remaining_ms()) > 0 &&
         ::recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) > 0) {
  }
}

[[noreturn]] void leave(transport::Channel& channel, SessionPageMap& page, const SessionEnd& end) {
  page.set_end(end.reason, end.faulted);
  if (end.faulted) linger(channel);
  ::_exit(0);
}

int serve(const WorkerOptions& options) {
  std::vector<capnp::word> hello;
  auto page = SessionPageMap::open(UniqueFd(kWorkerPageFd), &hello);
  auto channel = transport::adopt(UniqueFd(kWorkerConnectionFd));
  if (!page || !channel) return 1;  // logged
  const UniqueFd terminate = terminate_as_fd();
  // The daemon has read it, too; this one is read here because workers trust nobody.
  const auto client = rpc::read_hello(hello);
  if (!client) leave(**channel, *page, {"the hello does not decode", true});
  auto output = OutputCapture::redirect(STDOUT_FILENO);

  const bool all_devices = std::getenv(kVisibleDevices) == nullptr;
  choose_devices(*client);
  CudaLibraries cuda(options.cuda);
  if (!cuda.ok()) {
    const std::string problem = no_device_problem(cuda, *client);
    (void)rpc::refuse(**channel, {.reason = problem, .status = cuda.problem_result()});
    leave(**channel, *page, {problem, cuda.problem_result() != CUDA_ERROR_NO_DEVICE});
  }
  cuda.load_runtime(runtime_major(*client), options.cuda.cudart_dir);
  if (!greet(**channel, options, cuda)) leave(**channel, *page, {"the client went away", false});

  // From here on frames.
  Worker worker({.channel = **channel,
                 .driver = cuda.driver(),
                 .runtime = cuda.runtime(),
                 .runtime_problem = cuda.runtime_problem(),
                 .nvml = {.library = cuda.nvml_path(), .all_devices = all_devices},
                 .image_store = options.image_store,
                 .image_store_bytes_max = options.image_store_bytes_max,
                 .output = output ? output.take() : UniqueFd(),
                 .terminate_fd = terminate.get(),
                 .calls = &page->page().calls});
  leave(**channel, *page, worker.run());
}

}  // namespace
}  // namespace farcall::server

int main(int argc, char** argv) {
  using namespace farcall;
  using namespace farcall::server;
  WorkerOptions options;
  int exit_code = 0;
  if (!parse(argc, argv, &options, &exit_code)) return exit_code;
  if (!die_with(options.daemon)) return 1;
  log::set_name(options.probe ? "probe" : "worker " + std::to_string(options.session));
  log::set_level(options.log_level);
  if (options.probe) return probe(options);
  give_up_rights();
  return serve(options);
}
