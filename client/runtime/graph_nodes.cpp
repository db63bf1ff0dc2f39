// Nodes of the runtime API that a program adds itself; see client/graph_nodes.h.
#include "client/graph_nodes.h"

#include <cuda_runtime_api.h>

#include "client/runtime/graph_puts.h"
#include "client/runtime/registration.h"
#include "client/runtime_bodies.h"
#include "client/stub.h"

namespace farcall::client::runtime {

int put_kernel(Session& session, const NodePlace& at, const cudaKernelNodeParams* params) {
  if (params == nullptr) return cudaErrorInvalidValue;
  Kernel* kernel = nullptr;
  // What is no function of the program is taken for a handle here, as NVIDIA's runtime does.
  if (const int failed = kernel_of(session, params->func, &kernel)) {
    return failed == cudaErrorInvalidDeviceFunction ? int(cudaErrorInvalidResourceHandle) : failed;
  }
  LaunchConfig config;
  config = {{params->gridDim.x, params->gridDim.y, params->gridDim.z},
            {params->blockDim.x, params->blockDim.y, params->blockDim.z},
            params->sharedMemBytes};
  return put_kernel_node(session, at, *kernel, config, params->kernelParams, params->extra);
}

namespace {

int put_host(Session& session, const NodePlace& at, const cudaHostNodeParams* params) {
  if (params == nullptr) return cudaErrorInvalidValue;
  return put_host_node(session, at, {.function = params->fn, .data = params->userData});
}

}  // namespace

int cudaGraphAddKernelNode(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                           const cudaGraphNode_t* pDependencies, size_t numDependencies,
                           const cudaKernelNodeParams* pNodeParams) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_kernel(session, NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies),
                    pNodeParams);
}

int cudaGraphKernelNodeSetParams(Session& session, cudaGraphNode_t node,
                                 const cudaKernelNodeParams* pNodeParams) {
  return put_kernel(session, NodePlace::existing(node), pNodeParams);
}

int cudaGraphExecKernelNodeSetParams(Session& session, cudaGraphExec_t hGraphExec,
                                     cudaGraphNode_t node,
                                     const cudaKernelNodeParams* pNodeParams) {
  if (hGraphExec == nullptr) return cudaErrorInvalidValue;
  return put_kernel(session, NodePlace::existing(node, hGraphExec), pNodeParams);
}

int cudaGraphKernelNodeGetParams(Session& session, cudaGraphNode_t node,
                                 cudaKernelNodeParams* pNodeParams) {
  if (pNodeParams == nullptr) return cudaErrorInvalidValue;
  KernelNode got;
  if (const int failed = get_kernel_node(session, node, &got)) return failed;
  *pNodeParams = {};
  const void* const symbol = got.kernel->symbol.load(std::memory_order_relaxed);
  pNodeParams->func =
      symbol != nullptr ? const_cast<void*>(symbol) : handle_from<void*>(got.kernel->id);
  pNodeParams->gridDim = dim3(got.config.grid[0], got.config.grid[1], got.config.grid[2]);
  pNodeParams->blockDim = dim3(got.config.block[0], got.config.block[1], got.config.block[2]);
  pNodeParams->sharedMemBytes = got.config.shared_bytes;
  pNodeParams->kernelParams = got.params;
  return cudaSuccess;
}

int cudaGraphAddHostNode(Session& session, cudaGraphNode_t* pGraphNode, cudaGraph_t graph,
                         const cudaGraphNode_t* pDependencies, size_t numDependencies,
                         const cudaHostNodeParams* pNodeParams) {
  if (pGraphNode == nullptr) return cudaErrorInvalidValue;
  return put_host(session, NodePlace::in_graph(pGraphNode, graph, pDependencies, numDependencies),
                  pNodeParams);
}

int cudaGraphHostNodeSetParams(Session& session, cudaGraphNode_t node,
                               const cudaHostNodeParams* pNodeParams) {
  return put_host(session, NodePlace::existing(node), pNodeParams);
}

int cudaGraphExecHostNodeSetParams(Session& session, cudaGraphExec_t hGraphExec,
                                   cudaGraphNode_t node, const cudaHostNodeParams* pNodeParams) {
  if (hGraphExec == nullptr) return cudaErrorInvalidValue;
  return put_host(session, NodePlace::existing(node, hGraphExec), pNodeParams);
}

int cudaGraphHostNodeGetParams(Session& session, cudaGraphNode_t node,
                               cudaHostNodeParams* pNodeParams) {
  if (pNodeParams == nullptr) return cudaErrorInvalidValue;
  HostFunction function;
  if (const int failed = get_host_node(session, node, &function)) return failed;
  pNodeParams->fn = function.function;
  pNodeParams->userData = function.data;
  return cudaSuccess;
}

}  // namespace farcall::client::runtime
