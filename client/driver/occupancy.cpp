// Occupancy in the driver API, where the program or a launch configuration takes part; see
// client/occupancy.h.
#include "client/occupancy.h"

#include <cuda.h>

#include "client/driver_bodies.h"
#include "client/stub.h"

namespace farcall::client::driver {

int cuOccupancyMaxPotentialBlockSizeWithFlags(Session& session, int* minGridSize, int* blockSize,
                                              CUfunction func,
                                              CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                              size_t dynamicSMemSize, int blockSizeLimit,
                                              unsigned int flags) {
  const Kernel* const kernel = find_kernel(id_of(func));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (minGridSize == nullptr || blockSize == nullptr || blockSizeLimit < 0 ||
      (flags & ~unsigned{CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE}) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto shared_of = [&](int size) {
    return blockSizeToDynamicSMemSize != nullptr ? blockSizeToDynamicSMemSize(size)
                                                 : dynamicSMemSize;
  };
  BlockSize best;
  if (const int failed =
          best_block_size(session, *kernel, shared_of, blockSizeLimit, flags, &best)) {
    return failed;
  }
  *minGridSize = best.grid_min;
  *blockSize = best.size;
  return CUDA_SUCCESS;
}

int cuOccupancyMaxPotentialBlockSize(Session& session, int* minGridSize, int* blockSize,
                                     CUfunction func, CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                     size_t dynamicSMemSize, int blockSizeLimit) {
  return cuOccupancyMaxPotentialBlockSizeWithFlags(session, minGridSize, blockSize, func,
                                                   blockSizeToDynamicSMemSize, dynamicSMemSize,
                                                   blockSizeLimit, CU_OCCUPANCY_DEFAULT);
}

namespace {

int clusters(Session& session, CUfunction func, const CUlaunchConfig* config,
             ClusterQuestion question, int* out) {
  const Kernel* const kernel = find_kernel(id_of(func));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (out == nullptr || config == nullptr || (config->numAttrs > 0 && config->attrs == nullptr))
    return CUDA_ERROR_INVALID_VALUE;
  LaunchConfig ours;
  ours = {{config->gridDimX, config->gridDimY, config->gridDimZ},
          {config->blockDimX, config->blockDimY, config->blockDimZ},
          config->sharedMemBytes};
  ours.attributes = config->attrs;
  ours.attribute_count = config->numAttrs;
  return ask_clusters(session, *kernel, ours, question, out);
}

}  // namespace

int cuOccupancyMaxActiveClusters(Session& session, int* numClusters, CUfunction func,
                                 const CUlaunchConfig* config) {
  return clusters(session, func, config, ClusterQuestion::kHowMany, numClusters);
}

int cuOccupancyMaxPotentialClusterSize(Session& session, int* clusterSize, CUfunction func,
                                       const CUlaunchConfig* config) {
  return clusters(session, func, config, ClusterQuestion::kHowLarge, clusterSize);
}

}  // namespace farcall::client::driver
