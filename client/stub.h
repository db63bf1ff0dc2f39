// What every generated stub is made of. docs/internals/generated-code.md shows a stub of each class
// whole.
#pragma once

#include <cuda.h>
#include <driver_types.h>

#include <atomic>
#include <type_traits>
#include <utility>

#include "base/error_log.h"
#include "client/session.h"
#include "client/visible_memory.h"
#include "rpc/message.h"

namespace farcall::client {

// What failed lately, for programs that ask: each stub that fails adds a line.
FARCALL_API ErrorLog& error_log();

namespace detail {

// Someone wants to know of every call: FARCALL_STATS, FARCALL_LOG=trace.
extern FARCALL_API std::atomic<bool> instrumented;
FARCALL_API void note_call(rpc::Opcode op, int result, const ThreadState& thread,
                           uint64_t remote_calls_before, uint64_t cached_answers_before) noexcept;
// What the runtime API does before a thread's first call: the primary context of the thread's
// device becomes current.
FARCALL_API void enter_primary_context(ThreadState& thread) noexcept;
inline void note_last_error(ThreadState& thread, int result) {
  if (result != 0 && result != CUDA_ERROR_NOT_READY) thread.last_error = result;  // an answer
}
// A line for cuLogs* and cudaLogs*.
FARCALL_API void note_failure(rpc::Opcode op, int result) noexcept;
// Inside catch (...): what the exception means for the caller. Results that don't decode end the
// session.
FARCALL_API int result_of_exception(rpc::Opcode op) noexcept;
FARCALL_API void log_not_supported(const char* name, const char* reason) noexcept;

template <class R>
constexpr bool kIsRuntime = std::is_same_v<R, cudaError_t>;

// Counts and traces around a body, and remembers a failure of the runtime API.
template <class R, class Body>
int run_body(rpc::Opcode op, ThreadState& thread, Body&& body) noexcept {
  const uint64_t remote_calls = thread.remote_calls, cached_answers = thread.cached_answers;
  int result;
  try {
    result = body();
  } catch (...) {
    result = result_of_exception(op);
  }
  if (result != 0) [[unlikely]]
    note_failure(op, result);
  if (instrumented.load(std::memory_order_relaxed)) [[unlikely]] {
    note_call(op, result, thread, remote_calls, cached_answers);
  }
  return result;
}

}  // namespace detail

// Runs a stub's body: connects on first use, counts, traces (FARCALL_LOG=trace), keeps exceptions
// inside. For the runtime API (R = cudaError_t) it also makes the primary context of the thread's
// device current and records a failure as the thread's last error.
//   body: int(Session&)
template <class R, class Body>
R enter(rpc::Opcode op, Body&& body) noexcept {
  ThreadState& thread = thread_state();
  const int result = detail::run_body<R>(op, thread, [&]() -> int {
    if (thread.in_host_function) [[unlikely]]
      return CUDA_ERROR_NOT_PERMITTED;
    int error = 0;
    Session* const connected = session(&error);
    if (connected == nullptr) return error;
    if constexpr (detail::kIsRuntime<R>) {
      if (thread.lane.context == 0) [[unlikely]]
        detail::enter_primary_context(thread);
    }
    return body(*connected);
  });
  if constexpr (detail::kIsRuntime<R>) {
    detail::note_last_error(thread, result);
  }
  return static_cast<R>(result);
}

// The same for functions that are answered without a session (class `local`): no connection is
// made.
//   body: R()
template <class R, class Body>
R enter_local(rpc::Opcode op, Body&& body) noexcept {
  ThreadState& thread = thread_state();
  R answer{};
  const int result = detail::run_body<R>(op, thread, [&]() -> int {
    answer = body();
    if constexpr (std::is_enum_v<R>) return static_cast<int>(answer);
    return 0;
  });
  if constexpr (std::is_enum_v<R>) answer = static_cast<R>(result);  // of an exception, maybe
  if constexpr (detail::kIsRuntime<R>) {
    // These two return the last error; that is no failure of theirs.
    const bool tells_last_error =
        op == rpc::Opcode::k_cudaGetLastError || op == rpc::Opcode::k_cudaPeekAtLastError;
    if (!tells_last_error) detail::note_last_error(thread, result);
  }
  return answer;
}

// An exported function that nobody implemented: logs its name once, returns NOT_SUPPORTED (801 in
// both APIs).
template <class R>
R not_supported(const char* name, const char* reason) noexcept {
  detail::log_not_supported(name, reason);
  if constexpr (std::is_enum_v<R>) {
    if constexpr (detail::kIsRuntime<R>) thread_state().last_error = CUDA_ERROR_NOT_SUPPORTED;
    return static_cast<R>(CUDA_ERROR_NOT_SUPPORTED);
  } else {
    return R();
  }
}

// A remoted call of the calling thread. In a context that a fault has broken, a call that nobody
// waits for is still made (a free must reach the server) but gives the context's error, as CUDA
// does.
class Call : public rpc::CallWriter {
 public:
  Call(Session& session, rpc::Opcode op) : Call(prepared(session, op), op, thread_state()) {}
  ~Call() noexcept(false) { closed(); }

  int post() { return checked(CallWriter::post()); }
  int post(rpc::DataSink sink) { return checked(CallWriter::post(sink)); }
  // Of a call that makes an object, in a context that was sound when its id was minted
  // (broken_context): once the call is out the id is the server's, whatever happens meanwhile.
  int post_creation() { return CallWriter::post(); }
  // Of a call for which the driver may wait for the GPU: nobody waits, unless a function of the
  // program is under way, for which the GPU may wait in turn (client/host_functions.h).
  FARCALL_API int post_blocking();
  rpc::Reply wait() { return noted(CallWriter::wait()); }
  rpc::Reply wait(rpc::DataSink sink) { return noted(CallWriter::wait(sink)); }

 private:
  Call(Session& session, rpc::Opcode op, ThreadState& thread)
      : rpc::CallWriter(session.connection(), op, thread.lane),
        session_(session),
        thread_(thread),
        op_(op),
        context_(thread.lane.context) {
    ++thread.remote_calls;
    thread.call_open = true;
  }
  // Before the batch is locked.
  static Session& prepared(Session& session, rpc::Opcode op) {
    if (memory_is_visible()) [[unlikely]]
      detail::before_call(session, op);
    return session;
  }
  // It has its place in the order of calls.
  void closed() const {
    thread_.call_open = false;
    if (thread_.work_open) [[unlikely]]
      detail::work_is_ordered(thread_);
  }
  int checked(int result) const {
    closed();
    return result != 0 ? result : session_.sticky_error(context_);
  }
  rpc::Reply noted(rpc::Reply reply) const {
    closed();
    if (memory_is_visible()) [[unlikely]]
      detail::after_wait(session_, op_);
    if (reply.result() != 0) [[unlikely]]
      session_.note_result(context_, reply.result());
    return reply;
  }

  Session& session_;
  ThreadState& thread_;
  const rpc::Opcode op_;
  const rpc::HandleId context_;
};

// What a fault has left in the thread's context; 0: nothing. A call that nobody waits for and that
// makes an object is not sent to a broken context: its id would be free for the program and yet in
// use at the server, where not all objects need a sound context.
inline int broken_context(Session& session) {
  return session.sticky_error(thread_state().lane.context);
}

// A `cached` call: arguments are built aside, looked up, and sent only if the answer is not known.
class FARCALL_API CachedCall {
 public:
  CachedCall(Session& session, rpc::Opcode op);
  ~CachedCall() noexcept(false);
  template <class T>
  typename T::Builder args() {
    return message_.builder().template initRoot<T>();
  }
  rpc::Reply wait();

 private:
  Session& session_;
  const rpc::Opcode op_;
  rpc::ScratchMessage<> message_;
};

// Handles the program gives us are ids we minted.
template <class Handle>
rpc::HandleId id_of(Handle handle) {
  return reinterpret_cast<rpc::HandleId>(handle);
}
template <class Handle>
Handle handle_from(rpc::HandleId id) {
  return reinterpret_cast<Handle>(id);
}
// Streams: 0, 1 and 2 keep their meaning; with `per_thread_default` (the _ptsz and _ptds entry
// points) 0 means 2, and 2 becomes the stream of this lane, created on first use.
FARCALL_API rpc::HandleId stream_id(Session& session, const void* stream, bool per_thread_default);

}  // namespace farcall::client
