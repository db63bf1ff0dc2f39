// What may go wrong in operation, grouped by what is lost, so that recovery is one comparison.
// A CUDA result is data and never a Status; a broken invariant is an assert.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace farcall {

enum class Status : uint8_t {
  kOk,
  kBusy,  // back-pressure: queue it and wait for writable
  kBadHandle,
  kQuota,
  kUnsupported,
  kInvalid,  // this call only, from kBadHandle to here
  kDisconnected,
  kTimeout,  // the channel; the session may come back
  kProtocol,
  kWorkerDied,  // the session
};

constexpr std::string_view to_string(Status status) {
  switch (status) {
    case Status::kOk: return "ok";
    case Status::kBusy: return "busy";
    case Status::kBadHandle: return "bad handle";
    case Status::kQuota: return "over quota";
    case Status::kUnsupported: return "unsupported";
    case Status::kInvalid: return "invalid";
    case Status::kDisconnected: return "disconnected";
    case Status::kTimeout: return "timed out";
    case Status::kProtocol: return "protocol violation";
    case Status::kWorkerDied: return "worker died";
  }
  return "unknown status";
}

// A T or the reason there is none. Whoever decides the Status logs it, once; callers pass it on.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(status) {      // NOLINT(google-explicit-constructor)
    assert(status != Status::kOk);
  }

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  Status status() const { return status_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  T take() { return std::move(*value_); }

 private:
  std::optional<T> value_;
  Status status_ = Status::kOk;
};

}  // namespace farcall
