// What processes on one machine share: memory of cuMemAlloc and events. A handle of 64 bytes names
// a file that the process which made it has open (SharedFile); it is good as long as that process
// has the object.
#pragma once

#include <atomic>
#include <memory>

#include "softgpu/driver/shared_file.h"

namespace farcall::softgpu {

// An event's records, counted in memory that several processes map. Each record is a ticket; when
// the work before it is done, the ticket is marked.
class SharedEvent {
 public:
  static CUresult create(int device, std::shared_ptr<SharedEvent>* out);
  static CUresult open(SharedFile file, std::shared_ptr<SharedEvent>* out);
  ~SharedEvent();

  uint64_t begin();  // a record; its ticket
  void complete(uint64_t ticket);
  uint64_t recorded() const;  // the last ticket; 0: never
  bool done(uint64_t ticket) const;
  const SharedFile& file() const { return file_; }

 private:
  struct Words;
  SharedEvent() = default;
  SharedFile file_;
  Words* words_ = nullptr;
};

}  // namespace farcall::softgpu
