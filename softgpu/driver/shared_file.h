// Memory that another process on this machine may map: an anonymous file (memfd) with a payload of
// whole pages and, behind it, one page that says what it is. Virtual memory handles, pools, memory
// handles and event handles of IPC all travel as one of these.
//
// What arrives from another process is not believed: the file must be sealed against shrinking, so
// that touching it can't raise SIGBUS, and its last page must describe exactly this file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"
#include "softgpu/driver/api.h"

namespace farcall::softgpu {

class SharedFile {
 public:
  enum class Kind : uint32_t { kAllocation = 1, kPool, kMemory, kEvent };
  struct Label {
    Kind kind = Kind::kAllocation;
    int device = 0;      // ordinal: devices are the same in every process
    uint64_t bytes = 0;  // of the payload, as the program asked for it
    uint64_t start = 0;  // where in the payload that begins
    uint64_t id = 0;     // random: a stale handle does not fit the file
  };

  SharedFile() = default;
  // `pages`: bytes of the payload, a multiple of the page. OUT_OF_MEMORY, OPERATING_SYSTEM.
  static CUresult create(Label label, uint64_t pages, SharedFile* out);
  // INVALID_VALUE: not a file of this kind. `fd` is not taken over.
  static CUresult adopt(int fd, Kind kind, SharedFile* out);
  // The file another process has open: what a 64-byte handle can say. INVALID_HANDLE: not there
  // (any more), or not for us.
  static CUresult open(int process, int fd, uint64_t id, Kind kind, SharedFile* out);

  int fd() const { return fd_.get(); }
  const Label& label() const { return label_; }
  uint64_t pages() const { return pages_; }
  explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  UniqueFd fd_;
  Label label_;
  uint64_t pages_ = 0;
};

}  // namespace farcall::softgpu
