#include "softgpu/decode/skips.h"

#include "softgpu/exec/control.h"

namespace farcall::softgpu {

void mark_skips(std::vector<Op>& code) {
  u32 next_control = static_cast<u32>(code.size());  // from the op behind on
  for (u32 pc = next_control; pc-- > 0;) {
    Op& op = code[pc];
    if (op.control == Control::kBranch && op.target > pc && op.target <= next_control)
      op.flags |= kSkipsPlain;
    if (op.control != Control::kPlain) next_control = pc;
  }
}

}  // namespace farcall::softgpu
