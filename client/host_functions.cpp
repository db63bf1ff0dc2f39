#include "client/host_functions.h"

#include <thread>

#include "base/log.h"
#include "client/program.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::Opcode;

// A quarter of what the server's staging holds, and copies in both directions use it.
constexpr uint64_t kPiledUpBytesMax = uint64_t{64} << 20;

}  // namespace

uint64_t HostFunctions::add(Session& session, const HostFunction& function) {
  const std::lock_guard lock(mutex_);
  if (!started_) {  // never joined: functions may be called while the process exits
    std::thread([this, &session] { call_them(session); }).detach();
    started_ = true;
  }
  const uint64_t id = next_id_++;
  functions_[id] = function;
  if (function.user_object != 0) ++user_objects_;
  note_pending();
  wakes_.notify_one();
  return id;
}

void HostFunctions::remove(uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find(id);
  if (found == functions_.end()) return;
  if (found->second.user_object != 0) --user_objects_;
  functions_.erase(found);
  note_pending();
  if (!pending()) piled_up_.store(0, std::memory_order_relaxed);
}

void HostFunctions::note_pending() {
  pending_.store(functions_.size() - user_objects_, std::memory_order_relaxed);
}

bool HostFunctions::find(uint64_t id, HostFunction* out) {
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find(id);
  if (found == functions_.end()) return false;
  *out = found->second;
  return true;
}

int HostFunctions::make_room(Session& session, size_t bytes) {
  if (!pending() || program().graphs.capturing()) return CUDA_SUCCESS;
  const uint64_t before = piled_up_.fetch_add(bytes, std::memory_order_relaxed);
  if (before + bytes <= kPiledUpBytesMax) return CUDA_SUCCESS;
  piled_up_.store(bytes, std::memory_order_relaxed);
  Call call(session, Opcode::k_farcallContextSynchronize);
  call.args<schema::FarcallContextSynchronize>();
  return call.wait().result();
}

// The thread. While no function is there it sleeps, so that waits of the program read their answers
// themselves.
void HostFunctions::call_them(Session& session) {
  thread_state().in_host_function = true;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wakes_.wait(lock, [this] { return !functions_.empty(); });
    }
    const auto due = session.connection().next_host_function();
    if (!due) return;  // the session is lost: CUDA calls none of them any more
    call(session, *due);
  }
}

void HostFunctions::call(Session& session, const rpc::HostFunctionDue& due) {
  HostFunction function;
  {
    const std::lock_guard lock(mutex_);
    const auto found = functions_.find(due.id);
    if (found == functions_.end()) {
      session.connection().lose("the server called a host function that does not exist");
      return;
    }
    function = found->second;
  }
  if (due.aux == rpc::kHostFunctionNever) return remove(due.id);
  if (function.user_object != 0) {
    session.release(function.user_object);
    remove(due.id);
    return function.function(function.data);
  }
  // What the stream has done before, it may look at.
  if (memory_is_visible()) program().visible.after_progress(session, /*idle_after=*/0);
  if (function.callback != nullptr) {
    function.callback(function.stream, CUresult(due.result), function.data);
  } else {
    function.function(function.data);
  }
  if (due.aux == rpc::kHostFunctionLast) remove(due.id);
  {
    Call call(session, Opcode::k_farcallHostFunctionReturned);
    call.args<schema::FarcallHostFunctionReturned>().setOccasion(due.occasion);
    (void)call.post();
  }
  (void)session.connection().flush();  // a stream waits
}

int launch_host_function(Session& session, rpc::HandleId stream, const HostFunction& function) {
  if (function.function == nullptr && function.callback == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, stream, rpc::HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  HostFunctions& functions = program().host_functions;
  const uint64_t id = functions.add(session, function);
  // A capture keeps the function, which then may be called often, or refuses it now.
  const bool capturing = program().graphs.capturing();
  Call call(session, Opcode::k_farcallLaunchHostFunction);
  auto args = call.args<schema::FarcallLaunchHostFunction>();
  args.setId(id);
  args.setStream(stream);
  args.setWithStatus(function.callback != nullptr);
  if (!capturing) return call.post();
  rpc::Reply reply = call.wait();
  if (reply.own_result() != CUDA_SUCCESS) functions.remove(id);
  return reply.result();
}

}  // namespace farcall::client
