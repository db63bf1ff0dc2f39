// Which branches only jump over handlers: an `if` without another branch, call or barrier inside.
#pragma once

#include <vector>

#include "softgpu/exec/op.h"

namespace farcall::softgpu {

// Sets kSkipsPlain (exec/control.h) where it is true. The targets of branches are known.
void mark_skips(std::vector<Op>& code);

}  // namespace farcall::softgpu
