// cuLogs*: what failed lately, for programs that ask. ApiCall adds a line for each call that fails.
#include <cstdio>

#include "softgpu/driver/api.h"

namespace farcall::softgpu {

ErrorLog& error_log() {
  static ErrorLog& instance = *new ErrorLog;  // leaked: calls come after static destructors
  return instance;
}

CUresult api::cuLogsRegisterCallback(CUlogsCallback callback, void* data,
                                     CUlogsCallbackHandle* out) {
  if (callback == nullptr) return CUDA_ERROR_INVALID_VALUE;
  void* const handle =
      error_log().add_callback(reinterpret_cast<ErrorLog::Callback>(callback), data);
  if (out != nullptr) *out = static_cast<CUlogsCallbackHandle>(handle);
  return CUDA_SUCCESS;
}

CUresult api::cuLogsUnregisterCallback(CUlogsCallbackHandle callback) {
  return error_log().remove_callback(callback) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult api::cuLogsCurrent(CUlogIterator* out, unsigned flags) {
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *out = error_log().end();
  return CUDA_SUCCESS;
}

CUresult api::cuLogsDumpToFile(CUlogIterator* iterator, const char* path, unsigned flags) {
  if (path == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return error_log().write_file(iterator, path) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult api::cuLogsDumpToMemory(CUlogIterator* iterator, char* buffer, size_t* size,
                                 unsigned flags) {
  if (buffer == nullptr || size == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return error_log().write_text(iterator, buffer, size) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace farcall::softgpu
