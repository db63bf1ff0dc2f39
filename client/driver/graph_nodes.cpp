// Nodes of the driver API that a program adds itself; see client/graph_nodes.h.
#include "client/graph_nodes.h"

#include <cuda.h>

#include "client/driver/graph_puts.h"
#include "client/driver_bodies.h"
#include "client/stub.h"

namespace farcall::client::driver {

int put_kernel(Session& session, const NodePlace& at, const CUDA_KERNEL_NODE_PARAMS* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Kernel* const kernel =
      params->func != nullptr ? find_kernel(id_of(params->func)) : find_kernel(id_of(params->kern));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  LaunchConfig config;
  config = {{params->gridDimX, params->gridDimY, params->gridDimZ},
            {params->blockDimX, params->blockDimY, params->blockDimZ},
            params->sharedMemBytes};
  return put_kernel_node(session, at, *kernel, config, params->kernelParams, params->extra);
}

namespace {

// The older struct is the newer one without its last two members.
CUDA_KERNEL_NODE_PARAMS newer(const CUDA_KERNEL_NODE_PARAMS_v1& params) {
  CUDA_KERNEL_NODE_PARAMS out = {};
  out.func = params.func;
  out.gridDimX = params.gridDimX;
  out.gridDimY = params.gridDimY;
  out.gridDimZ = params.gridDimZ;
  out.blockDimX = params.blockDimX;
  out.blockDimY = params.blockDimY;
  out.blockDimZ = params.blockDimZ;
  out.sharedMemBytes = params.sharedMemBytes;
  out.kernelParams = params.kernelParams;
  out.extra = params.extra;
  return out;
}

int put_kernel(Session& session, const NodePlace& at, const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS converted = newer(*params);
  return driver::put_kernel(session, at, &converted);
}

// Fills in what both structs have, but for the kernel.
template <class Params>
int get_kernel(Session& session, CUgraphNode node, Params* out, const Kernel** kernel) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  KernelNode got;
  if (const int failed = get_kernel_node(session, node, &got)) return failed;
  *out = {};
  out->gridDimX = got.config.grid[0];
  out->gridDimY = got.config.grid[1];
  out->gridDimZ = got.config.grid[2];
  out->blockDimX = got.config.block[0];
  out->blockDimY = got.config.block[1];
  out->blockDimZ = got.config.block[2];
  out->sharedMemBytes = got.config.shared_bytes;
  out->kernelParams = got.params;
  *kernel = got.kernel;
  return CUDA_SUCCESS;
}

int put_host(Session& session, const NodePlace& at, const CUDA_HOST_NODE_PARAMS* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_host_node(session, at, {.function = params->fn, .data = params->userData});
}

}  // namespace

// --- Kernels

int cuGraphAddKernelNode_v2(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                            const CUgraphNode* dependencies, size_t numDependencies,
                            const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  if (phGraphNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_kernel(
      session, NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies), nodeParams);
}

int cuGraphAddKernelNode(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                         const CUgraphNode* dependencies, size_t numDependencies,
                         const CUDA_KERNEL_NODE_PARAMS_v1* nodeParams) {
  if (phGraphNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_kernel(
      session, NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies), nodeParams);
}

int cuGraphKernelNodeSetParams_v2(Session& session, CUgraphNode hNode,
                                  const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  return put_kernel(session, NodePlace::existing(hNode), nodeParams);
}

int cuGraphKernelNodeSetParams(Session& session, CUgraphNode hNode,
                               const CUDA_KERNEL_NODE_PARAMS_v1* nodeParams) {
  return put_kernel(session, NodePlace::existing(hNode), nodeParams);
}

int cuGraphExecKernelNodeSetParams_v2(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                                      const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  if (hGraphExec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_kernel(session, NodePlace::existing(hNode, hGraphExec), nodeParams);
}

int cuGraphExecKernelNodeSetParams(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                                   const CUDA_KERNEL_NODE_PARAMS_v1* nodeParams) {
  if (hGraphExec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_kernel(session, NodePlace::existing(hNode, hGraphExec), nodeParams);
}

// A kernel of a library comes back as such; a program that asks for a CUfunction takes it too.
int cuGraphKernelNodeGetParams_v2(Session& session, CUgraphNode hNode,
                                  CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  const Kernel* kernel = nullptr;
  if (const int failed = get_kernel(session, hNode, nodeParams, &kernel)) return failed;
  if (rpc::handle_type(kernel->id) == rpc::HandleType::kKernel) {
    nodeParams->kern = handle_from<CUkernel>(kernel->id);
  }
  nodeParams->func = handle_from<CUfunction>(kernel->id);
  return CUDA_SUCCESS;
}

int cuGraphKernelNodeGetParams(Session& session, CUgraphNode hNode,
                               CUDA_KERNEL_NODE_PARAMS_v1* nodeParams) {
  const Kernel* kernel = nullptr;
  if (const int failed = get_kernel(session, hNode, nodeParams, &kernel)) return failed;
  nodeParams->func = handle_from<CUfunction>(kernel->id);
  return CUDA_SUCCESS;
}

// --- Functions of the program

int cuGraphAddHostNode(Session& session, CUgraphNode* phGraphNode, CUgraph hGraph,
                       const CUgraphNode* dependencies, size_t numDependencies,
                       const CUDA_HOST_NODE_PARAMS* nodeParams) {
  if (phGraphNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_host(session, NodePlace::in_graph(phGraphNode, hGraph, dependencies, numDependencies),
                  nodeParams);
}

int cuGraphHostNodeSetParams(Session& session, CUgraphNode hNode,
                             const CUDA_HOST_NODE_PARAMS* nodeParams) {
  return put_host(session, NodePlace::existing(hNode), nodeParams);
}

int cuGraphExecHostNodeSetParams(Session& session, CUgraphExec hGraphExec, CUgraphNode hNode,
                                 const CUDA_HOST_NODE_PARAMS* nodeParams) {
  if (hGraphExec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return put_host(session, NodePlace::existing(hNode, hGraphExec), nodeParams);
}

int cuGraphHostNodeGetParams(Session& session, CUgraphNode hNode,
                             CUDA_HOST_NODE_PARAMS* nodeParams) {
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  HostFunction function;
  if (const int failed = get_host_node(session, hNode, &function)) return failed;
  *nodeParams = {};
  nodeParams->fn = function.function;
  nodeParams->userData = function.data;
  return CUDA_SUCCESS;
}

}  // namespace farcall::client::driver
