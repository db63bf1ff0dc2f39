// The functions of a libnvidia-ml.so.1, looked up by name: older libraries lack newer ones, and
// those who ask are linked to none.
#pragma once

#include <dlfcn.h>

#include "nvml/nvml.h"

namespace farcall::nvml {

class Functions {
 public:
  explicit Functions(void* library) : library_(library) {}  // of dlopen

  // FUNCTION_NOT_FOUND: the library has none of this name. The arguments' types must be NVML's.
  template <class... Arguments>
  nvmlReturn_t call(const char* name, Arguments... arguments) const {
    const auto function = find<nvmlReturn_t (*)(Arguments...)>(name);
    return function != nullptr ? function(arguments...) : NVML_ERROR_FUNCTION_NOT_FOUND;
  }
  const char* error_string(nvmlReturn_t result) const {
    const auto function = find<const char* (*)(nvmlReturn_t)>("nvmlErrorString");
    return function != nullptr ? function(result) : "no description";
  }

 private:
  template <class Function>
  Function find(const char* name) const {
    return reinterpret_cast<Function>(::dlsym(library_, name));
  }

  void* library_;
};

}  // namespace farcall::nvml
