#include "softgpu/driver/device_output.h"

#include <cstdio>

namespace farcall::softgpu {

void DeviceOutput::append(std::string_view text, bool is_stderr) {
  bool full;
  {
    std::lock_guard lock(mutex_);
    if (pieces_.empty() || pieces_.back().is_stderr != is_stderr) {
      pieces_.push_back({{}, is_stderr});
    }
    pieces_.back().text += text;
    bytes_ += text.size();
    full = bytes_ > buffered_max_;
  }
  if (full) flush();
}

void DeviceOutput::flush() {
  std::lock_guard flushing(flush_mutex_);
  std::vector<Piece> pieces;
  {
    std::lock_guard lock(mutex_);
    pieces.swap(pieces_);
    bytes_ = 0;
  }
  for (const Piece& piece : pieces) {
    std::fwrite(piece.text.data(), 1, piece.text.size(), piece.is_stderr ? stderr : stdout);
  }
}

}  // namespace farcall::softgpu
