// Linked into a test program, replaces operator new by one that counts.
#pragma once

#include <cstdint>

namespace farcall::rpc::testing {

uint64_t allocations_of_this_thread();

}  // namespace farcall::rpc::testing
