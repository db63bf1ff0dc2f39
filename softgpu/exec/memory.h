// Every access of device code to memory ends here, or in the fast paths of handlers/memory.cpp
// which make the same checks. PTX's state spaces are ranges of host addresses (shared: of the
// block, local: of the warp, param: of the launch), so a generic address needs no tag.
#pragma once

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// The host address that a lane's access of `bytes` (a power of two) goes to; raises a fault when it
// is misaligned or lies in no memory of this thread. Memory of the window may still be unmapped:
// then the access itself faults.
//
// `access` is for the checkers; instructions with one address have said it when they were decoded
// (Op::access), others must say it here.
u8* checked_address(Warp& warp, const Op& op, int lane, u64 address, u32 bytes,
                    Access access = Access::kOfInstruction);

// The same, of an address that must be in the block's own shared memory.
u8* checked_shared_address(Warp& warp, const Op& op, int lane, u64 address, u32 bytes,
                           Access access = Access::kOfInstruction);

// For ranges of any size and alignment (cp.async.bulk, strings).
u8* checked_range(Warp& warp, const Op& op, int lane, u64 address, u64 bytes,
                  Access access = Access::kOfInstruction);

// Whether an address lies in shared memory of this block or of another one of its cluster.
bool is_shared_of_cluster(const Warp& warp, u64 address);

// The address that a memory instruction's operand means in one lane.
u64 lane_address(const Warp& warp, AddressKind kind, Slot slot, s64 offset, int lane);

// At most `limit` bytes of a device string, into `out` with a terminating zero. Returns its length.
size_t read_string(Warp& warp, const Op& op, int lane, u64 address, char* out, size_t limit);

}  // namespace farcall::softgpu
