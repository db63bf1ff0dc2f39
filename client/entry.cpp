#include "client/entry.h"

#include <cuda.h>
#include <errno.h>
#include <fmt/format.h>
#include <kj/exception.h>
#include <link.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "client/session.h"
#include "client/stats.h"
#include "client/stub.h"
#include "rpc/hello.h"
#include "transport/connect.h"

namespace farcall::client {
namespace {

// Long enough for a server on another continent, short enough for a person with a wrong URL.
constexpr std::chrono::seconds kConnectTimeout(5);
// The answer comes from a worker process that has just initialised CUDA, which can take seconds on
// a node with many GPUs.
constexpr std::chrono::seconds kHelloTimeout(60);
// Programs ask several times whether there is a GPU; a missing server is looked for again after
// this.
constexpr uint64_t kRetryAfterNs = 1'000'000'000;

struct Process {
  std::mutex connecting;  // held while a thread connects, and across fork()
  uint64_t failed_at_ns = 0;
  int failed_result = 0;
  bool failure_logged = false;
  bool fork_handlers_set = false;
  Session* of_parent = nullptr;  // in a forked child; only so that leak checkers find it
  StartupStats startup;
  std::string stats_path;
};

Process& process() {
  static Process* const instance = new Process;
  return *instance;
}

std::atomic<Session*> current_session{nullptr};
std::atomic<bool> forked{false};  // this is a child whose parent had a session
std::atomic<bool> fork_logged{false};

std::string_view environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

// --- fork()

void before_fork() { process().connecting.lock(); }
void after_fork_in_parent() { process().connecting.unlock(); }

void after_fork_in_child() {
  if (Session* const session = current_session.exchange(nullptr)) {
    session->connection().abandon();
    process().of_parent = session;
    forked = true;
  }
  process().connecting.unlock();
}

// Without the logger: at the moment of the fork another thread may have held its lock.
void log_fork() {
  if (fork_logged.exchange(true) || !log::enabled(log::Level::kError)) return;
  constexpr std::string_view kLine =
      "farcall[client] error: CUDA can't be used in a forked child of a process that has used "
      "CUDA; "
      "start the child before the first CUDA call, or with exec (in Python: the start method "
      "\"spawn\")\n";
  (void)!::write(STDERR_FILENO, kLine.data(), kLine.size());
}

// --- Connecting

// The libcudart that the program has loaded, major * 1000; 0: none.
uint32_t loaded_runtime_version() {
  uint32_t version = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        const std::string_view path = info->dlpi_name;
        constexpr std::string_view kName = "libcudart.so.";
        const size_t at = path.rfind(kName);
        if (at == std::string_view::npos) return 0;
        *static_cast<uint32_t*>(data) =
            static_cast<uint32_t>(std::atoi(path.data() + at + kName.size())) * 1000;
        return 1;
      },
      &version);
  return version;
}

transport::ChannelOptions channel_options() {
  transport::ChannelOptions options;
  if (const auto spin = environment("FARCALL_SPIN"); !spin.empty()) {
    if (const auto mode = parse_spin_mode(spin)) {
      options.wait.mode = *mode;
    } else {
      log::warning("FARCALL_SPIN={}: it is auto, never or always", spin);
    }
  }
  return options;
}

rpc::ConnectionOptions connection_options() {
  const auto blocking = environment("CUDA_LAUNCH_BLOCKING");
  return {.batching = environment("FARCALL_BATCH") != "off",
          .blocking = !blocking.empty() && blocking != "0"};
}

// A Session, or nullptr with the reason in a sentence and a CUresult.
Session* connect(const std::string& text, std::string* problem, int* result) {
  *result = CUDA_ERROR_NO_DEVICE;
  const auto url = transport::parse_url(text);
  if (!url.ok()) {
    *problem = "that is no URL of a server";
    return nullptr;
  }
  auto channel = transport::connect(*url, kConnectTimeout, channel_options());
  if (!channel.ok()) {
    *problem =
        channel.status() == Status::kTimeout ? "nobody answers there" : "nobody listens there";
    return nullptr;
  }
  rpc::HelloAnswer answer = rpc::say_hello(
      **channel,
      [](rpc::schema::Hello::Builder hello) {
        hello.setCudaVersion(CUDA_VERSION);
        hello.setRuntimeVersion(loaded_runtime_version());
        hello.setProgram(program_invocation_short_name);
        if (const char* devices = std::getenv("CUDA_VISIBLE_DEVICES")) {
          hello.setVisibleDevices(devices);
        }
        if (const char* order = std::getenv("CUDA_DEVICE_ORDER")) hello.setDeviceOrder(order);
      },
      Deadline::after(kHelloTimeout));
  if (!answer.accepted()) {
    *problem = answer.problem;
    *result = answer.result;
    return nullptr;
  }
  try {
    return new Session(channel.take(), answer.reader(), connection_options());
  } catch (const kj::Exception&) {
    *problem = "its answer to the hello doesn't decode";
  }
  return nullptr;
}

void log_failure(Process& self, const std::string& url, const std::string& problem) {
  constexpr auto kFormat =
      "no CUDA device, because there is no server at {}: {}; set FARCALL_SERVER or use farcall run "
      "--server";
  if (!self.failure_logged) {
    log::error(kFormat, url, problem);
  } else {
    log::debug(kFormat, url, problem);
  }
  self.failure_logged = true;
}

Session* connect_once(int* error) noexcept {
  Process& self = process();
  const std::lock_guard guard(self.connecting);
  if (Session* const session = current_session.load()) return session;
  if (forked) {
    *error = CUDA_ERROR_NOT_INITIALIZED;
    log_fork();
    return nullptr;
  }
  const uint64_t start = now_ns();
  if (self.failed_at_ns != 0 && start - self.failed_at_ns < kRetryAfterNs) {
    *error = self.failed_result;
    return nullptr;
  }
  try {
    log::set_name("client");
    self.stats_path = stats_path();
    if (!self.fork_handlers_set) {
      // Kept for the process's life, as this library is (-z nodelete).
      ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
      self.fork_handlers_set = true;
    }
    const auto wanted = environment("FARCALL_SERVER");
    const std::string url(wanted.empty() ? kDefaultServer : wanted);
    std::string problem;
    Session* const session = connect(url, &problem, error);
    if (session != nullptr) {
      self.startup.ns = now_ns() - start;
      self.startup.server = url;
      current_session.store(session, std::memory_order_release);
      return session;
    }
    log_failure(self, url, problem);
  } catch (const std::exception& exception) {  // out of memory, out of threads
    log::error("connecting: {}", exception.what());
    *error = CUDA_ERROR_OUT_OF_MEMORY;
  }
  self.failed_at_ns = now_ns();
  self.failed_result = *error;
  return nullptr;
}

// --- Threads

// States of threads that have ended, with their lane: the next thread goes on with it, so that a
// program that starts a thread for every task doesn't use up lanes on the server.
struct Lanes {
  std::mutex mutex;
  std::vector<ThreadState*> free;
  uint32_t count = 0;
  pthread_key_t at_thread_end = 0;
};

void end_thread(void* state);

Lanes& lanes() {
  static Lanes* const instance = [] {
    auto* const made = new Lanes;
    ::pthread_key_create(&made->at_thread_end, end_thread);
    return made;
  }();
  return *instance;
}

// One load instead of a call into the dynamic linker; eight bytes of the space that it keeps for
// libraries that are loaded late.
__attribute__((tls_model("initial-exec"))) thread_local ThreadState* this_thread = nullptr;

// Later than the thread's C++ destructors. Other keys' may still call us: they get a new state, and
// the C library comes back for it.
void end_thread(void* state) {
  auto* const thread = static_cast<ThreadState*>(state);
  this_thread = nullptr;
  // The server has been told of this lane's mode: no other thread gets the lane.
  if (thread->capture_mode != CU_STREAM_CAPTURE_MODE_GLOBAL) return;
  ThreadState fresh;
  fresh.lane.id = thread->lane.id;
  // The lane's streams live on the server, for the next thread.
  std::copy(std::begin(thread->per_thread_stream), std::end(thread->per_thread_stream),
            std::begin(fresh.per_thread_stream));
  fresh.per_thread_stream_of_context = std::move(thread->per_thread_stream_of_context);
  *thread = std::move(fresh);
  const std::lock_guard guard(lanes().mutex);
  lanes().free.push_back(thread);
}

__attribute__((noinline)) ThreadState& start_thread() {
  Lanes& all = lanes();
  {
    const std::lock_guard guard(all.mutex);
    if (!all.free.empty()) {
      this_thread = all.free.back();
      all.free.pop_back();
    } else {
      this_thread = new ThreadState;
      this_thread->lane.id = ++all.count;
    }
  }
  this_thread->device = default_device().load(std::memory_order_relaxed);
  ::pthread_setspecific(all.at_thread_end, this_thread);
  return *this_thread;
}

// --- The beginning and the end

// Calls are counted from the first one on, though most of the environment is read at the connect.
__attribute__((constructor)) void library_loaded() {
  detail::instrumented =
      !environment("FARCALL_STATS").empty() || environment("FARCALL_LOG") == "trace";
}

// As a destructor of this library it comes after the program's static destructors and atexit
// functions, and after those of every library that uses us.
__attribute__((destructor)) void program_ends() {
  Session* const session = current_session.load();
  if (session == nullptr) return;
  const rpc::ConnectionStats stats = session->connection().stats();
  session->connection().say_goodbye();
  const Process& self = process();
  if (!self.stats_path.empty()) write_stats(self.stats_path, stats_json(stats, self.startup));
}

}  // namespace

ThreadState& thread_state() {
  ThreadState* const thread = this_thread;
  return thread != nullptr ? *thread : start_thread();
}

std::atomic<int>& default_device() {
  static std::atomic<int> device{0};
  return device;
}

Session* session(int* error) {
  Session* const session = current_session.load(std::memory_order_acquire);
  return session != nullptr ? session : connect_once(error);
}

Session* session_if_connected() { return current_session.load(std::memory_order_acquire); }

}  // namespace farcall::client
