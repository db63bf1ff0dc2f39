// Between cuLinkCreate and cuLinkDestroy: the PTX texts to be linked.
#pragma once

#include <string>
#include <vector>

#include "softgpu/driver/driver.h"
#include "softgpu/driver/jit_options.h"

namespace farcall::softgpu {

class LinkState {
 public:
  ContextRef context;
  JitOptions options;  // the program keeps the arrays until cuLinkDestroy
  std::vector<std::string> texts;
  std::vector<std::vector<std::string>> members;  // of libraries, taken if something wants them
  std::string linked;
};

}  // namespace farcall::softgpu
