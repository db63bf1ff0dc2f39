// Where a node of a graph goes, or which one is changed: what the handlers of nodes share.
#pragma once

#include <cuda.h>

#include <vector>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"

namespace farcall::server::handlers {

struct Place {
  rpc::HandleId id = 0;  // of the node
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUgraphNode node = nullptr;  // null: to be added
  std::vector<CUgraphNode> dependencies;
};

inline Place read_place(CallContext& call, rpc::schema::GraphNode::Reader from) {
  Place at;
  at.id = from.getNode();
  at.graph = call.handle<CUgraph>(from.getGraph(), rpc::HandleType::kGraph);
  at.exec = call.handle<CUgraphExec>(from.getExec(), rpc::HandleType::kGraphExec);
  if (at.graph == nullptr) {
    at.node = call.handle<CUgraphNode>(at.id, rpc::HandleType::kGraphNode);
    if (at.node == nullptr) call.invalidate("neither a graph nor a node");
  }
  for (const rpc::HandleId id : from.getDependencies()) {
    at.dependencies.push_back(call.handle<CUgraphNode>(id, rpc::HandleType::kGraphNode));
  }
  return at;
}

inline void finish_added(CallContext& call, const Place& at, CUresult result, CUgraphNode added) {
  if (result == CUDA_SUCCESS && at.graph != nullptr) {
    call.bind(at.id, rpc::HandleType::kGraphNode, added);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
