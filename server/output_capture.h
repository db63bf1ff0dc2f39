// Text that kernels print. A driver writes it to the process's stdout at the moments CUDA names
// (synchronization, a launch, ...); here stdout is a memfd, and what has arrived there is collected
// before each answer that ends a wait. Not a pipe: a driver that prints more than a pipe holds
// would wait for a reader that waits for it. stderr stays the worker's log.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>

#include "base/status.h"
#include "base/unique_fd.h"

namespace farcall::server {

class OutputCapture {
 public:
  // Puts a memfd in the place of `fd` (stdout) for the rest of the process's life.
  static Result<UniqueFd> redirect(int fd);
  // Without a file there is never anything to collect.
  explicit OutputCapture(UniqueFd file) : file_(std::move(file)) {}

  // Calls `sink` with all that was printed since the last time, in pieces. Any thread; pieces keep
  // their order. Returns when every piece printed before the call has gone to some sink.
  void collect(const std::function<void(std::string_view)>& sink);

 private:
  UniqueFd file_;
  std::mutex mutex_;
  int64_t collected_ = 0;  // bytes of the file
};

}  // namespace farcall::server
