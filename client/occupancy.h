// How many blocks and clusters of a kernel fit, asked of the server's driver; for both APIs.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "client/api.h"
#include "client/launch.h"
#include "client/module.h"
#include "client/session.h"

namespace farcall::client {

// All attributes of a function in one answer, kept for good: they don't change, and what the
// program sets of them it is told by the setter. A CUresult, as all of these.
FARCALL_API int function_attributes(Session& session, const Kernel& kernel, std::vector<int>* out);

FARCALL_API int active_blocks(Session& session, const Kernel& kernel, int block_size,
                              size_t shared_bytes, unsigned flags, int* blocks);

// The block size that puts most threads on a multiprocessor, of equals the largest, and how many
// blocks of it fill the device. `shared_of` is the program's.
struct BlockSize {
  int size = 0, grid_min = 0;
};
FARCALL_API int best_block_size(Session& session, const Kernel& kernel,
                                const std::function<size_t(int)>& shared_of, int limit,
                                unsigned flags, BlockSize* out);

// Clusters that run at the same time, or the largest possible size of one.
enum class ClusterQuestion : bool { kHowMany, kHowLarge };
FARCALL_API int ask_clusters(Session& session, const Kernel& kernel, const LaunchConfig& config,
                             ClusterQuestion question, int* out);

}  // namespace farcall::client
