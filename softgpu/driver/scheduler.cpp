#include "softgpu/driver/scheduler.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>
#include <thread>

#include "base/log.h"

namespace farcall::softgpu {
namespace {

// As many kernels as current devices run at a time; more operations wait in the queue.
constexpr unsigned kThreadsMax = 128;

// While one lives, new threads start with the program's signals blocked: those are for the
// program's own threads. A fault of the thread itself can't be blocked usefully.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t signals;
    sigfillset(&signals);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
      sigdelset(&signals, fault);
    }
    pthread_sigmask(SIG_SETMASK, &signals, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

OperationRef Scheduler::submit(std::function<void()> run, std::span<const OperationRef> after,
                               bool anywhere) {
  auto operation = std::make_shared<Operation>();
  operation->anywhere_ = anywhere;
  operation->run_ = std::move(run);
  {
    std::lock_guard lock(mutex_);
    for (const OperationRef& predecessor : after) {
      if (predecessor == nullptr || predecessor->done()) continue;
      predecessor->successors_.push_back(operation);
      const bool first = operation->waits_for_++ == 0;
      operation->only_predecessor_ = first && !operation->run_ ? predecessor : nullptr;
    }
    if (operation->waits_for_ > 0) return operation;
  }
  std::vector<OperationRef> runnable;
  if (operation->run_) {
    runnable.push_back(operation);
  } else {
    finish(*operation, &runnable);
  }
  start(std::move(runnable));
  return operation;
}

void Scheduler::complete(const OperationRef& claimed) {
  std::vector<OperationRef> runnable;
  finish(*claimed, &runnable);
  start(std::move(runnable));
}

// Marks the operation done and all successors that have nothing to run; appends those that have to
// *runnable.
void Scheduler::finish(Operation& operation, std::vector<OperationRef>* runnable) {
  operation.run_ = nullptr;  // what it held, it holds no longer
  std::vector<OperationRef> released;
  {
    std::lock_guard lock(mutex_);
    std::vector<OperationRef> finished;
    Operation* current = &operation;
    for (;;) {
      current->finished_at_ = std::chrono::steady_clock::now();
      if (current->only_predecessor_ != nullptr)
        released.push_back(std::move(current->only_predecessor_));
      current->done_.store(true, std::memory_order_release);
      current->done_.notify_all();
      for (OperationRef& successor : current->successors_) {
        if (--successor->waits_for_ > 0) continue;
        (successor->run_ ? *runnable : finished).push_back(successor);
      }
      for (OperationRef& successor : current->successors_) released.push_back(std::move(successor));
      current->successors_.clear();
      if (finished.empty()) break;
      released.push_back(std::move(finished.back()));
      finished.pop_back();
      current = released.back().get();
    }
  }
}

void Scheduler::start(std::vector<OperationRef> runnable) {
  if (runnable.empty()) return;
  unsigned wanted = 0;
  {
    std::lock_guard lock(mutex_);
    for (OperationRef& operation : runnable) {
      queue_.push_back(std::move(operation));
      if (waking_ >= idle_ || waking_ >= queue_.size()) continue;
      ++waking_;
      work_.notify_one();
    }
    const unsigned room = kThreadsMax - threads_;
    wanted = queue_.size() > idle_ ? std::min<unsigned>(queue_.size() - idle_, room) : 0;
    threads_ += wanted;
  }
  BlockSignals blocked;
  for (; wanted > 0; --wanted) {
    try {
      std::thread([this] { run_thread(); }).detach();
    } catch (const std::system_error& error) {  // the threads there are will do the work, later
      log::error("cannot start a thread for a stream: {}", error.what());
      std::lock_guard lock(mutex_);
      --threads_;
    }
  }
}

// What has to be done for `operation`, if that is in the queue and may run on any thread.
OperationRef Scheduler::take_for_waiter(const OperationRef& operation) {
  std::lock_guard lock(mutex_);
  const Operation* wanted = operation.get();
  while (wanted->only_predecessor_ != nullptr) wanted = wanted->only_predecessor_.get();
  if (!wanted->anywhere_) return nullptr;
  auto found = std::find_if(queue_.begin(), queue_.end(), [wanted](const OperationRef& queued) {
    return queued.get() == wanted;
  });
  if (found == queue_.end()) return nullptr;
  OperationRef taken = std::move(*found);
  queue_.erase(found);
  return taken;
}

void Scheduler::wait(const OperationRef& operation) {
  if (operation->done()) return;
  if (OperationRef taken = take_for_waiter(operation)) {
    taken->run_();
    complete(taken);
  }
  operation->wait();
}

void Scheduler::run_thread() {
  pthread_setname_np(pthread_self(), "softgpu-stream");
  for (;;) {
    OperationRef operation;
    {
      std::unique_lock lock(mutex_);
      ++idle_;
      while (queue_.empty()) {
        work_.wait(lock);
        if (waking_ > 0) --waking_;
      }
      --idle_;
      operation = std::move(queue_.front());
      queue_.pop_front();
    }
    while (operation != nullptr) {
      operation->run_();
      std::vector<OperationRef> runnable;
      finish(*operation, &runnable);
      operation = nullptr;
      if (runnable.empty()) break;
      operation = std::move(runnable.front());
      runnable.erase(runnable.begin());
      start(std::move(runnable));
    }
  }
}

}  // namespace farcall::softgpu
