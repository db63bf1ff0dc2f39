// The client's JIT options as the driver takes them, with buffers of ours where it wants a log.
#pragma once

#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "rpc/schema/calls.capnp.h"

namespace farcall::server::handlers {

class JitOptions {
 public:
  // False: too many.
  bool read_plain(capnp::List<rpc::schema::JitOption>::Reader from) {
    if (from.size() > kOptionsMax) return false;
    for (const auto option : from) {
      switch (option.getId()) {
        // Values that are addresses in the client.
        case CU_JIT_INFO_LOG_BUFFER:
        case CU_JIT_ERROR_LOG_BUFFER:
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        case CU_JIT_GLOBAL_SYMBOL_NAMES:
        case CU_JIT_GLOBAL_SYMBOL_ADDRESSES:
          continue;
        case CU_JIT_WALL_TIME:  // an output: the driver writes over the value itself
          wall_time_ = names_.size();
          add(CU_JIT_WALL_TIME, nullptr);
          continue;
        default:
          add(CUjit_option(option.getId()), reinterpret_cast<void*>(option.getValue()));
      }
    }
    return true;
  }
  template <class Args>
  bool read(const Args& args) {
    if (!read_plain(args.getOptions())) return false;
    add_log(error_, args.getErrorLogBytes(), CU_JIT_ERROR_LOG_BUFFER,
            CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
    add_log(info_, args.getInfoLogBytes(), CU_JIT_INFO_LOG_BUFFER,
            CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
    return true;
  }

  // The driver writes into these arrays; they must stay as long as it may.
  unsigned count() const { return unsigned(names_.size()); }
  CUjit_option* names() { return names_.data(); }
  void** values() { return values_.data(); }

  bool has_results() const { return !error_.empty() || !info_.empty() || wall_time_ != kNone; }
  template <class Results>
  void write_results(Results results) const {
    results.setErrorLog(error_.c_str());
    results.setInfoLog(info_.c_str());
    if (wall_time_ == kNone) return;
    float milliseconds = 0;
    std::memcpy(&milliseconds, &values_[wall_time_], sizeof milliseconds);
    results.setWallTime(milliseconds);
  }

 private:
  static constexpr size_t kLogBytesMax = 128 * 1024;
  static constexpr unsigned kOptionsMax = 64;
  static constexpr size_t kNone = ~size_t{0};

  void add(CUjit_option name, void* value) {
    names_.push_back(name);
    values_.push_back(value);
  }
  void add_log(std::string& log, size_t bytes, CUjit_option buffer, CUjit_option size) {
    if (bytes == 0) return;
    log.assign(std::min(bytes, kLogBytesMax), '\0');
    add(buffer, log.data());
    add(size, reinterpret_cast<void*>(log.size()));
  }

  std::vector<CUjit_option> names_;
  std::vector<void*> values_;
  std::string error_, info_;
  size_t wall_time_ = kNone;
};

}  // namespace farcall::server::handlers
