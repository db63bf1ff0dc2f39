#include "softgpu/exec/control.h"

#include "softgpu/exec/barriers.h"
#include "softgpu/exec/calls.h"
#include "softgpu/exec/groups.h"
#include "softgpu/exec/warp_sync.h"

namespace farcall::softgpu {

void carry_out(Block& block, Warp& warp, u32 index, const Op& op, u32 active) {
  Group& group = warp.groups[index];
  switch (op.control) {
    case Control::kExit:
      if (active == group.mask) {
        drop_group(warp, index);
      } else {
        group.mask &= ~active;
        ++group.pc;
      }
      return exit_lanes(block, warp, active);
    case Control::kWarpSync:
      return warp_sync(warp, index, op);
    case Control::kBarrier:
      ++group.pc;
      return arrive_at_barrier(block, warp, index, op, active);
    case Control::kBranchIndexed:
      return branch_indexed(warp, index, op, active);
    case Control::kCall:
    case Control::kCallIndirect:
      return call(warp, index, op, active);
    case Control::kReturn:
      return return_from_function(warp, index, op, active);
    case Control::kClusterArrive:
      ++group.pc;
      return arrive_at_cluster(warp, active);
    case Control::kClusterWait:
      ++group.pc;
      return wait_for_cluster(warp, index, active);
    case Control::kPlain:
    case Control::kBranch:
    case Control::kYield:
      break;
  }
}

}  // namespace farcall::softgpu
