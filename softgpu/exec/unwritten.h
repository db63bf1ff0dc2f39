// Which bytes of device memory nobody has written since they were allocated: one bit for each byte
// of the windows, set while unwritten. For initcheck; exists only while that is on.
#pragma once

#include <vector>

#include "softgpu/exec/types.h"

namespace farcall::softgpu {

class UnwrittenBytes {
 public:
  UnwrittenBytes() = default;
  ~UnwrittenBytes();
  UnwrittenBytes(const UnwrittenBytes&) = delete;
  UnwrittenBytes& operator=(const UnwrittenBytes&) = delete;

  // Before all that follows, which any thread may call. False: the host has no addresses left.
  bool add_window(u64 base, u64 bytes);

  // Addresses outside of the windows are ignored, and count as written.
  void set_unwritten(u64 address, u64 bytes);
  void set_written(u64 address, u64 bytes);
  bool any_unwritten(u64 address, u64 bytes) const;
  // After a copy of memory, that of what is known about it. The ranges may overlap.
  void copy(u64 to, u64 from, u64 bytes);

 private:
  struct Window {
    u64 base, bytes;
    u8* bits;
  };
  const Window* find(u64 address) const;
  void set(u64 address, u64 bytes, bool unwritten);

  std::vector<Window> windows_;
};

}  // namespace farcall::softgpu
