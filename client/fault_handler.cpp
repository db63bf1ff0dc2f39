#include "client/fault_handler.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <mutex>

#include "base/log.h"

namespace farcall::client {
namespace {

// Handlers that came before ours, or took its place, oldest first. They are never forgotten: one
// that was installed over ours may call ours in turn, which then goes on with the one before.
constexpr int kOthersMax = 16;

struct Handlers {
  std::mutex mutex;  // of whoever installs
  struct sigaction others[kOthersMax] = {};
  std::atomic<int> count = 0;
  std::atomic<FaultAnswer> answer = nullptr;
};

Handlers& handlers() {
  static Handlers* const instance = new Handlers;  // leaked: see program.h
  return *instance;
}

// The signal that this thread passes on: to tell a handler that calls ours from another signal.
struct Passing {
  const void* info = nullptr;
  uintptr_t frame = 0;
  int next = 0;
};
__attribute__((tls_model("initial-exec"))) thread_local Passing passing;
__attribute__((tls_model("initial-exec"))) thread_local bool answering = false;

bool is_fetch_of_code([[maybe_unused]] const ucontext_t* context) {
#ifdef __x86_64__
  return (context->uc_mcontext.gregs[REG_ERR] & 16) != 0;
#else
  return false;
#endif
}

bool is_write([[maybe_unused]] const ucontext_t* context) {
#ifdef __x86_64__
  return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
  return false;  // found out when the page, open for reading, faults again
#endif
}

void pass_on(int signal, siginfo_t* info, void* context) {
  Handlers& all = handlers();
  const auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const Passing outer = passing;
  // A handler that we called calls us: deeper in the same signal.
  const bool nested = outer.info == info && frame < outer.frame;
  const int level = nested ? outer.next : all.count.load(std::memory_order_acquire) - 1;
  const struct sigaction* const other = level >= 0 ? &all.others[level] : nullptr;
  if (other == nullptr || other->sa_handler == SIG_DFL || other->sa_handler == SIG_IGN) {
    // The instruction runs again and ends the program, as a fault that nobody handles does. One
    // that somebody sent would not come again.
    struct sigaction fatal = {};
    fatal.sa_handler = SIG_DFL;
    ::sigaction(signal, &fatal, nullptr);
    if (info->si_code <= 0) ::raise(signal);
    return;
  }
  passing = {info, frame, level - 1};
  if ((other->sa_flags & SA_SIGINFO) != 0) {
    other->sa_sigaction(signal, info, context);
  } else {
    other->sa_handler(signal);
  }
  passing = outer;
}

void on_signal(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const auto* const where = static_cast<const ucontext_t*>(context);
  // A fault while we answer one would be ours to fix, not to answer.
  if (info->si_code > 0 && !answering && !is_fetch_of_code(where)) {
    answering = true;
    const bool answered = handlers().answer.load(std::memory_order_acquire)(
        reinterpret_cast<uint64_t>(info->si_addr), is_write(where));
    answering = false;
    if (answered) {
      errno = error;
      return;
    }
  }
  errno = error;
  pass_on(signal, info, context);
}

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_signal;
}

}  // namespace

void handle_faults(FaultAnswer answer) {
  struct sigaction present = {};
  if (::sigaction(SIGSEGV, nullptr, &present) != 0 || is_ours(present)) return;
  Handlers& all = handlers();
  const std::lock_guard lock(all.mutex);
  all.answer.store(answer, std::memory_order_release);
  struct sigaction mine = {};
  mine.sa_sigaction = on_signal;
  mine.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigemptyset(&mine.sa_mask);
  if (::sigaction(SIGSEGV, &mine, &present) != 0 || is_ours(present)) return;
  int count = all.count.load(std::memory_order_relaxed);
  if (count == kOthersMax) {
    log::warning("the program changes its SIGSEGV handler often; only the latest is called");
    count = kOthersMax - 1;
  }
  all.others[count] = present;
  all.count.store(count + 1, std::memory_order_release);
}

}  // namespace farcall::client
