// Nodes that a program adds to a graph itself, where generated stubs can't: kernels, whose
// parameters are as long as the kernel says, and functions of the program. Results are CUresults.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <memory>

#include <vector>

#include "client/api.h"
#include "client/copy.h"
#include "client/host_functions.h"
#include "client/launch.h"
#include "client/session.h"

namespace farcall::client {

// A new node after `dependencies`, or an existing one: in its graph, or in `exec` alone.
struct NodePlace {
  static NodePlace in_graph(CUgraphNode* added, CUgraph graph, const CUgraphNode* dependencies,
                            size_t count) {
    return {added, graph, dependencies, count};
  }
  static NodePlace existing(CUgraphNode node, CUgraphExec exec = nullptr) {
    NodePlace at;
    at.node = node;
    at.exec = exec;
    return at;
  }

  CUgraphNode* added = nullptr;  // null: `node` exists
  CUgraph graph = nullptr;
  const CUgraphNode* dependencies = nullptr;
  size_t dependency_count = 0;
  CUgraphExec exec = nullptr;
  CUgraphNode node = nullptr;
};

FARCALL_API int put_kernel_node(Session& session, const NodePlace& at, const Kernel& kernel,
                                const LaunchConfig& config, void** params, void** extra);
// `params` points to memory that lives until the node is asked about again.
struct KernelNode {
  const Kernel* kernel = nullptr;
  LaunchConfig config;
  void** params = nullptr;
};
FARCALL_API int get_kernel_node(Session& session, CUgraphNode node, KernelNode* out);

FARCALL_API int put_host_node(Session& session, const NodePlace& at, const HostFunction& function);
FARCALL_API int get_host_node(Session& session, CUgraphNode node, HostFunction* out);

// --- Memory

// Sides of the host's are the program's memory.
struct CopyNode {
  Side to, from;
  bool to_device = true, from_device = true;
  Extent extent;
};
FARCALL_API int put_copy_node(Session& session, const NodePlace& at, const CopyNode& copy,
                              rpc::HandleId context);
// NOT_SUPPORTED: the program's memory in it is not known here.
FARCALL_API int get_copy_node(Session& session, CUgraphNode node, CopyNode* out);

// The address comes back in `params`, and the program may ask about it like about any other.
FARCALL_API int put_allocation_node(Session& session, const NodePlace& at,
                                    CUDA_MEM_ALLOC_NODE_PARAMS* params);
// Access descriptors live until the node is asked about again.
FARCALL_API int get_allocation_node(Session& session, CUgraphNode node,
                                    CUDA_MEM_ALLOC_NODE_PARAMS* out);

FARCALL_API int put_memory_operations_node(Session& session, const NodePlace& at,
                                           const CUDA_BATCH_MEM_OP_NODE_PARAMS* params);
FARCALL_API int get_memory_operations_node(Session& session, CUgraphNode node,
                                           CUDA_BATCH_MEM_OP_NODE_PARAMS* out);

// --- Conditional nodes. The array of bodies lives as long as the process.

FARCALL_API int put_conditional_node(Session& session, const NodePlace& at,
                                     CUDA_CONDITIONAL_NODE_PARAMS* params);

// Makes the edges from at.dependencies to `node` anew, with their data; for nodes that were added
// without.
FARCALL_API int add_edges(Session& session, const NodePlace& at, CUgraphNode node,
                          const CUgraphEdgeData* edges);

// --- User objects: destroy(data) is called by a thread of ours when the last reference has gone.

FARCALL_API int create_user_object(Session& session, CUuserObject* object, void* data,
                                   CUhostFn destroy, unsigned references, unsigned flags);

}  // namespace farcall::client
