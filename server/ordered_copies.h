// Keeps a promise of CUDA's synchronous copies to the device without waiting for them. The program
// was told that such a copy is done, so whatever it puts into any stream afterwards must see the
// bytes. In the copy's own stream, and in streams that the legacy default stream waits for and is
// waited for by, the driver sees to it; others (non-blocking streams, the default streams of other
// threads) are made to wait for the copy's event, on the GPU, when a later call names them. Any
// thread.
#pragma once

#include <cuda.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "server/staging.h"

namespace farcall::server {

class OrderedCopies {
 public:
  OrderedCopies(const DriverTable& driver, Staging& staging) : driver_(driver), staging_(staging) {}

  // An ordered copy has been enqueued in `stream`.
  CUresult add(CUstream stream);
  // A call is about to use the stream.
  void before_use(CUstream stream) {
    if (!empty_.load(std::memory_order_acquire)) make_wait(stream);
  }

  void forget(CUcontext context);

 private:
  struct Copy {
    CUstream stream;
    CopyEvent event;  // of the newest copy there
  };
  void make_wait(CUstream stream);
  void drop_completed();

  const DriverTable& driver_;
  Staging& staging_;
  std::mutex mutex_;
  std::vector<Copy> copies_;  // one for each stream that has had any lately
  std::atomic<bool> empty_ = true;
};

}  // namespace farcall::server
