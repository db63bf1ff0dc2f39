#include "softgpu/driver/event.h"

#include <chrono>
#include <thread>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/ipc.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

CUresult find_event(CUevent handle, std::shared_ptr<Event>* out) {
  *out = driver().events.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

constexpr unsigned kEventFlags =
    CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;

}  // namespace

void Event::record(State state) {
  uint64_t ticket = 0;
  if (shared != nullptr && state.capture == nullptr) {
    ticket = shared->begin();
    state.operation = context_->device().driver().scheduler.submit(
        [shared = shared, ticket] { shared->complete(ticket); }, {&state.operation, 1});
  }
  std::lock_guard lock(mutex_);
  state_ = std::move(state);
  own_ticket_ = ticket;
}

bool Event::foreign(uint64_t* ticket) const {
  if (shared == nullptr) return false;
  *ticket = shared->recorded();
  std::lock_guard lock(mutex_);
  return *ticket != own_ticket_;
}

bool Event::done() const {
  if (uint64_t ticket; foreign(&ticket)) return shared->done(ticket);
  const State now = state();
  return now.operation == nullptr || now.operation->done();
}

OperationRef Event::to_wait_for() const {
  uint64_t ticket;
  if (!foreign(&ticket)) return state().operation;
  if (shared->done(ticket)) return nullptr;
  // A thread looks again and again; the process that does the work may also have died.
  return context_->device().driver().scheduler.submit(
      [shared = shared, ticket, context = context_] {
        while (!shared->done(ticket) && context->failure() == CUDA_SUCCESS) {
          std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
      },
      {});
}

CUresult api::cuEventCreate(CUevent* out, unsigned flags) {
  if (out == nullptr || (flags & ~kEventFlags) != 0 ||
      ((flags & CU_EVENT_INTERPROCESS) != 0 && (flags & CU_EVENT_DISABLE_TIMING) == 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  auto event = std::make_shared<Event>(context, flags);
  if ((flags & CU_EVENT_INTERPROCESS) != 0) {
    if (CUresult error = SharedEvent::create(context->device().ordinal, &event->shared)) {
      return error;
    }
  }
  *out = event->handle = driver().events.insert(event);
  return CUDA_SUCCESS;
}

// Who waits for it already goes on waiting for the operation.
CUresult api::cuEventDestroy_v2(CUevent handle) {
  std::shared_ptr<Event> event = driver().events.remove(handle);
  return event != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult api::cuEventDestroy(CUevent handle) { return api::cuEventDestroy_v2(handle); }

CUresult api::cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned flags) {
  std::shared_ptr<Event> event;
  if (CUresult error = find_event(handle, &event)) return error;
  StreamRef stream;
  if (CUresult error = find_stream(stream_handle, &stream)) return error;
  if ((flags & ~unsigned{CU_EVENT_RECORD_EXTERNAL}) != 0) return CUDA_ERROR_INVALID_VALUE;
  if (&event->context() != &stream->context()) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = check_legacy_during_capture(*stream)) return error;
  if (std::shared_ptr<Capture> capture = stream->capture()) {
    if ((flags & CU_EVENT_RECORD_EXTERNAL) != 0) {
      NodeContent content;
      content.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD;
      content.event = event;
      return capture->record(*stream, std::move(content));
    }
    Event::State state;
    state.capture = capture;
    if (CUresult error = capture->position(*stream, &state.position)) return error;
    event->record(std::move(state));
    return CUDA_SUCCESS;
  }
  Context& context = stream->context();
  event->record({context.enqueue(*stream, {}), context.shared_from_this(), nullptr, {}});
  return CUDA_SUCCESS;
}

CUresult api::cuEventRecord(CUevent event, CUstream stream) {
  return api::cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_DEFAULT);
}

CUresult api::cuEventQuery(CUevent handle) {
  std::shared_ptr<Event> event;
  if (CUresult error = find_event(handle, &event)) return error;
  const Event::State state = event->state();
  if (state.capture != nullptr) return CUDA_ERROR_CAPTURED_EVENT;
  if (!event->done()) return CUDA_ERROR_NOT_READY;
  return event->context().failure();
}

CUresult api::cuEventSynchronize(CUevent handle) {
  std::shared_ptr<Event> event;
  if (CUresult error = find_event(handle, &event)) return error;
  const Event::State state = event->state();
  if (state.capture != nullptr) {
    state.capture->invalidate();
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  return event->context().wait_for(event->to_wait_for());
}

CUresult api::cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
  if (milliseconds == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Event> first, second;
  if (CUresult error = find_event(start, &first)) return error;
  if (CUresult error = find_event(end, &second)) return error;
  const Event::State from = first->state(), to = second->state();
  if (from.capture != nullptr || to.capture != nullptr) return CUDA_ERROR_CAPTURED_EVENT;
  if (!first->timed() || !second->timed() || from.operation == nullptr || to.operation == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (CUresult error = first->context().failure()) return error;
  if (!from.operation->done() || !to.operation->done()) return CUDA_ERROR_NOT_READY;
  const std::chrono::duration<float, std::milli> elapsed =
      to.operation->finished_at() - from.operation->finished_at();
  *milliseconds = elapsed.count();
  return CUDA_SUCCESS;
}
CUresult api::cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return api::cuEventElapsedTime_v2(milliseconds, start, end);
}

}  // namespace farcall::softgpu
