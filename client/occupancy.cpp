#include "client/occupancy.h"

#include <cuda.h>

#include <algorithm>

#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {

namespace schema = rpc::schema;
using rpc::Opcode;

namespace {
constexpr int kThreadsMax = 1024;  // of a block, in every compute capability
constexpr int kBlocksMax = 4096;   // of a multiprocessor, and multiprocessors: far beyond any
}  // namespace

int function_attributes(Session& session, const Kernel& kernel, std::vector<int>* out) {
  CachedCall call(session, Opcode::k_farcallFunctionAttributes);
  call.args<schema::FarcallFunctionAttributes>().setFunction(kernel.id);
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  for (const int value : reply.results<schema::FarcallFunctionAttributesResults>().getValues())
    out->push_back(value);
  return CUDA_SUCCESS;
}

int active_blocks(Session& session, const Kernel& kernel, int block_size, size_t shared_bytes,
                  unsigned flags, int* blocks) {
  CachedCall call(session, Opcode::k_farcallOccupancy);
  auto args = call.args<schema::FarcallOccupancy>();
  args.setFunction(kernel.id);
  args.setBlockSize(block_size);
  args.setSharedBytes(shared_bytes);
  args.setFlags(flags);
  rpc::Reply reply = call.wait();
  if (reply.result() == CUDA_SUCCESS)
    *blocks = reply.results<schema::FarcallOccupancyResults>().getBlocks();
  return reply.result();
}

int best_block_size(Session& session, const Kernel& kernel,
                    const std::function<size_t(int)>& shared_of, int limit, unsigned flags,
                    BlockSize* out) {
  std::vector<int> of_function;
  if (const int failed = function_attributes(session, kernel, &of_function)) return failed;
  if (of_function.size() <= CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    return CUDA_ERROR_NOT_SUPPORTED;
  const auto& device = session.devices()[size_t(thread_state().device)].attributes;
  const auto attribute = [&](CUdevice_attribute which) {
    const auto found = device.find(int(which));
    return found == device.end() ? 0 : found->second;
  };
  // The numbers come from the server: what is beyond CUDA's own limits would overflow here.
  const int warp = std::clamp(attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 1, kThreadsMax);
  const auto shared_max = size_t(of_function[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES]);
  int largest = std::clamp(of_function[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK], 0, kThreadsMax);
  if (limit > 0) largest = std::min(largest, limit);

  int best_threads = 0, best_blocks = 0;
  *out = {};
  for (int size = (largest + warp - 1) / warp * warp; size > 0; size -= warp) {
    const int candidate = std::min(size, largest);
    const size_t shared = shared_of(candidate);
    if (shared > shared_max) continue;
    int blocks = 0;
    if (const int failed = active_blocks(session, kernel, candidate, shared, flags, &blocks))
      return failed;
    blocks = std::clamp(blocks, 0, kBlocksMax);
    if (blocks * candidate > best_threads) {
      best_threads = blocks * candidate;
      best_blocks = blocks;
      out->size = candidate;
    }
  }
  out->grid_min =
      best_blocks * std::clamp(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 0, kBlocksMax);
  return CUDA_SUCCESS;
}

int ask_clusters(Session& session, const Kernel& kernel, const LaunchConfig& config,
                 ClusterQuestion question, int* out) {
  if (const int bad = check_attributes(config)) return bad;
  CachedCall call(session, Opcode::k_farcallOccupancyClusters);
  auto args = call.args<schema::FarcallOccupancyClusters>();
  args.setFunction(kernel.id);
  write_shape(config, args);
  write_attributes(config, args.initAttributes(config.attribute_count));
  args.setLargest(question == ClusterQuestion::kHowLarge);
  rpc::Reply reply = call.wait();
  if (reply.result() == CUDA_SUCCESS)
    *out = reply.results<schema::FarcallOccupancyClustersResults>().getValue();
  return reply.result();
}

}  // namespace farcall::client
