#include "server/pending_copies.h"

#include "server/driver_table.h"
#include "server/relaxed_capture.h"

namespace farcall::server {

CUresult PendingCopies::add(const Piece& piece, CUstream stream) {
  CopyEvent event;
  const CUresult result = staging_.record(stream, &event);
  if (result != CUDA_SUCCESS) {
    give_back(piece);
    return result;
  }
  const std::lock_guard lock(mutex_);
  streams_[stream].push_back({piece, event, next_age_++});
  return CUDA_SUCCESS;
}

void PendingCopies::send_completed() {
  const std::lock_guard lock(mutex_);
  if (streams_.empty()) return;
  const RelaxedCapture relaxed(driver_);
  for (auto it = streams_.begin(); it != streams_.end();) {
    std::deque<Entry>& entries = it->second;
    while (!entries.empty()) {
      const CUresult result = driver_.cuEventQuery(entries.front().event.event);
      if (result == CUDA_ERROR_NOT_READY) break;
      send_and_free(entries.front(), result);
      entries.pop_front();
    }
    it = entries.empty() ? streams_.erase(it) : std::next(it);
  }
}

bool PendingCopies::send_oldest() {
  const std::lock_guard lock(mutex_);
  auto oldest = streams_.end();
  for (auto it = streams_.begin(); it != streams_.end(); ++it) {
    if (oldest == streams_.end() || it->second.front().age < oldest->second.front().age) {
      oldest = it;
    }
  }
  if (oldest == streams_.end()) return false;
  const Entry entry = oldest->second.front();
  const RelaxedCapture relaxed(driver_);
  send_and_free(entry, driver_.cuEventSynchronize(entry.event.event));
  oldest->second.pop_front();
  if (oldest->second.empty()) streams_.erase(oldest);
  return true;
}

bool PendingCopies::empty() {
  const std::lock_guard lock(mutex_);
  return streams_.empty();
}

void PendingCopies::forget(CUcontext context) {
  const std::lock_guard lock(mutex_);
  for (auto it = streams_.begin(); it != streams_.end();) {
    std::erase_if(it->second, [&](const Entry& entry) {
      if (entry.event.context != context) return false;
      give_back(entry.piece);
      return true;
    });
    it = it->second.empty() ? streams_.erase(it) : std::next(it);
  }
}

// After an error there are no bytes. The client hears that none will come.
void PendingCopies::send_and_free(const Entry& entry, CUresult result) {
  const Piece& piece = entry.piece;
  if (result == CUDA_SUCCESS) {
    // A client that is gone is noticed by whoever reads from it.
    (void)answers_.data(piece.sequence, piece.call, piece.offset, {piece.chunk, piece.bytes});
  } else {
    (void)answers_.async_error(piece.sequence, {.call = piece.call, .result = int(result)});
  }
  staging_.release_event(entry.event);
  give_back(piece);
}

void PendingCopies::give_back(const Piece& piece) {
  if (piece.owner == nullptr) staging_.release(piece.chunk);
}

}  // namespace farcall::server
