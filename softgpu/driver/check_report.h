// What the checkers found, for people: a block of lines on standard error for each finding, a
// summary when the process ends, and its exit status if FARCALL_SOFTGPU_CHECK_EXIT asks for one.
#pragma once

#include <cstdint>
#include <mutex>

#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

class Context;

class CheckReport {
 public:
  void add(const Finding& finding);
  // What the program allocated and did not free: `context` ends, or, nullptr, the process does.
  void add_leaks(const Context* context);
  // The summary. Returns how much was found.
  uint64_t finish();

 private:
  std::mutex mutex_;
  uint64_t findings_[3] = {};  // by CheckTool; guarded by mutex_, like what follows
  uint64_t repetitions_ = 0;
  uint64_t leaks_ = 0, leaked_bytes_ = 0;
};

}  // namespace farcall::softgpu
