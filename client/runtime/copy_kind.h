// cudaMemcpyKind as a direction, for the files that copy.
#pragma once

#include <driver_types.h>

#include "client/copy.h"

namespace farcall::client::runtime {

// `dst` and `src` say where things are for cudaMemcpyDefault. False: no such kind.
inline bool direction_from(cudaMemcpyKind kind, uint64_t dst, uint64_t src, Direction* out) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      *out = Direction::kHostToHost;
      return true;
    case cudaMemcpyHostToDevice:
      *out = Direction::kHostToDevice;
      return true;
    case cudaMemcpyDeviceToHost:
      *out = Direction::kDeviceToHost;
      return true;
    case cudaMemcpyDeviceToDevice:
      *out = Direction::kDeviceToDevice;
      return true;
    case cudaMemcpyDefault:
      *out = classify(dst, src);
      return true;
  }
  return false;
}

}  // namespace farcall::client::runtime
