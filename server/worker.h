// The session inside a gpu-worker: frames in, CUDA calls, answers out.
//
// Threads. One of a small pool is the leader: it alone reads frames, and makes the calls in the
// order in which they come, so that there is one total order. Before it makes a call that may wait
// for the GPU and that a client thread waits for, it copies the frame and offers the lead. Nothing
// more happens as long as the client sends nothing more, which is the rule for programs with one
// active thread: the leader makes the call, answers it, and takes the lead back, without a switch
// of threads. When other frames arrive meanwhile, the watcher (the thread that called run()) gives
// the lead to another thread of the pool. So waiting never holds up another thread's calls.
//
// Lanes. Which client thread a call belongs to and which context is current there comes along in
// lane switches; each pool thread remembers what it last made current and changes it only when it
// differs. While a stream captures, the lead stays where it is: captures belong to the thread that
// began them.
//
// The watcher also notices the client's end, even while every other thread is stuck in the driver,
// and SIGTERM. How a session ends is decided once, whoever comes first, and returned by run(); the
// process should end soon after, with threads possibly still in the driver.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "rpc/answer_writer.h"
#include "rpc/frame.h"
#include "rpc/handle_table.h"
#include "server/call_context.h"
#include "server/captured_copies.h"
#include "server/driver_table.h"
#include "server/host_functions.h"
#include "server/image_store.h"
#include "server/links.h"
#include "server/nvml.h"
#include "server/ordered_copies.h"
#include "server/output_capture.h"
#include "server/pending_copies.h"
#include "server/runtime_table.h"
#include "server/shares.h"
#include "server/staging.h"
#include "server/visible_memory.h"
#include "transport/channel.h"

namespace farcall::server {

struct SessionEnd {
  std::string reason;
  bool faulted = false;
};

class Worker {
 public:
  struct Setup {
    transport::Channel& channel;  // the hello is done
    const DriverTable& driver;
    const RuntimeTable& runtime;
    std::string runtime_problem;  // empty: there is a runtime
    Nvml::Setup nvml;
    std::string image_store;  // folder; empty: images stay in memory
    uint64_t image_store_bytes_max = 0;
    UniqueFd output;                         // of OutputCapture::redirect
    int terminate_fd = -1;                   // a signalfd: readable means that the daemon ends us
    std::atomic<uint64_t>* calls = nullptr;  // counted for the daemon
    std::span<const DispatchEntry> dispatch = dispatch_table();
  };
  explicit Worker(Setup setup);
  ~Worker();  // joins its threads: only after run(), and only when none is stuck in the driver
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  SessionEnd run();

  // --- For CallContext and handlers/; any thread -----------------------------------------------
  const DriverTable& driver() const { return setup_.driver; }
  const RuntimeTable& runtime() const { return setup_.runtime; }
  rpc::HandleTable& handles() { return handles_; }
  rpc::AnswerWriter& answers() { return answers_; }
  ImageStore& images() { return images_; }
  Links& links() { return links_; }
  Shares& shares() { return shares_; }
  Staging& staging() { return staging_; }
  PendingCopies& pending_copies() { return pending_copies_; }
  OrderedCopies& ordered_copies() { return ordered_copies_; }
  CapturedCopies& captured_copies() { return captured_copies_; }
  HostFunctions& host_functions() { return host_functions_; }
  Nvml& nvml() { return nvml_; }
  VisibleMemory& visible_memory() { return visible_memory_; }

  // The context behind a primary_context_id, retained on first use; nullptr: no such device.
  CUcontext primary_context(int device);
  // The context is gone, or was reset: forget whatever belongs to it.
  void context_gone(CUcontext context);
  void primary_context_gone(int device);
  // cuThreadExchangeStreamCaptureMode of the client thread whose call this is.
  void set_capture_mode(int mode);
  // The calling thread's current context is no longer what the lane says.
  void current_context_unknown();

  // A chunk of staging, if need be after sending what waits in others. nullptr: there is none.
  std::byte* staging_chunk();

  // Output and completed copies go out ahead of an answer that ends a wait.
  void before_answer(bool waited);
  void keep_async_failure(uint16_t call, int result);
  rpc::AsyncFailure take_async_failure();

  // The client broke the protocol: tells it why and ends the session. The caller goes on to the end
  // of its call.
  void violation(std::string sentence);

 private:
  struct PoolThread;

  void lead(PoolThread& self);
  void pool_main(PoolThread& self);
  // False: another thread leads now.
  bool make_call(PoolThread& self, const rpc::Frame& frame);
  void dispatch(PoolThread& self, const DispatchEntry* entry, const rpc::Frame& frame);
  void enter_context(PoolThread& self, rpc::HandleId context);
  void note_capture(const CallContext& call, const rpc::Frame& frame);
  void permit_unsafe_calls();
  bool make_blocking_call(PoolThread& self, const DispatchEntry& entry, const rpc::Frame& frame);
  bool offer_lead();
  bool take_lead_back();
  void promote();
  void watch_for_frames(bool on);

  void end(std::string reason, bool faulted);
  void end_of_stream(Status status);
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  void log_once(uint16_t call, const std::string& sentence);

  Setup setup_;
  rpc::HandleTable handles_;
  rpc::AnswerWriter answers_;
  Staging staging_;
  PendingCopies pending_copies_;
  OrderedCopies ordered_copies_;
  CapturedCopies captured_copies_;
  VisibleMemory visible_memory_;
  ImageStore images_;
  Links links_;
  Shares shares_;
  OutputCapture output_;
  HostFunctions host_functions_;
  Nvml nvml_;
  StagingPlacer placer_;
  rpc::FrameReader reader_;  // the leader's

  std::mutex contexts_mutex_;
  std::vector<CUcontext> primary_contexts_;
  // Counts what may change a thread's current context behind its back.
  std::atomic<uint64_t> context_epoch_ = 1;

  std::atomic<uint64_t> async_failure_ = 0;  // call << 32 | result; 0: none

  rpc::LaneSwitch lane_;  // the leader's
  // Streams that capture, all of them begun on the leader's thread, and by which client thread.
  struct Capture {
    rpc::HandleId stream;
    uint32_t lane;
    int mode;
  };
  std::vector<Capture> captures_;                    // the leader's, as the next two
  std::unordered_map<uint32_t, int> capture_modes_;  // by lane; those that aren't GLOBAL
  bool unsafe_calls_permitted_ = false;  // by the leader's thread, while there are captures
  enum class Lead : uint8_t { kHeld, kOffered };
  std::atomic<Lead> lead_ = Lead::kHeld;

  std::mutex pool_mutex_;
  std::condition_variable pool_wakes_;
  std::deque<std::unique_ptr<PoolThread>> pool_;
  size_t idle_count_ = 0;
  bool lead_is_free_ = false;

  UniqueFd epoll_, wake_;
  std::mutex end_mutex_;
  std::condition_variable end_wakes_;
  SessionEnd end_;
  std::atomic<bool> ended_ = false;

  std::mutex logged_mutex_;
  std::set<uint16_t> logged_;
};

}  // namespace farcall::server
