#include "server/ordered_copies.h"

#include <algorithm>

#include "server/driver_table.h"
#include "server/relaxed_capture.h"

namespace farcall::server {
namespace {

CUstream one_name(CUstream stream) { return stream == CU_STREAM_LEGACY ? nullptr : stream; }

}  // namespace

CUresult OrderedCopies::add(CUstream stream) {
  const std::lock_guard lock(mutex_);
  stream = one_name(stream);
  const RelaxedCapture relaxed(driver_);
  drop_completed();
  const auto known = std::find_if(copies_.begin(), copies_.end(),
                                  [stream](const Copy& copy) { return copy.stream == stream; });
  CopyEvent event;
  const CUresult result = staging_.record(stream, &event);
  if (result != CUDA_SUCCESS) return result;
  if (known != copies_.end()) {
    staging_.release_event(std::exchange(known->event, event));
  } else {
    copies_.push_back({stream, event});
    empty_.store(false, std::memory_order_release);
  }
  return CUDA_SUCCESS;
}

void OrderedCopies::make_wait(CUstream stream) {
  if (driver_.cuStreamWaitEvent == nullptr) return;
  const std::lock_guard lock(mutex_);
  stream = one_name(stream);
  if (std::all_of(copies_.begin(), copies_.end(),
                  [stream](const Copy& copy) { return copy.stream == stream; })) {
    return;
  }
  const RelaxedCapture relaxed(driver_);
  drop_completed();
  if (copies_.empty()) return;
  // What a stream captures now runs when its graph is launched, in a stream that comes by here.
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  if (driver_.cuStreamIsCapturing != nullptr &&
      (driver_.cuStreamIsCapturing(stream, &status) != CUDA_SUCCESS ||
       status != CU_STREAM_CAPTURE_STATUS_NONE)) {
    return;
  }
  for (const Copy& copy : copies_) {
    if (copy.stream == stream) continue;
    // An error would be the stream's, and the call that follows reports it.
    (void)driver_.cuStreamWaitEvent(stream, copy.event.event, 0);
  }
}

void OrderedCopies::forget(CUcontext context) {
  const std::lock_guard lock(mutex_);
  std::erase_if(copies_, [context](const Copy& copy) { return copy.event.context == context; });
  empty_.store(copies_.empty(), std::memory_order_release);
}

void OrderedCopies::drop_completed() {
  std::erase_if(copies_, [this](const Copy& copy) {
    if (driver_.cuEventQuery(copy.event.event) == CUDA_ERROR_NOT_READY) return false;
    staging_.release_event(copy.event);
    return true;
  });
  empty_.store(copies_.empty(), std::memory_order_release);
}

}  // namespace farcall::server
