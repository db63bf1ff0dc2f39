// Functions of the program that streams call: cudaLaunchHostFunc, cudaStreamAddCallback, and their
// like in graphs.
//
// The function stays here and gets an id; the stream, on the server, gets one of the server's in
// its place, which tells us when it is its turn and holds the stream until we answer that the
// program's has returned. One thread of ours, made with the first function, calls them in the order
// in which streams come to them. It also reads the connection while no other thread does, so a
// program that waits for a flag which its function sets, and makes no CUDA call meanwhile, goes on.
//
// A stream that waits for a function of the program must not keep the server from hearing that it
// has returned. The server takes one call after another, so while functions may be under way: calls
// that wait for the GPU inside the driver are waited for here, which lets the server go on with
// other calls, and what copies may pile up on the server is limited (make_room).
#pragma once

#include <cuda.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

// One of the two is set.
struct HostFunction {
  CUhostFn function = nullptr;
  CUstreamCallback callback = nullptr;
  CUstream stream = nullptr;  // as the program named it; for `callback`
  void* data = nullptr;
  // Of a user object, with this id: no stream waits for it.
  rpc::HandleId user_object = 0;
};

// What the process knows of them; part of Program. Any thread.
class FARCALL_API HostFunctions {
 public:
  // Some function may be under way.
  bool pending() const { return pending_.load(std::memory_order_relaxed) > 0; }

  uint64_t add(Session& session, const HostFunction& function);
  void remove(uint64_t id);  // it could not be enqueued
  bool find(uint64_t id, HostFunction* out);
  // Before `bytes` of a copy are posted. May wait until the current context is idle. A CUresult.
  int make_room(Session& session, size_t bytes);

 private:
  void call_them(Session& session);
  void call(Session& session, const rpc::HostFunctionDue& due);

  void note_pending();

  std::atomic<size_t> pending_ = 0;     // in functions_, for which streams may wait
  std::atomic<uint64_t> piled_up_ = 0;  // bytes posted since the last wait
  std::mutex mutex_;                    // guards what follows
  uint64_t next_id_ = 1;
  std::condition_variable wakes_;
  std::unordered_map<uint64_t, HostFunction> functions_;
  size_t user_objects_ = 0;  // in functions_
  bool started_ = false;     // the thread
};

// `stream` is a wire id. Results are CUresults.
FARCALL_API int launch_host_function(Session& session, rpc::HandleId stream,
                                     const HostFunction& function);

}  // namespace farcall::client
