// Runs asynchronous work: a graph of operations, each of which starts when all operations it comes
// after are done. Streams, events and CUDA graphs are only different ways to say what comes after
// what.
//
// Operations that do something run on a pool of threads which grows while all of its threads are
// busy, since an operation may block (a host function, a kernel that spins until another stream
// sets a flag). An operation that does nothing (an event, a join) never costs a thread: it is done
// at the moment its last predecessor is. A thread that finishes an operation goes on with a
// successor itself, so a stream's work stays on one thread. A thread that waits for an operation
// nobody has begun with carries it out itself if that makes no difference: waking another one costs
// more than a short kernel.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace farcall::softgpu {

using TimePoint = std::chrono::steady_clock::time_point;

class Operation {
 public:
  bool done() const { return done_.load(std::memory_order_acquire); }
  void wait() const { done_.wait(false, std::memory_order_acquire); }
  TimePoint finished_at() const { return finished_at_; }  // once done()

 private:
  friend class Scheduler;
  std::function<void()> run_;
  bool anywhere_ = false;
  unsigned waits_for_ = 0;                              // guarded by Scheduler::mutex_
  std::vector<std::shared_ptr<Operation>> successors_;  // guarded by Scheduler::mutex_
  // Of an operation that does nothing and comes after one other; guarded by Scheduler::mutex_.
  std::shared_ptr<Operation> only_predecessor_;
  TimePoint finished_at_;
  std::atomic<bool> done_ = false;
};
using OperationRef = std::shared_ptr<Operation>;

class Scheduler {
 public:
  // Threads are detached and live until the process ends, so a Scheduler must too.
  Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // `run` may be empty. `after` may hold nullptrs and operations that are done.
  // `anywhere`: it may run on the thread of a caller of wait(), and not only on one of ours.
  OperationRef submit(std::function<void()> run, std::span<const OperationRef> after,
                      bool anywhere = false);
  void wait(const OperationRef& operation);
  // An operation that the caller carries out: done when it says so.
  OperationRef claim() { return std::make_shared<Operation>(); }
  void complete(const OperationRef& claimed);

 private:
  void finish(Operation& operation, std::vector<OperationRef>* runnable);
  void start(std::vector<OperationRef> runnable);
  void run_thread();
  OperationRef take_for_waiter(const OperationRef& operation);

  std::mutex mutex_;  // guards the edges of the graph and what follows
  std::condition_variable work_;
  std::deque<OperationRef> queue_;
  unsigned threads_ = 0, idle_ = 0;
  unsigned waking_ = 0;  // idle ones that were told to look and have not yet
};

}  // namespace farcall::softgpu
