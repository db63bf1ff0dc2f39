// The options of cuModuleLoadDataEx, cuLibraryLoadData and cuLinkCreate: an array of names and an
// array of values, where a value is a number stored in the pointer itself. Only the logs and the
// wall time mean something here; everything else is about a compiler that is not there.
#pragma once

#include <string_view>

#include "softgpu/driver/api.h"

namespace farcall::softgpu {

class JitOptions {
 public:
  JitOptions() = default;
  // The arrays must outlive this object: the sizes of logs are written back into `values`.
  // INVALID_VALUE: no arrays.
  static CUresult parse(unsigned count, const CUjit_option* names, void** values, JitOptions* out);

  // Appends a line to the log, as far as the program's buffer has room. Nothing if it gave none.
  void write_info(std::string_view line) const { write(info_, line); }
  void write_error(std::string_view line) const { write(error_, line); }
  void write_wall_time(float milliseconds) const;
  bool has_logs() const { return info_.text != nullptr || error_.text != nullptr; }

 private:
  struct Log {
    char* text = nullptr;
    size_t capacity = 0;
    void** written = nullptr;  // where the program finds how much there is
  };
  static void write(const Log& log, std::string_view line);

  Log info_, error_;
  void** wall_time_ = nullptr;
};

}  // namespace farcall::softgpu
