// Questions about addresses that several files ask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "softgpu/driver/memory_map.h"

namespace farcall::softgpu {

// Where a range given by the program is.
struct Place {
  enum class Kind : uint8_t {
    kPageable,  // the program's own memory: CUDA knows nothing of it
    kHost,      // pinned, registered or managed
    kDevice,
    kBeyond,  // begins in memory CUDA knows and does not end there
  };
  Kind kind = Kind::kPageable;
  std::optional<Region> region;  // where it begins; mapped memory may be several, side by side
  bool writable = true;          // mapped memory may be for reading only
};
Place locate(uint64_t address, size_t bytes);

// May the device write there: all of it in one region that is not an array's, or in mapped memory?
bool is_accessible(uint64_t address, size_t bytes);

}  // namespace farcall::softgpu
