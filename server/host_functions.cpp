#include "server/host_functions.h"

namespace farcall::server {

HostFunctions::HostFunctions(const DriverTable& driver, rpc::AnswerWriter& answers,
                             std::function<void()> before)
    : driver_(driver), answers_(answers), before_(std::move(before)) {}

HostFunctions::~HostFunctions() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  sender_wakes_.notify_all();
  streams_wake_.notify_all();
  if (sender_.joinable()) sender_.join();
}

CUresult HostFunctions::launch(uint64_t id, CUstream stream, bool with_status) {
  if (driver_.cuLaunchHostFunc == nullptr || driver_.cuStreamAddCallback == nullptr ||
      driver_.cuStreamIsCapturing == nullptr) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  if (const CUresult bad = driver_.cuStreamIsCapturing(stream, &capture)) return bad;
  Function* const function = keep(id, capture == CU_STREAM_CAPTURE_STATUS_NONE);
  const CUresult result = with_status
                              ? driver_.cuStreamAddCallback(stream, run_with_status, function, 0)
                              : driver_.cuLaunchHostFunc(stream, run, function);
  if (result != CUDA_SUCCESS) forget(function);
  return result;
}

CUDA_HOST_NODE_PARAMS HostFunctions::node(uint64_t id) {
  CUDA_HOST_NODE_PARAMS params = {};
  params.fn = run;
  params.userData = keep(id, /*last=*/false);
  return params;
}

CUDA_HOST_NODE_PARAMS HostFunctions::destructor(uint64_t id, std::function<void()> gone) {
  CUDA_HOST_NODE_PARAMS params = {};
  params.fn = run_destructor;
  Function* const function = keep(id, /*last=*/true);
  function->gone = std::move(gone);
  params.userData = function;
  return params;
}

void HostFunctions::forget(const CUDA_HOST_NODE_PARAMS& params) {
  forget(static_cast<const Function*>(params.userData));
}

uint64_t HostFunctions::id_of(const CUDA_HOST_NODE_PARAMS& params) {
  return params.fn == run ? static_cast<const Function*>(params.userData)->id : 0;
}

HostFunctions::Function* HostFunctions::keep(uint64_t id, bool last) {
  auto owned = std::make_unique<Function>(Function{this, id, nullptr, last, nullptr});
  Function* const function = owned.get();
  (void)driver_.cuCtxGetCurrent(&function->context);
  const std::lock_guard lock(mutex_);
  functions_[function] = std::move(owned);
  if (!sender_.joinable()) sender_ = std::thread([this] { send(); });
  return function;
}

void HostFunctions::forget(const Function* function) {
  const std::lock_guard lock(mutex_);
  functions_.erase(function);
}

void CUDA_CB HostFunctions::run(void* function) {
  auto* const self = static_cast<Function*>(function);
  self->owner->hold_stream(self, CUDA_SUCCESS);
}

void CUDA_CB HostFunctions::run_destructor(void* function) {
  auto* const self = static_cast<Function*>(function);
  HostFunctions* const owner = self->owner;
  self->gone();
  const std::lock_guard lock(owner->mutex_);
  owner->due_.push_back({*self, owner->next_occasion_++, CUDA_SUCCESS});
  owner->functions_.erase(self);
  owner->sender_wakes_.notify_one();
}

void CUDA_CB HostFunctions::run_with_status(CUstream, CUresult status, void* function) {
  auto* const self = static_cast<Function*>(function);
  self->owner->hold_stream(self, status);
}

// On a thread of the driver's.
void HostFunctions::hold_stream(Function* function, int result) {
  std::unique_lock lock(mutex_);
  const uint32_t occasion = next_occasion_++;
  under_way_.insert(occasion);
  due_.push_back({*function, occasion, result});
  sender_wakes_.notify_one();
  streams_wake_.wait(lock, [&] { return stop_ || !under_way_.contains(occasion); });
  if (function->last) functions_.erase(function);
}

void HostFunctions::send() {
  std::unique_lock lock(mutex_);
  for (;;) {
    sender_wakes_.wait(lock, [this] { return stop_ || !due_.empty(); });
    if (stop_) return;
    const Due due = due_.front();
    due_.pop_front();
    lock.unlock();
    (void)driver_.cuCtxSetCurrent(due.function.context);
    before_();
    // A connection that is gone ends the session elsewhere.
    (void)answers_.host_function(
        due.function.id, due.occasion, due.result,
        due.function.last ? rpc::kHostFunctionLast : rpc::kHostFunctionAgain);
    (void)answers_.flush();
    lock.lock();
  }
}

void HostFunctions::returned(uint32_t occasion) {
  {
    const std::lock_guard lock(mutex_);
    under_way_.erase(occasion);
  }
  streams_wake_.notify_all();
}

void HostFunctions::never(uint64_t id) {
  (void)answers_.host_function(id, 0, 0, rpc::kHostFunctionNever);
  (void)answers_.flush();
}

}  // namespace farcall::server
