// cudaLogs*: what failed lately, whichever side found it. Each stub that fails adds a line.
#include <cuda_runtime_api.h>

#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {

cudaError_t cudaLogsRegisterCallback(cudaLogsCallback_t callbackFunc, void* userData,
                                     cudaLogsCallbackHandle* callback_out) {
  if (callbackFunc == nullptr) return cudaErrorInvalidValue;
  void* const handle =
      error_log().add_callback(reinterpret_cast<ErrorLog::Callback>(callbackFunc), userData);
  if (callback_out != nullptr) *callback_out = static_cast<cudaLogsCallbackHandle>(handle);
  return cudaSuccess;
}

cudaError_t cudaLogsUnregisterCallback(cudaLogsCallbackHandle callback) {
  return error_log().remove_callback(callback) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaLogsCurrent(cudaLogIterator* iterator_out, unsigned int flags) {
  if (iterator_out == nullptr || flags != 0) return cudaErrorInvalidValue;
  *iterator_out = error_log().end();
  return cudaSuccess;
}

cudaError_t cudaLogsDumpToFile(cudaLogIterator* iterator, const char* pathToFile,
                               unsigned int flags) {
  if (pathToFile == nullptr || flags != 0) return cudaErrorInvalidValue;
  return error_log().write_file(iterator, pathToFile) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaLogsDumpToMemory(cudaLogIterator* iterator, char* buffer, size_t* size,
                                 unsigned int flags) {
  if (buffer == nullptr || size == nullptr || flags != 0) return cudaErrorInvalidValue;
  return error_log().write_text(iterator, buffer, size) ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace farcall::client::runtime
