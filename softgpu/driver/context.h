// A CUDA context: what belongs together and ends together on one device. It orders the work of its
// streams (the legacy stream waits for all blocking streams and they for it), and it remembers the
// first fault of a kernel: from then on nothing runs in it any more and every call gives that
// error, until the context is destroyed or, a primary one, reset. The primary context of a device
// is one object for ever, active while it is retained.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "softgpu/driver/device_output.h"
#include "softgpu/driver/driver.h"
#include "softgpu/driver/stream.h"
#include "softgpu/driver/work.h"

namespace farcall::softgpu {

struct NodeContent;
class DeviceHeap;

class Context : public std::enable_shared_from_this<Context> {
 public:
  // Makes its handle; not active yet if it is a primary one.
  static ContextRef create(Device& device, bool primary, unsigned flags);
  ~Context();

  Device& device() const { return device_; }
  CUcontext handle() const { return handle_; }
  uint64_t id() const { return id_; }
  bool primary() const { return primary_; }
  bool active() const { return active_.load(std::memory_order_acquire); }

  std::atomic<unsigned> flags;
  std::atomic<CUfunc_cache> cache_config = CU_FUNC_CACHE_PREFER_NONE;
  std::atomic<CUsharedconfig> shared_config = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
  static constexpr size_t kLimits = CU_LIMIT_MAX;
  std::array<std::atomic<size_t>, kLimits> limits;

  // Primary contexts: how often retained. The first retain activates, the last release ends.
  CUresult retain();
  CUresult release();
  int retained() const { return retained_.load(); }
  // Ends the work there is: what is nearly done may finish, kernels that go on are stopped. Then
  // frees whatever belongs to the context. It may become active again only if it is a primary one.
  void shut_down();
  const std::atomic<bool>& stopped() const { return stop_; }  // kernels shall end

  // Of malloc() in kernels. INVALID_VALUE: too late, one has called it.
  DeviceHeap& heap() { return *heap_; }
  CUresult set_heap_bytes(size_t bytes);

  // Faults: the first one counts and is logged.
  CUresult failure() const { return failure_.load(std::memory_order_acquire); }
  void fail(CUresult error, const std::string& message);

  // Streams.
  StreamRef legacy_stream() { return {shared_from_this(), &legacy_}; }
  StreamRef per_thread_stream(uint64_t thread);
  StreamRef create_stream(unsigned stream_flags, int priority);
  void forget_stream(Stream& stream);  // its work goes on
  void thread_ends(uint64_t thread);

  // Appends to the stream's work, or to the graph if it is being captured: then `describe`, if not
  // empty, fills in what a graph node tells of itself. `launched`, if not nullptr, gets the
  // operation, or nullptr if captured.
  using Describe = std::function<void(NodeContent& content)>;
  CUresult submit(Stream& stream, Work work, const Describe& describe = {},
                  OperationRef* launched = nullptr);
  // Appends to the stream's work, captured or not. Work that does nothing is a marker.
  OperationRef enqueue(Stream& stream, Work work, std::span<const OperationRef> also_after = {});
  // Appends to the stream's work and waits for it. If it is its turn already, it runs on this
  // thread.
  CUresult run_now(Stream& stream, Work work);
  // Appends many operations at once: `expand` gets what must be done before them, submits them with
  // submit_operation() and returns the one that is done last.
  using Expand = std::function<OperationRef(std::span<const OperationRef> after)>;
  OperationRef enqueue_many(Stream& stream, const Expand& expand);
  OperationRef submit_operation(Work work, std::span<const OperationRef> after);

  // Waits for everything submitted so far and gives out what kernels printed.
  CUresult synchronize();
  OperationRef join();  // done when everything submitted so far is
  // Everything submitted from now on comes after the operation.
  void wait_everywhere(const OperationRef& operation);
  // Has the stream nothing left to do? For the legacy stream that includes what it would wait for.
  bool idle(const Stream& stream);
  // Waits for one operation, like synchronize().
  CUresult wait_for(const OperationRef& operation);

  std::mutex peers_mutex;
  std::vector<Context*> peers;  // guarded by peers_mutex: cuCtxEnablePeerAccess

 private:
  Context(Device& device, bool primary, unsigned flags);
  void activate();
  void end_work();
  std::vector<OperationRef> predecessors(const Stream& stream);  // order_mutex_ is held
  void add_stream(const StreamRef& stream);                      // order_mutex_ is held
  std::vector<OperationRef> all_tails();
  void remove_objects();

  Device& device_;
  const bool primary_;
  const uint64_t id_;
  CUcontext handle_ = nullptr;
  std::atomic<bool> active_ = false;
  std::atomic<int> retained_ = 0;
  std::atomic<CUresult> failure_ = CUDA_SUCCESS;
  std::atomic<bool> stop_ = false;
  std::unique_ptr<DeviceHeap> heap_;  // while active
  std::mutex lifecycle_mutex_;        // retain, release, shut_down

  std::mutex order_mutex_;  // guards the streams' tails and what follows
  Stream legacy_;
  std::vector<StreamRef> streams_;  // created by the program, and per-thread ones
  std::unordered_map<uint64_t, StreamRef> per_thread_;
  std::vector<OperationRef> orphans_;  // the last operations of streams that are gone
  OperationRef before_new_streams_;    // what streams made from now on begin after
};

}  // namespace farcall::softgpu
