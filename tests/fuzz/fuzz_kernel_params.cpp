// Cubins and PTX texts: whatever is read, a launch that copies by it stays inside the parameter
// block.
#include <cassert>

#include "image/kernel_params.h"

using namespace farcall;

namespace {

void check(const Result<image::Module>& module) {
  if (!module) return;
  for (const auto& [name, kernel] : module->kernels) {
    assert(kernel.name == name);
    assert(kernel.param_bytes <= 2 * image::kParamBytesMax);
    for (const image::Param& param : kernel.params) {
      assert(param.offset + param.size <= kernel.param_bytes);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const image::Bytes bytes = std::as_bytes(std::span(data, size));
  check(image::read_cubin(bytes));
  check(image::read_ptx(image::as_text(bytes)));
  return 0;
}
