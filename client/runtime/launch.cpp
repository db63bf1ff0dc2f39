// Kernel launches and function attributes of the runtime API.
#include <driver_types.h>

#include <algorithm>
#include <vector>

#include "client/api.h"
#include "client/host_functions.h"
#include "client/launch.h"
#include "client/occupancy.h"
#include "client/runtime/registration.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"
#include "rpc/schema/driver_function.capnp.h"

namespace farcall::client::runtime {
namespace {

using rpc::Opcode;
namespace schema = rpc::schema;

struct CallConfiguration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};
// k<<<...>>> pushes, then evaluates the arguments (which may launch), then pops.
std::vector<CallConfiguration>& call_configurations() {
  thread_local std::vector<CallConfiguration> stack;
  return stack;
}

LaunchConfig config_of(Session& session, dim3 grid, dim3 block, size_t shared_bytes,
                       cudaStream_t stream, bool per_thread_default) {
  LaunchConfig config;
  config = {{grid.x, grid.y, grid.z},
            {block.x, block.y, block.z},
            uint32_t(std::min<size_t>(shared_bytes, UINT32_MAX)),
            stream_id(session, stream, per_thread_default)};
  return config;
}

// The runtime has names of its own for what the driver calls an invalid value of a launch.
int runtime_result(int result) {
  return result == CUDA_ERROR_INVALID_VALUE ? int(cudaErrorInvalidConfiguration) : result;
}

int launch_symbol(Session& session, const void* func, const LaunchConfig& config, void** args) {
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  return runtime_result(client::launch(session, *kernel, config, args, nullptr));
}

}  // namespace

int cudaLaunchKernel(Session& session, const void* func, dim3 gridDim, dim3 blockDim, void** args,
                     size_t sharedMem, cudaStream_t stream, bool per_thread_default) {
  return launch_symbol(session, func,
                       config_of(session, gridDim, blockDim, sharedMem, stream, per_thread_default),
                       args);
}

int cudaLaunchCooperativeKernel(Session& session, const void* func, dim3 gridDim, dim3 blockDim,
                                void** args, size_t sharedMem, cudaStream_t stream,
                                bool per_thread_default) {
  LaunchConfig config =
      config_of(session, gridDim, blockDim, sharedMem, stream, per_thread_default);
  config.cooperative = true;
  return launch_symbol(session, func, config, args);
}

int cudaLaunchKernelExC(Session& session, const cudaLaunchConfig_t* config, const void* func,
                        void** args, bool per_thread_default) {
  if (config == nullptr || (config->numAttrs > 0 && config->attrs == nullptr))
    return cudaErrorInvalidValue;
  LaunchConfig ours = config_of(session, config->gridDim, config->blockDim,
                                config->dynamicSmemBytes, config->stream, per_thread_default);
  // cudaLaunchAttribute and CUlaunchAttribute have the same layout and the same numbers.
  static_assert(sizeof(cudaLaunchAttribute) == sizeof(CUlaunchAttribute));
  ours.attributes = reinterpret_cast<const CUlaunchAttribute*>(config->attrs);
  ours.attribute_count = config->numAttrs;
  return launch_symbol(session, func, ours, args);
}

// --- Host functions

int cudaLaunchHostFunc(Session& session, cudaStream_t stream, cudaHostFn_t fn, void* userData,
                       bool per_thread_default) {
  return launch_host_function(session, stream_id(session, stream, per_thread_default),
                              {.function = fn, .data = userData});
}

int cudaStreamAddCallback(Session& session, cudaStream_t stream, cudaStreamCallback_t callback,
                          void* userData, unsigned int flags, bool per_thread_default) {
  if (flags != 0) return cudaErrorInvalidValue;
  // The same function type but for the name of its second parameter's type, an enum in both APIs.
  return launch_host_function(session, stream_id(session, stream, per_thread_default),
                              {.callback = reinterpret_cast<CUstreamCallback>(callback),
                               .stream = stream,
                               .data = userData});
}

// --- Attributes

int cudaFuncGetAttributes(Session& session, cudaFuncAttributes* attr, const void* func) {
  if (attr == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  std::vector<int> values;
  if (const int failed = function_attributes(session, *kernel, &values)) return failed;
  const auto value = [&](CUfunction_attribute id) {
    return size_t(id) < values.size() ? values[size_t(id)] : 0;
  };
  cudaFuncAttributes answer{};
  answer.maxThreadsPerBlock = value(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  answer.sharedSizeBytes = size_t(value(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES));
  answer.constSizeBytes = size_t(value(CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES));
  answer.localSizeBytes = size_t(value(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES));
  answer.numRegs = value(CU_FUNC_ATTRIBUTE_NUM_REGS);
  answer.ptxVersion = value(CU_FUNC_ATTRIBUTE_PTX_VERSION);
  answer.binaryVersion = value(CU_FUNC_ATTRIBUTE_BINARY_VERSION);
  answer.cacheModeCA = value(CU_FUNC_ATTRIBUTE_CACHE_MODE_CA);
  answer.maxDynamicSharedSizeBytes = value(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  answer.preferredShmemCarveout = value(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
  answer.clusterDimMustBeSet = value(CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET);
  answer.requiredClusterWidth = value(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH);
  answer.requiredClusterHeight = value(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT);
  answer.requiredClusterDepth = value(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH);
  answer.clusterSchedulingPolicyPreference =
      value(CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE);
  answer.nonPortableClusterSizeAllowed = value(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
  *attr = answer;
  return cudaSuccess;
}

int cudaFuncSetAttribute(Session& session, const void* func, cudaFuncAttribute attr, int value) {
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  int result;
  {
    Call call(session, Opcode::k_farcallFunctionSetAttribute);
    auto args = call.args<schema::FarcallFunctionSetAttribute>();
    args.setFunction(kernel->id);
    args.setAttribute(int(attr));  // the numbers are those of CUfunction_attribute
    args.setValue(value);
    result = call.wait().result();
  }
  if (result == cudaSuccess)
    session.forget_cached();  // the function's attributes may be among them
  return result;
}

int cudaFuncSetCacheConfig(Session& session, const void* func, cudaFuncCache cacheConfig) {
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  Call call(session, Opcode::k_farcallFunctionSetCacheConfig);
  auto args = call.args<schema::FarcallFunctionSetCacheConfig>();
  args.setFunction(kernel->id);
  args.setConfig(int(cacheConfig));
  return call.post();
}

int cudaFuncSetSharedMemConfig(Session& session, const void* func, cudaSharedMemConfig config) {
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  Call call(session, Opcode::k_cuFuncSetSharedMemConfig);
  auto args = call.args<schema::CuFuncSetSharedMemConfig>();
  args.setHfunc(kernel->id);
  args.setConfig(int(config));
  return call.post();
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(Session& session, int* numBlocks,
                                                           const void* func, int blockSize,
                                                           size_t dynamicSMemSize,
                                                           unsigned int flags) {
  if (numBlocks == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  return active_blocks(session, *kernel, blockSize, dynamicSMemSize, flags, numBlocks);
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessor(Session& session, int* numBlocks,
                                                  const void* func, int blockSize,
                                                  size_t dynamicSMemSize) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(session, numBlocks, func, blockSize,
                                                                dynamicSMemSize, 0);
}

int cudaOccupancyAvailableDynamicSMemPerBlock(Session& session, size_t* dynamicSmemSize,
                                              const void* func, int numBlocks, int blockSize) {
  if (dynamicSmemSize == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  CachedCall call(session, Opcode::k_cuOccupancyAvailableDynamicSMemPerBlock);
  auto args = call.args<schema::CuOccupancyAvailableDynamicSMemPerBlock>();
  args.setFunc(kernel->id);
  args.setNumBlocks(numBlocks);
  args.setBlockSize(blockSize);
  rpc::Reply reply = call.wait();
  if (reply.result() == cudaSuccess) {
    *dynamicSmemSize = reply.results<schema::CuOccupancyAvailableDynamicSMemPerBlockResults>()
                           .getDynamicSmemSize();
  }
  return reply.result();
}

namespace {

int clusters(Session& session, const void* func, const cudaLaunchConfig_t* config,
             ClusterQuestion question, int* out) {
  if (out == nullptr || config == nullptr || (config->numAttrs > 0 && config->attrs == nullptr))
    return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  LaunchConfig ours = config_of(session, config->gridDim, config->blockDim,
                                config->dynamicSmemBytes, config->stream, false);
  ours.attributes = reinterpret_cast<const CUlaunchAttribute*>(config->attrs);
  ours.attribute_count = config->numAttrs;
  return ask_clusters(session, *kernel, ours, question, out);
}

}  // namespace

int cudaOccupancyMaxActiveClusters(Session& session, int* numClusters, const void* func,
                                   const cudaLaunchConfig_t* launchConfig) {
  return clusters(session, func, launchConfig, ClusterQuestion::kHowMany, numClusters);
}

int cudaOccupancyMaxPotentialClusterSize(Session& session, int* clusterSize, const void* func,
                                         const cudaLaunchConfig_t* launchConfig) {
  return clusters(session, func, launchConfig, ClusterQuestion::kHowLarge, clusterSize);
}

int cudaGetKernel(Session& session, cudaKernel_t* kernelPtr, const void* entryFuncAddr) {
  if (kernelPtr == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  const int result = kernel_of(session, entryFuncAddr, &kernel);
  if (result == cudaSuccess) *kernelPtr = handle_from<cudaKernel_t>(kernel->id);
  return result;
}

int cudaGetFuncBySymbol(Session& session, cudaFunction_t* functionPtr, const void* symbolPtr) {
  if (functionPtr == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  const int result = kernel_of(session, symbolPtr, &kernel);
  // Calls that take a function accept a kernel.
  if (result == cudaSuccess) *functionPtr = handle_from<cudaFunction_t>(kernel->id);
  return result;
}

int cudaFuncGetName(Session& session, const char** name, const void* func) {
  if (name == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  if (kernel->layout == nullptr) return cudaErrorNotSupported;
  *name = kernel->layout->name.c_str();
  return cudaSuccess;
}

int cudaFuncGetParamInfo(Session& session, const void* func, size_t paramIndex, size_t* paramOffset,
                         size_t* paramSize) {
  if (paramOffset == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  if (const int failed = kernel_of(session, func, &kernel)) return failed;
  if (kernel->layout == nullptr || !kernel->layout->params_known) return cudaErrorNotSupported;
  if (paramIndex >= kernel->layout->params.size()) return cudaErrorInvalidValue;
  *paramOffset = kernel->layout->params[paramIndex].offset;
  if (paramSize != nullptr) *paramSize = kernel->layout->params[paramIndex].size;
  return cudaSuccess;
}

}  // namespace farcall::client::runtime

// --- Called by nvcc's host code around <<<...>>>; declared in crt/host_runtime.h

using namespace farcall::client;  // NOLINT(google-build-using-namespace): exported C names follow

// Only code that nvcc makes calls these, so no header declares them.
#pragma GCC diagnostic ignored "-Wmissing-declarations"
extern "C" {

FARCALL_API unsigned __cudaPushCallConfiguration(dim3 gridDim, dim3 blockDim, size_t sharedMem,
                                                 cudaStream_t stream) {
  runtime::call_configurations().push_back({gridDim, blockDim, sharedMem, stream});
  return 0;
}

FARCALL_API cudaError_t __cudaPopCallConfiguration(dim3* gridDim, dim3* blockDim, size_t* sharedMem,
                                                   void* stream) {
  auto& stack = runtime::call_configurations();
  if (stack.empty()) return cudaErrorMissingConfiguration;
  const auto& top = stack.back();
  *gridDim = top.grid;
  *blockDim = top.block;
  *sharedMem = top.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  stack.pop_back();
  return cudaSuccess;
}

FARCALL_API cudaError_t __cudaGetKernel(cudaKernel_t* kernelPtr, const void* entryFuncAddr) {
  return enter<cudaError_t>(farcall::rpc::Opcode::k_cudaGetKernel, [&](Session& session) -> int {
    return runtime::cudaGetKernel(session, kernelPtr, entryFuncAddr);
  });
}

FARCALL_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 gridDim, dim3 blockDim,
                                           void** args, size_t sharedMem, cudaStream_t stream) {
  return enter<cudaError_t>(farcall::rpc::Opcode::k_cudaLaunchKernel, [&](Session& session) -> int {
    return runtime::cudaLaunchKernel(session, kernel, gridDim, blockDim, args, sharedMem, stream,
                                     false);
  });
}

FARCALL_API cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 gridDim, dim3 blockDim,
                                                void** args, size_t sharedMem,
                                                cudaStream_t stream) {
  return enter<cudaError_t>(farcall::rpc::Opcode::k_cudaLaunchKernel, [&](Session& session) -> int {
    return runtime::cudaLaunchKernel(session, kernel, gridDim, blockDim, args, sharedMem, stream,
                                     true);
  });
}

}  // extern "C"
