#include "driverabi/loading_mode.h"

#include <cstdlib>
#include <string_view>

#include "base/log.h"

namespace farcall::driverabi {

CUmoduleLoadingMode parse_loading_mode(const char* value) {
  const std::string_view text = value != nullptr ? value : "";
  if (text == "EAGER") return CU_MODULE_EAGER_LOADING;
  if (text != "LAZY" && text != "DEFAULT" && !text.empty()) {
    log::warning("CUDA_MODULE_LOADING is '{}'; it may be LAZY, EAGER or DEFAULT (= LAZY)", text);
  }
  return CU_MODULE_LAZY_LOADING;
}

CUmoduleLoadingMode loading_mode() {
  static const CUmoduleLoadingMode mode = parse_loading_mode(std::getenv("CUDA_MODULE_LOADING"));
  return mode;
}

}  // namespace farcall::driverabi
