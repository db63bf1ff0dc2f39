#include "softgpu/driver/jit_options.h"

#include <algorithm>
#include <cstring>

namespace farcall::softgpu {

CUresult JitOptions::parse(unsigned count, const CUjit_option* names, void** values,
                           JitOptions* out) {
  *out = {};
  if (count > 0 && (names == nullptr || values == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < count; ++i) {
    const auto size = [&] {
      return static_cast<size_t>(static_cast<unsigned>(reinterpret_cast<uintptr_t>(values[i])));
    };
    switch (names[i]) {
      case CU_JIT_INFO_LOG_BUFFER:
        out->info_.text = static_cast<char*>(values[i]);
        break;
      case CU_JIT_ERROR_LOG_BUFFER:
        out->error_.text = static_cast<char*>(values[i]);
        break;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
        out->info_.capacity = size();
        out->info_.written = &values[i];
        break;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        out->error_.capacity = size();
        out->error_.written = &values[i];
        break;
      case CU_JIT_WALL_TIME:
        out->wall_time_ = &values[i];
        break;
      default:
        break;
    }
  }
  for (const Log* log : {&out->info_, &out->error_}) {
    if (log->text != nullptr && log->capacity > 0) log->text[0] = '\0';
    if (log->written != nullptr) *log->written = nullptr;
  }
  return CUDA_SUCCESS;
}

void JitOptions::write(const Log& log, std::string_view line) {
  if (log.text == nullptr || log.capacity == 0) return;
  const size_t used = strnlen(log.text, log.capacity - 1);
  const size_t room = log.capacity - 1 - used;
  const size_t copied = std::min(room, line.size());
  std::memcpy(log.text + used, line.data(), copied);
  size_t end = used + copied;
  if (copied < room) log.text[end++] = '\n';
  log.text[end] = '\0';
  if (log.written != nullptr) *log.written = reinterpret_cast<void*>(end);
}

void JitOptions::write_wall_time(float milliseconds) const {
  if (wall_time_ != nullptr) std::memcpy(wall_time_, &milliseconds, sizeof(milliseconds));
}

}  // namespace farcall::softgpu
