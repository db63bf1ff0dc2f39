#include "softgpu/driver/occupancy.h"

#include <algorithm>

#include "softgpu/driver/context.h"
#include "softgpu/driver/function.h"
#include "softgpu/driver/launch.h"
#include "softgpu/driver/module.h"

namespace farcall::softgpu {
namespace {

// Registers are given to warps in these units, on every architecture since 3.0.
constexpr int kRegisterUnit = 256;
constexpr int kSharedUnit = 128;

constexpr size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

int blocks_per_multiprocessor(const Limits& limits, const KernelInfo& kernel, int block_threads,
                              size_t dynamic_shared_bytes) {
  if (block_threads < 1 || block_threads > limits.threads_per_block) return 0;
  const int warps = (block_threads + limits.warp - 1) / limits.warp;
  const int by_threads = limits.threads_per_multiprocessor / (warps * limits.warp);
  const int registers_per_warp =
      static_cast<int>(round_up(std::max(kernel.registers, 1u) * limits.warp, kRegisterUnit));
  const int by_registers = limits.registers_per_multiprocessor / (registers_per_warp * warps);
  const size_t shared = round_up(kernel.static_shared_bytes + dynamic_shared_bytes +
                                     static_cast<size_t>(limits.shared_reserved_per_block),
                                 kSharedUnit);
  const size_t by_shared = shared == 0
                               ? static_cast<size_t>(limits.blocks_per_multiprocessor)
                               : static_cast<size_t>(limits.shared_per_multiprocessor) / shared;
  return std::min({limits.blocks_per_multiprocessor, by_threads, by_registers,
                   static_cast<int>(std::min<size_t>(by_shared, 1024))});
}

CUresult api::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction handle,
                                                                   int block_threads,
                                                                   size_t dynamic_shared_bytes,
                                                                   unsigned flags) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (blocks == nullptr || block_threads < 1 ||
      (flags & ~unsigned{CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE}) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Limits& limits = function->context().device().limits;
  const bool fits = block_threads <= max_threads(*function) &&
                    dynamic_shared_bytes <= dynamic_shared_max(*function);
  *blocks = fits ? blocks_per_multiprocessor(limits, function->info(), block_threads,
                                             dynamic_shared_bytes)
                 : 0;
  return CUDA_SUCCESS;
}

CUresult api::cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function,
                                                          int block_threads,
                                                          size_t dynamic_shared_bytes) {
  return api::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
      blocks, function, block_threads, dynamic_shared_bytes, CU_OCCUPANCY_DEFAULT);
}

// The block size that puts most threads on a multiprocessor; of equals the largest.
CUresult api::cuOccupancyMaxPotentialBlockSizeWithFlags(int* grid_min, int* block_size,
                                                        CUfunction handle,
                                                        CUoccupancyB2DSize shared_of_block,
                                                        size_t dynamic_shared_bytes,
                                                        int block_size_limit, unsigned flags) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (grid_min == nullptr || block_size == nullptr || block_size_limit < 0 ||
      (flags & ~unsigned{CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE}) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Limits& limits = function->context().device().limits;
  int largest = max_threads(*function);
  if (block_size_limit > 0) largest = std::min(largest, block_size_limit);
  int best_threads = 0, best_size = 0, best_blocks = 0;
  for (int size = static_cast<int>(round_up(largest, limits.warp)); size > 0; size -= limits.warp) {
    const int candidate = std::min(size, largest);
    const size_t shared =
        shared_of_block != nullptr ? shared_of_block(candidate) : dynamic_shared_bytes;
    if (shared > dynamic_shared_max(*function)) continue;
    const int blocks = blocks_per_multiprocessor(limits, function->info(), candidate, shared);
    if (blocks * candidate > best_threads) {
      best_threads = blocks * candidate;
      best_size = candidate;
      best_blocks = blocks;
    }
  }
  *block_size = best_size;
  *grid_min = best_blocks * limits.multiprocessors;
  return CUDA_SUCCESS;
}

CUresult api::cuOccupancyMaxPotentialBlockSize(int* grid_min, int* block_size, CUfunction function,
                                               CUoccupancyB2DSize shared_of_block,
                                               size_t dynamic_shared_bytes, int block_size_limit) {
  return api::cuOccupancyMaxPotentialBlockSizeWithFlags(grid_min, block_size, function,
                                                        shared_of_block, dynamic_shared_bytes,
                                                        block_size_limit, CU_OCCUPANCY_DEFAULT);
}

// Clusters that run at the same time, on all multiprocessors together.
CUresult api::cuOccupancyMaxActiveClusters(int* clusters, CUfunction handle,
                                           const CUlaunchConfig* config) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (clusters == nullptr || config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LaunchRequest request;
  request.grid = {config->gridDimX, config->gridDimY, config->gridDimZ};
  bool cooperative = false;
  if (CUresult error =
          read_launch_attributes(config->attrs, config->numAttrs, &cooperative, &request.cluster)) {
    return error;
  }
  Dim3 cluster;
  if (CUresult error = find_cluster(*function, request, &cluster)) return error;
  const uint64_t threads = uint64_t{config->blockDimX} * config->blockDimY * config->blockDimZ;
  const Limits& limits = function->context().device().limits;
  const bool fits = threads >= 1 && threads <= static_cast<uint64_t>(max_threads(*function)) &&
                    config->sharedMemBytes <= dynamic_shared_max(*function);
  const int blocks =
      fits ? blocks_per_multiprocessor(limits, function->info(), static_cast<int>(threads),
                                       config->sharedMemBytes) *
                 limits.multiprocessors
           : 0;
  *clusters = blocks / static_cast<int>(cluster.x * cluster.y * cluster.z);
  return CUDA_SUCCESS;
}

CUresult api::cuOccupancyMaxPotentialClusterSize(int* size, CUfunction handle,
                                                 const CUlaunchConfig* config) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (size == nullptr || config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (function->context().device().sm < 90) return CUDA_ERROR_NOT_SUPPORTED;
  *size = function->setting(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED).value_or(0) != 0
              ? 16
              : 8;
  return CUDA_SUCCESS;
}

CUresult api::cuOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, CUfunction handle, int blocks,
                                                      int block_threads) {
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (bytes == nullptr || blocks < 1 || block_threads < 1) return CUDA_ERROR_INVALID_VALUE;
  const Limits& limits = function->context().device().limits;
  *bytes = 0;
  if (blocks_per_multiprocessor(limits, function->info(), block_threads, 0) < blocks) {
    return CUDA_SUCCESS;
  }
  const size_t share =
      static_cast<size_t>(limits.shared_per_multiprocessor / blocks) / kSharedUnit * kSharedUnit;
  const size_t taken =
      function->info().static_shared_bytes + static_cast<size_t>(limits.shared_reserved_per_block);
  if (share > taken) *bytes = std::min(share - taken, dynamic_shared_max(*function));
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
