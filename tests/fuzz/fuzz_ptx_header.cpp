// The scan of PTX text for kernels and variables that the client does.
#include <cstdint>
#include <string_view>

#include "image/kernel_params.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)farcall::image::read_ptx({reinterpret_cast<const char*>(data), size});
  return 0;
}
