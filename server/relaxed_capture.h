// While a stream captures, CUDA refuses calls that "may be unsafe" (registering memory, asking or
// waiting for events, ...) from threads that aren't in relaxed mode, and spoils the capture. Ours
// concern memory and events that no program knows of: while this lives, the calling thread may.
#pragma once

#include <cuda.h>

#include "server/driver_table.h"

namespace farcall::server {

class RelaxedCapture {
 public:
  explicit RelaxedCapture(const DriverTable& driver)
      : exchange_(driver.cuThreadExchangeStreamCaptureMode) {
    if (exchange_ != nullptr) (void)exchange_(&mode_);
  }
  ~RelaxedCapture() {
    if (exchange_ != nullptr) (void)exchange_(&mode_);
  }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  decltype(DriverTable::cuThreadExchangeStreamCaptureMode) exchange_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // then: the one to go back to
};

}  // namespace farcall::server
