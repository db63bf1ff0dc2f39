// Kernels that go wrong. raise_fault() abandons the block that runs on this thread by jumping to
// its worker, so what runs between run_guarded() and a fault must not own anything. Memory that
// nobody mapped raises SIGSEGV or SIGBUS: a handler turns that into the same jump on threads that
// run device code, and passes it on everywhere else.
#pragma once

#include <functional>
#include <string>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// A lane of the warp's current instruction did what it must not. `detail` may be null. Of an
// access: what the instruction was about, if it does not say so itself (Op::access).
[[noreturn]] void raise_fault(Warp& warp, const Op& op, int lane, Fault::Kind kind, u64 address,
                              const char* detail, u64 bytes = 0,
                              Access access = Access::kOfInstruction);

struct FaultPlace {
  const Op* op = nullptr;
  int lane = -1;  // -1: not known
  Fault::Kind kind{};
  u64 address = 0;
  const char* detail = nullptr;
  u64 bytes = 0;
  Access access = Access::kOfInstruction;
};
// The message for the log: kernel, block, thread, PTX line, source line, address.
Fault describe_fault(const Warp& warp, const FaultPlace& place);

// Where a thread runs device code: sets up the alternate stack and the handler for as long as it
// exists.
class DeviceCodeScope {
 public:
  DeviceCodeScope();
  ~DeviceCodeScope();
  DeviceCodeScope(const DeviceCodeScope&) = delete;
  DeviceCodeScope& operator=(const DeviceCodeScope&) = delete;

  // Runs body(argument). True: it returned; false: it faulted, and *fault says how. *warp is the
  // warp that runs, kept up to date by the body.
  bool run_guarded(void (*body)(void*), void* argument, Warp* const volatile* warp, Fault* fault);

  struct State;  // defined beside the signal handler

 private:
  State* state_;
};

// The first engine of the process puts the signal handlers in place, the last one takes them away.
class SignalHandlers {
 public:
  SignalHandlers();
  ~SignalHandlers();
  SignalHandlers(const SignalHandlers&) = delete;
  SignalHandlers& operator=(const SignalHandlers&) = delete;
  // Others may have installed theirs over ours: be first again, with theirs as the one to pass on
  // to.
  static void ensure_installed();
};

}  // namespace farcall::softgpu
