// Nodes that a program adds to a graph itself, where generated stubs can't: kernels, whose
// parameters are as long as the kernel says, and functions of the program. Results are CUresults.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <memory>

#include "client/api.h"
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

}  // namespace farcall::client
