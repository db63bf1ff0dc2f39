// Containers of device code: found, taken apart, decompressed, and their kernels' parameters read.
#include <cstdint>
#include <span>

#include "image/fatbin.h"
#include "image/kernel_params.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farcall::image;
  const Bytes bytes = std::as_bytes(std::span(data, size));
  const auto code = identify(bytes);
  if (!code) return 0;
  for (const Bytes image : code->images) {
    const auto container = Container::parse(image);
    if (!container) {
      (void)read_cubin(image);
      continue;
    }
    for (const Entry& entry : container->entries()) (void)read_entry(entry);
    (void)choose(*container, {.sm = 121, .ptx_only = true});
    (void)choose(*container, {.sm = 90});
  }
  return 0;
}
