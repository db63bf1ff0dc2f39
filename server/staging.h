// Host memory between the network and the GPU, in chunks of one payload. The receive path puts
// large payloads straight into a chunk; copies to the host land in one. A chunk that the GPU still
// reads or writes is busy until the event behind its copy has completed. Memory is taken when
// needed, kept, and never exceeds `bytes_max`; with none left, acquire() waits for the chunk that
// has been busy the longest, which is how a fast client is slowed to the GPU's pace.
//
// Chunks are registered with the driver (pinned) where it can; a context's end takes the
// registration but not the memory, so a chunk is always usable, only slower. Any thread.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "rpc/frame.h"
#include "rpc/wire.h"

namespace farcall::server {

struct DriverTable;

// An event of the context that was current when the chunk's copy was enqueued.
struct CopyEvent {
  CUcontext context = nullptr;
  CUevent event = nullptr;
};

class Staging {
 public:
  static constexpr size_t kChunkBytes = rpc::kPayloadBytesMax;

  Staging(const DriverTable& driver, size_t bytes_max);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // kChunkBytes bytes. nullptr: all are held by others, who don't wait for us.
  std::byte* acquire();
  // Nobody reads or writes it any more.
  void release(std::byte* chunk);
  // As soon as the work that was enqueued in `stream` up to now is done. With an error the copy
  // was not enqueued, or the GPU is lost; the chunk is free then.
  void release_after(std::byte* chunk, CUstream stream);

  // Pins the chunk, once; needs a current context.
  void pin(std::byte* chunk);

  // An event that has been recorded in `stream`; give it back with release_event().
  CUresult record(CUstream stream, CopyEvent* event);
  void release_event(const CopyEvent& event);

  // The context is going: its events and registrations go with it.
  void forget(CUcontext context);

 private:
  struct Busy {
    std::byte* chunk;
    CopyEvent event;
  };

  std::byte* take_free(std::unique_lock<std::mutex>& lock);
  void reclaim(std::unique_lock<std::mutex>& lock, bool wait);

  const DriverTable& driver_;
  const size_t chunks_max_;

  std::mutex mutex_;
  std::vector<std::byte*> all_, free_;
  std::vector<std::byte*> pinned_;
  std::deque<Busy> busy_;
  std::vector<CopyEvent> events_;
};

// Lets a FrameReader receive large payloads into staging.
class StagingPlacer final : public rpc::PayloadPlacer {
 public:
  // Smaller payloads are copied by the driver anyway while the call is made.
  static constexpr size_t kPlacedBytesMin = 64 * 1024;

  // make_room: gives chunks back that acquire() can't wait for; false: there is none.
  StagingPlacer(Staging& staging, std::function<bool()> make_room)
      : staging_(staging), make_room_(std::move(make_room)) {}
  Result<std::byte*> place(const rpc::Frame& frame, size_t bytes) override;

 private:
  Staging& staging_;
  const std::function<bool()> make_room_;
};

}  // namespace farcall::server
