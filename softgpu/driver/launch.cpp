#include "softgpu/driver/launch.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/function.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/occupancy.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

bool within(uint32_t value, int limit) {
  return value >= 1 && value <= static_cast<uint32_t>(limit);
}

CUresult check_shape(const Function& function, const LaunchRequest& request) {
  const Limits& limits = function.context().device().limits;
  const Dim3 &grid = request.grid, &block = request.block;
  if (!within(grid.x, limits.grid_x) || !within(grid.y, limits.grid_y) ||
      !within(grid.z, limits.grid_z) || !within(block.x, limits.block_x) ||
      !within(block.y, limits.block_y) || !within(block.z, limits.block_z)) {
    return request.invalid_dimensions;
  }
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads > static_cast<uint64_t>(limits.threads_per_block)) return request.invalid_dimensions;
  if (request.dynamic_shared_bytes > dynamic_shared_max(function)) return CUDA_ERROR_INVALID_VALUE;
  // What the kernel was compiled for: __launch_bounds__ and registers.
  if (threads > static_cast<uint64_t>(max_threads(function))) {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  if (request.cooperative) {
    const int resident =
        blocks_per_multiprocessor(limits, function.info(), static_cast<int>(threads),
                                  request.dynamic_shared_bytes) *
        limits.multiprocessors;
    if (uint64_t{grid.x} * grid.y * grid.z > static_cast<uint64_t>(resident)) {
      return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
  }
  return CUDA_SUCCESS;
}

bool is_set(const Dim3& shape) { return shape.x != 0; }
bool same(const Dim3& a, const Dim3& b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

// Blocks of a cluster on every device that has them, and with the function's consent.
constexpr uint64_t kClusterPortable = 8, kClusterMax = 16;

// From .reqnctapercluster, or from the function's attributes.
Dim3 required_cluster(const Function& function) {
  if (is_set(function.info().cluster)) return function.info().cluster;
  auto part = [&](CUfunction_attribute attribute) {
    return static_cast<uint32_t>(function.setting(attribute).value_or(0));
  };
  const Dim3 cluster = {part(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH),
                        part(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT),
                        part(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH)};
  if (cluster.x == 0 && cluster.y == 0 && cluster.z == 0) return cluster;
  return {std::max(cluster.x, 1u), std::max(cluster.y, 1u), std::max(cluster.z, 1u)};
}

CUresult copy_params(const KernelInfo& info, const LaunchRequest& request,
                     std::vector<std::byte>* out) {
  out->assign(info.param_bytes, std::byte{0});
  if (request.params != nullptr) {
    if (request.extra != nullptr) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < info.params.size(); ++i) {
      if (request.params[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
      std::memcpy(out->data() + info.params[i].offset, request.params[i], info.params[i].size);
    }
    return CUDA_SUCCESS;
  }
  if (request.extra == nullptr) {
    return info.params.empty() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  const void* buffer = nullptr;
  const size_t* bytes = nullptr;
  for (void** entry = request.extra; *entry != CU_LAUNCH_PARAM_END; entry += 2) {
    if (*entry == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      buffer = entry[1];
    } else if (*entry == CU_LAUNCH_PARAM_BUFFER_SIZE) {
      bytes = static_cast<const size_t*>(entry[1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  // The buffer may be padded at its end; it must hold every parameter.
  if (buffer == nullptr || bytes == nullptr || *bytes < info.param_bytes) {
    return info.params.empty() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  if (info.param_bytes != 0) std::memcpy(out->data(), buffer, info.param_bytes);
  return CUDA_SUCCESS;
}

// cudaErrorInvalidConfiguration: a number the driver API has no name for.
constexpr auto kInvalidConfiguration = static_cast<CUresult>(9);

CUresult launch(CUfunction handle, CUstream stream_handle, LaunchRequest request) {
  if (decltype(Driver::kernels)::is_kind(handle)) {
    request.invalid_dimensions = kInvalidConfiguration;
  }
  StreamRef stream;
  if (CUresult error = find_stream(stream_handle, &stream)) return error;
  FunctionRef function;
  if (CUresult error = find_function(handle, &function)) return error;
  if (&function->context() != &stream->context()) return CUDA_ERROR_INVALID_HANDLE;
  KernelWork work;
  if (CUresult error = make_kernel(function, request, &work)) return error;
  return stream->context().submit(*stream, std::move(work),
                                  [handle](NodeContent& content) { content.function = handle; });
}

}  // namespace

CUresult find_cluster(const Function& function, const LaunchRequest& request, Dim3* cluster) {
  const Dim3 required = required_cluster(function);
  *cluster = is_set(request.cluster) ? request.cluster : is_set(required) ? required : Dim3{};
  if (is_set(required) && !same(required, *cluster)) return CUDA_ERROR_INVALID_VALUE;
  const uint64_t size = uint64_t{cluster->x} * cluster->y * cluster->z;
  if (size == 1) return CUDA_SUCCESS;
  if (function.context().device().sm < 90) return CUDA_ERROR_NOT_SUPPORTED;
  const bool large =
      function.setting(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED).value_or(0) != 0;
  if (size == 0 || size > (large ? kClusterMax : kClusterPortable))
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  if (request.grid.x % cluster->x != 0 || request.grid.y % cluster->y != 0 ||
      request.grid.z % cluster->z != 0) {
    return request.invalid_dimensions;
  }
  return CUDA_SUCCESS;
}

CUresult make_kernel(const FunctionRef& function, const LaunchRequest& request, KernelWork* out) {
  if (CUresult error = check_shape(*function, request)) {
    log::debug("{}: a launch of ({}, {}, {}) x ({}, {}, {}) with {} bytes is refused: {}",
               function->info().name, request.grid.x, request.grid.y, request.grid.z,
               request.block.x, request.block.y, request.block.z, request.dynamic_shared_bytes,
               static_cast<int>(error));
    return error;
  }
  if (CUresult error = find_cluster(*function, request, &out->cluster)) {
    log::debug("{}: a launch in clusters of ({}, {}, {}) is refused: {}", function->info().name,
               out->cluster.x, out->cluster.y, out->cluster.z, static_cast<int>(error));
    return error;
  }
  if (CUresult error = function->code(&out->code)) return error;
  if (CUresult error = copy_params(function->info(), request, &out->params)) return error;
  out->function = function;
  out->grid = request.grid;
  out->block = request.block;
  out->dynamic_shared_bytes = request.dynamic_shared_bytes;
  out->cooperative = request.cooperative;
  return CUDA_SUCCESS;
}

CUresult read_launch_attributes(const CUlaunchAttribute* attributes, unsigned count,
                                bool* cooperative, Dim3* cluster) {
  *cooperative = false;
  if (count > 0 && attributes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < count; ++i) {
    const CUlaunchAttributeValue& value = attributes[i].value;
    switch (attributes[i].id) {
      case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        *cooperative = value.cooperative != 0;
        break;
      case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        if (value.clusterDim.x == 0 || value.clusterDim.y == 0 || value.clusterDim.z == 0)
          return CUDA_ERROR_INVALID_VALUE;
        if (cluster != nullptr) {
          *cluster = {value.clusterDim.x, value.clusterDim.y, value.clusterDim.z};
        } else if (value.clusterDim.x != 1 || value.clusterDim.y != 1 || value.clusterDim.z != 1) {
          log::warning("clusters as an attribute of graph nodes are not supported by softgpu");
          return CUDA_ERROR_NOT_SUPPORTED;
        }
        break;
      // Events within a kernel's run, and nodes that kernels change.
      case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
      case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
      case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
        log::warning("launch attribute {} is not supported by softgpu",
                     static_cast<int>(attributes[i].id));
        return CUDA_ERROR_NOT_SUPPORTED;
      default:
        break;  // the rest are hints; a kernel that waits for its predecessor finds it done
    }
  }
  return CUDA_SUCCESS;
}

CUresult api::cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z,
                             unsigned shared_bytes, CUstream stream, void** params, void** extra) {
  return launch(
      function, stream,
      {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, false, params, extra});
}

CUresult api::cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                        unsigned grid_z, unsigned block_x, unsigned block_y,
                                        unsigned block_z, unsigned shared_bytes, CUstream stream,
                                        void** params) {
  return launch(
      function, stream,
      {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, true, params, nullptr});
}

CUresult api::cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** params,
                               void** extra) {
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LaunchRequest request{{config->gridDimX, config->gridDimY, config->gridDimZ},
                        {config->blockDimX, config->blockDimY, config->blockDimZ},
                        config->sharedMemBytes,
                        false,
                        params,
                        extra};
  if (CUresult error = read_launch_attributes(config->attrs, config->numAttrs, &request.cooperative,
                                              &request.cluster)) {
    return error;
  }
  return launch(function, config->hStream, request);
}

}  // namespace farcall::softgpu
