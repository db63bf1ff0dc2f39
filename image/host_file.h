// Device code inside ordinary files: what nvcc puts into objects, archives, libraries and programs.
#pragma once

#include <vector>

#include "image/fatbin.h"

namespace farcall::image {

// The containers of one object: those that stand alone, and those that are to be linked with each
// other and with the parts of other objects (-rdc=true).
struct HostObject {
  std::vector<Bytes> containers, parts;
  size_t damaged = 0;  // containers that are none

  bool empty() const { return containers.empty() && parts.empty(); }
};

// An ELF file of the host, or an archive of such: each member with device code, in order. kInvalid:
// neither. Views of `file`.
Result<std::vector<HostObject>> host_objects(Bytes file);

}  // namespace farcall::image
