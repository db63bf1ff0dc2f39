// The border between C and this driver, included by every file that defines CUDA functions.
//
// A CUDA function is three things. The exported `extern "C"` symbol is generated (exports.py): it
// makes an ApiCall, which refuses the call in a forked child, before cuInit() and inside host
// functions, and keeps exceptions from getting out. It calls the body, `api::cuX`, declared in the
// generated bodies.h. The body is hand-written in the file of the object it is about, or else the
// generated one, which logs the name once and answers NOT_SUPPORTED.
#pragma once

#include <atomic>

#include "base/error_log.h"
#include "softgpu/driver/bodies.h"  // generated; includes cuda.h with all ABI versions spelled out

namespace farcall::softgpu {

class ApiCall {
 public:
  enum Option : unsigned {
    kAlwaysAllowed = 1,           // before cuInit(), in a forked child, in a host function
    kPerThreadDefaultStream = 2,  // stream 0 means CU_STREAM_PER_THREAD during this call
  };
  ApiCall(const char* name, unsigned options);
  ~ApiCall();
  ApiCall(const ApiCall&) = delete;
  ApiCall& operator=(const ApiCall&) = delete;

  bool refused() const { return refusal_ != CUDA_SUCCESS; }
  CUresult refusal() const { return refusal_; }
  static void from(const void* return_address);  // who calls; for bodies to which it matters
  CUresult result(CUresult result) const;        // traces it, and logs failures
  CUresult exception() const;                    // called in a catch block

 private:
  const char* const name_;
  const bool was_per_thread_;
  CUresult refusal_ = CUDA_SUCCESS;
};

// What cuLogs* tell: a line for each call that failed.
ErrorLog& error_log();

// The body of a function this driver does not have.
class NotSupported {
 public:
  explicit constexpr NotSupported(const char* name) : name_(name) {}
  CUresult answer();

 private:
  const char* const name_;
  std::atomic<bool> logged_ = false;
};

// While one lives, its thread runs a function of the program on behalf of a stream: no CUDA calls.
class InHostFunction {
 public:
  InHostFunction();
  ~InHostFunction();
};

}  // namespace farcall::softgpu
