// What kernels print. It is kept until the program waits for the device, as with NVIDIA's driver,
// so that it comes at the same place among the program's own lines in every run; then it goes
// through C's stdout, like those.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::softgpu {

class DeviceOutput {
 public:
  void append(std::string_view text, bool is_stderr);
  void flush();
  // CUDA's limit of the buffer. Where NVIDIA's driver drops the oldest lines beyond it, this one
  // writes them at once.
  void set_limit(size_t bytes) { buffered_max_ = bytes; }

 private:
  struct Piece {
    std::string text;
    bool is_stderr;
  };
  std::mutex flush_mutex_;  // keeps the pieces of two flushes in order; taken before mutex_
  std::mutex mutex_;
  std::vector<Piece> pieces_;  // guarded by mutex_
  size_t bytes_ = 0;           // guarded by mutex_
  std::atomic<size_t> buffered_max_ = size_t{1} << 20;
};

}  // namespace farcall::softgpu
