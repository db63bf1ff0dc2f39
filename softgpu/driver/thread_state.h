// What CUDA keeps per thread of the program: the stack of current contexts, the capture mode, and
// whether this call came through a _ptsz/_ptds entry point.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "softgpu/driver/api.h"

namespace farcall::softgpu {

class Context;

struct ThreadState {
  uint64_t number = 0;                             // never used twice
  std::vector<std::shared_ptr<Context>> contexts;  // the last is current
  CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  bool per_thread_default_stream = false;
  const void* caller =
      nullptr;             // an address in its code; only valid where ApiCall::from() is called
  int host_functions = 0;  // running on this thread for a stream
};

// Made at a thread's first call. A thread that ends gives it back; that of the main thread stays to
// the end of the process, since calls come even after static destructors have run.
ThreadState& this_thread();

}  // namespace farcall::softgpu
