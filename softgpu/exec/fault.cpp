#include "softgpu/exec/fault.h"

#include <fmt/format.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include <cstring>
#include <memory>
#include <mutex>

#include "base/log.h"
#include "softgpu/exec/describe.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

struct DeviceCodeScope::State {
  sigjmp_buf jump;
  volatile bool running = false;
  // Written before the jump.
  int signal = 0;
  u64 signal_address = 0;
  FaultPlace place;
};

namespace {

// Read in a signal handler on any thread: initial-exec, so that the access never allocates.
[[gnu::tls_model("initial-exec")]] thread_local DeviceCodeScope::State* current_state = nullptr;

constexpr int kSignals[] = {SIGSEGV, SIGBUS};
struct sigaction previous_actions[2];  // when ours was last installed
struct sigaction original_actions[2];  // when it was first
// The signal that this thread passes on, and where; a handler may leave by a jump.
struct Passing {
  const siginfo_t* info = nullptr;
  uintptr_t frame = 0;
};
[[gnu::tls_model("initial-exec")]] thread_local Passing passing;
std::mutex installation_mutex;
int installation_count = 0;

// To whoever had the signal before us.
void pass_on(int signal, siginfo_t* info, void* context) {
  // A handler that came between may pass on to ours again: then to the one before both.
  const auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const Passing outer = passing;
  const bool again = outer.info == info && frame < outer.frame;
  const struct sigaction& previous =
      (again ? original_actions : previous_actions)[signal == SIGSEGV ? 0 : 1];
  const bool with_info = (previous.sa_flags & SA_SIGINFO) != 0;
  if (with_info || (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)) {
    passing = {info, frame};
    if (with_info)
      previous.sa_sigaction(signal, info, context);
    else
      previous.sa_handler(signal);
    passing = outer;
    return;
  }
  // The default action, at the same instruction: the core dump shows the real place.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal, &standard, nullptr);
  if (info->si_code <= 0) raise(signal);  // was sent, will not come again by itself
}

void on_signal(int signal, siginfo_t* info, void* context) {
  DeviceCodeScope::State* const state = current_state;
  if (state == nullptr || !state->running || info->si_code <= 0)
    return pass_on(signal, info, context);
  state->running = false;
  state->signal = signal;
  state->signal_address = reinterpret_cast<u64>(info->si_addr);
  // A handler before ours, which passed the signal on, may run with signals blocked.
  pthread_sigmask(SIG_SETMASK, &static_cast<ucontext_t*>(context)->uc_sigmask, nullptr);
  siglongjmp(state->jump, 1);
}

void install(int index) {
  struct sigaction ours {};
  ours.sa_sigaction = on_signal;
  // SA_NODEFER: the jump out of the handler leaves no blocked signal behind.
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(kSignals[index], &ours, &previous_actions[index]);
}
bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_signal;
}

// A stack for signal handlers: kernels may have been called on a small stack, and others' handlers
// may need it.
class AlternateStack {
 public:
  AlternateStack() {
    stack_t existing{};
    if (sigaltstack(nullptr, &existing) != 0 || (existing.ss_flags & SS_DISABLE) == 0) return;
    memory_ = std::make_unique<char[]>(kBytes);
    stack_t ours{};
    ours.ss_sp = memory_.get();
    ours.ss_size = kBytes;
    sigaltstack(&ours, nullptr);
  }
  ~AlternateStack() {
    if (!memory_) return;
    stack_t existing{};
    sigaltstack(nullptr, &existing);
    if (existing.ss_sp != memory_.get()) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  static constexpr size_t kBytes = 64 << 10;
  std::unique_ptr<char[]> memory_;
};

const char* describe(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::kIllegalAddress:
      return "illegal address";
    case Fault::Kind::kMisaligned:
      return "misaligned address";
    case Fault::Kind::kTrap:
      return "trap";
    case Fault::Kind::kAssert:
      return "assertion failed";
    case Fault::Kind::kIllegalInstruction:
      return "illegal instruction";
    case Fault::Kind::kStackOverflow:
      return "stack overflow";
    case Fault::Kind::kDeadlock:
      return "deadlock";
    case Fault::Kind::kTimeout:
      return "timeout";
    case Fault::Kind::kStopped:
      return "stopped";
  }
  return "fault";
}

// The active lane whose access covers the address that the processor complained about; -1: none.
int find_lane(const Warp& warp, const Op& op, u64 address) {
  constexpr u64 kAccessMax = 64;
  const u32 mask = warp.current_mask;
  if (__builtin_popcount(mask) == 1) return __builtin_ctz(mask);
  if (op.a == kNoSlot || op.flags > static_cast<u8>(AddressKind::kParam)) return -1;
  int found = -1;
  u64 nearest = kAccessMax;
  for_each_lane(mask, [&](int lane) {
    const u64 start = lane_address(warp, static_cast<AddressKind>(op.flags), op.a, op.imm, lane);
    if (address - start < nearest) {
      nearest = address - start;
      found = lane;
    }
  });
  return found;
}

}  // namespace

Fault describe_fault(const Warp& warp, const FaultPlace& place) {
  const Block& block = *warp.block;
  const Op& op = *place.op;
  const std::string& kernel = block.kernel->info.name;
  const std::string where = describe_place(*block.kernel, op);
  const bool has_address =
      place.kind == Fault::Kind::kIllegalAddress || place.kind == Fault::Kind::kMisaligned;
  Fault fault{place.kind, {}, place.address};
  fault.title = describe(place.kind);

  fault.message =
      fmt::format("{} in kernel {}, block {}", fault.title, kernel, describe_block(block));
  std::string thread;
  if (place.lane >= 0) {
    thread = describe_thread(block, warp.index * kLanes + static_cast<u32>(place.lane));
    fault.message += ", thread " + thread;
  }
  if (!where.empty()) fault.message += ", " + where;
  fault.details.push_back(describe_code(*block.kernel, op));
  fault.details.push_back(
      thread.empty()
          ? fmt::format("in block {} of kernel {}", describe_block(block), demangle(kernel))
          : fmt::format("by thread {} in block {} of kernel {}", thread, describe_block(block),
                        demangle(kernel)));
  if (has_address) {
    const std::string access = describe_access(op, place.access, place.bytes);
    const std::string there = describe_address(warp, op, place.lane, place.address);
    fault.message += fmt::format(": address {:#x}", place.address);
    if (!access.empty()) fault.message += fmt::format(" ({})", access);
    if (!there.empty()) fault.message += ": " + there;
    if (!access.empty()) {
      fault.title = fmt::format(
          "{} {}", place.kind == Fault::Kind::kMisaligned ? "misaligned" : "invalid", access);
    }
    fault.details.push_back(
        fmt::format("address {:#x}{}{}", place.address, there.empty() ? "" : " is ", there));
  }
  if (place.detail != nullptr) {
    fault.message += fmt::format(": {}", place.detail);
    fault.details.emplace_back(place.detail);
  }
  return fault;
}

void raise_fault(Warp&, const Op& op, int lane, Fault::Kind kind, u64 address, const char* detail,
                 u64 bytes, Access access) {
  DeviceCodeScope::State* const state = current_state;
  state->running = false;
  state->signal = 0;
  state->place = {&op, lane, kind, address, detail, bytes, access};
  siglongjmp(state->jump, 1);
}

DeviceCodeScope::DeviceCodeScope() : state_(new State) {
  thread_local AlternateStack stack;
  // Without an access the compiler would not construct it.
  asm volatile("" : : "r"(&stack) : "memory");
}

DeviceCodeScope::~DeviceCodeScope() { delete state_; }

bool DeviceCodeScope::run_guarded(void (*body)(void*), void* argument, Warp* const volatile* warp,
                                  Fault* fault) {
  State* const outer = current_state;
  current_state = state_;
  // No signal mask is saved: device code does not change it, and a signal's handler restores it.
  if (sigsetjmp(state_->jump, 0) == 0) {
    state_->running = true;
    body(argument);
    state_->running = false;
    current_state = outer;
    return true;
  }
  current_state = outer;
  const Warp& at = **warp;
  if (state_->signal == 0) {
    *fault = describe_fault(at, state_->place);
    return false;
  }
  FaultPlace place;
  place.op = at.current;
  place.lane = find_lane(at, *place.op, state_->signal_address);
  place.kind = Fault::Kind::kIllegalAddress;
  place.address = state_->signal_address;
  if (place.lane < 0) place.detail = "outside of what the instruction names";
  *fault = describe_fault(at, place);
  return false;
}

SignalHandlers::SignalHandlers() {
  const std::lock_guard lock(installation_mutex);
  if (installation_count++ > 0) return;
  for (int i = 0; i < 2; ++i) {
    install(i);
    original_actions[i] = previous_actions[i];
  }
}

SignalHandlers::~SignalHandlers() {
  const std::lock_guard lock(installation_mutex);
  if (--installation_count > 0) return;
  for (int i = 0; i < 2; ++i) {
    struct sigaction now {};
    sigaction(kSignals[i], nullptr, &now);
    // Who came after us keeps our handler as theirs to pass on to; it passes on in turn.
    if (is_ours(now)) sigaction(kSignals[i], &previous_actions[i], nullptr);
  }
}

void SignalHandlers::ensure_installed() {
  struct sigaction now {};
  sigaction(SIGSEGV, nullptr, &now);
  if (is_ours(now)) return;
  const std::lock_guard lock(installation_mutex);
  for (int i = 0; i < 2; ++i) {
    sigaction(kSignals[i], nullptr, &now);
    if (!is_ours(now)) install(i);
  }
}

}  // namespace farcall::softgpu
