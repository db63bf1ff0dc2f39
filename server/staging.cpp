#include "server/staging.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/log.h"
#include "server/driver_table.h"
#include "server/relaxed_capture.h"

namespace farcall::server {

Staging::Staging(const DriverTable& driver, size_t bytes_max)
    : driver_(driver), chunks_max_(std::max<size_t>(2, bytes_max / kChunkBytes)) {}

// Nothing is freed while the GPU may still use it: the process ends soon after us.
Staging::~Staging() {
  for (const Busy& busy : busy_) {
    all_.erase(std::remove(all_.begin(), all_.end(), busy.chunk), all_.end());
  }
  for (std::byte* chunk : all_) {
    if (std::find(pinned_.begin(), pinned_.end(), chunk) == pinned_.end()) {
      ::munmap(chunk, kChunkBytes);
    }
  }
}

std::byte* Staging::acquire() {
  std::unique_lock lock(mutex_);
  reclaim(lock, false);
  for (;;) {
    if (std::byte* chunk = take_free(lock)) return chunk;
    if (busy_.empty()) return nullptr;
    reclaim(lock, true);
  }
}

void Staging::release(std::byte* chunk) {
  const std::lock_guard lock(mutex_);
  free_.push_back(chunk);
}

void Staging::release_after(std::byte* chunk, CUstream stream) {
  CopyEvent event;
  if (record(stream, &event) != CUDA_SUCCESS) return release(chunk);
  const std::lock_guard lock(mutex_);
  busy_.push_back({chunk, event});
}

void Staging::pin(std::byte* chunk) {
  if (driver_.cuMemHostRegister_v2 == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    if (std::find(pinned_.begin(), pinned_.end(), chunk) != pinned_.end()) return;
    pinned_.push_back(chunk);  // also if that fails below: asking again would fail again
  }
  const RelaxedCapture relaxed(driver_);
  const CUresult result =
      driver_.cuMemHostRegister_v2(chunk, kChunkBytes, CU_MEMHOSTREGISTER_PORTABLE);
  if (result != CUDA_SUCCESS) log::debug("staging memory is not pinned: CUresult {}", int(result));
}

CUresult Staging::record(CUstream stream, CopyEvent* event) {
  CUresult result = driver_.cuCtxGetCurrent(&event->context);
  if (result != CUDA_SUCCESS) return result;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(events_.begin(), events_.end(), [&](const CopyEvent& other) {
      return other.context == event->context;
    });
    if (found != events_.end()) {
      *event = *found;
      events_.erase(found);
    }
  }
  if (event->event == nullptr) {
    result = driver_.cuEventCreate(&event->event, CU_EVENT_DISABLE_TIMING);
    if (result != CUDA_SUCCESS) return result;
  }
  result = driver_.cuEventRecord(event->event, stream);
  if (result != CUDA_SUCCESS) release_event(*event);
  return result;
}

void Staging::release_event(const CopyEvent& event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
}

void Staging::forget(CUcontext context) {
  const std::lock_guard lock(mutex_);
  std::erase_if(events_, [context](const CopyEvent& event) { return event.context == context; });
  std::erase_if(busy_, [this, context](const Busy& busy) {
    if (busy.event.context != context) return false;
    free_.push_back(busy.chunk);
    return true;
  });
  // Pinned through some context, perhaps this one; pinning again what is pinned does no harm.
  pinned_.clear();
}

std::byte* Staging::take_free(std::unique_lock<std::mutex>&) {
  if (free_.empty() && all_.size() < chunks_max_) {
    void* memory = ::mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    all_.push_back(static_cast<std::byte*>(memory));
    return all_.back();
  }
  if (free_.empty()) return nullptr;
  std::byte* chunk = free_.back();  // the one most likely in the cache
  free_.pop_back();
  return chunk;
}

// Frees the chunks whose copies are done; with `wait`, at least the oldest one.
void Staging::reclaim(std::unique_lock<std::mutex>& lock, bool wait) {
  if (busy_.empty()) return;
  const RelaxedCapture relaxed(driver_);
  std::deque<Busy> still;
  while (!busy_.empty()) {
    const Busy busy = busy_.front();
    busy_.pop_front();
    lock.unlock();
    // An error is the GPU's end, and then nothing reads the chunk any more.
    const CUresult result = wait ? driver_.cuEventSynchronize(busy.event.event)
                                 : driver_.cuEventQuery(busy.event.event);
    lock.lock();
    if (result == CUDA_ERROR_NOT_READY) {
      still.push_back(busy);
      break;  // the younger ones are not likely done either
    }
    wait = false;
    free_.push_back(busy.chunk);
    events_.push_back(busy.event);
  }
  busy_.insert(busy_.begin(), still.begin(), still.end());
}

Result<std::byte*> StagingPlacer::place(const rpc::Frame&, size_t bytes) {
  static_assert(Staging::kChunkBytes >= rpc::kPayloadBytesMax);
  assert(bytes <= Staging::kChunkBytes);
  for (;;) {
    if (std::byte* chunk = staging_.acquire()) return chunk;
    if (make_room_()) continue;
    log::error("no staging memory left for a payload of {} bytes", bytes);
    return Status::kQuota;
  }
}

}  // namespace farcall::server
