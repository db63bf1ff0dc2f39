// What the files share that add nodes to graphs: where a node goes, as a message says it.
#pragma once

#include "client/graph_nodes.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {

// A CUresult.
inline int check_place(const Session& session, const NodePlace& at) {
  if (at.added == nullptr) {
    if (at.node == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!usable(session, id_of(at.node), rpc::HandleType::kGraphNode))
      return CUDA_ERROR_INVALID_HANDLE;
    if (!usable(session, id_of(at.exec), rpc::HandleType::kGraphExec))
      return CUDA_ERROR_INVALID_HANDLE;
    return CUDA_SUCCESS;
  }
  if (at.graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, id_of(at.graph), rpc::HandleType::kGraph)) return CUDA_ERROR_INVALID_HANDLE;
  if (at.dependencies == nullptr && at.dependency_count != 0) return CUDA_ERROR_INVALID_VALUE;
  if (at.dependency_count > kArgumentBytesMax / sizeof(rpc::HandleId))
    return CUDA_ERROR_NOT_SUPPORTED;
  for (size_t i = 0; i < at.dependency_count; ++i) {
    if (at.dependencies[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!usable(session, id_of(at.dependencies[i]), rpc::HandleType::kGraphNode)) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
  }
  return CUDA_SUCCESS;
}

inline void write_place(rpc::schema::GraphNode::Builder to, const NodePlace& at,
                        rpc::HandleId node) {
  to.setNode(node);
  if (at.added == nullptr) {
    to.setExec(id_of(at.exec));
    return;
  }
  to.setGraph(id_of(at.graph));
  auto dependencies = to.initDependencies(unsigned(at.dependency_count));
  for (unsigned i = 0; i < at.dependency_count; ++i) {
    dependencies.set(i, id_of(at.dependencies[i]));
  }
}

// Sends the call that write(Call&, id of the node) fills in.
template <class Write>
rpc::Reply put_node(Session& session, const NodePlace& at, rpc::Opcode op, Write&& write) {
  if (const int bad = check_place(session, at)) return rpc::Reply(bad);
  if (at.added == nullptr) {
    Call call(session, op);
    write(call, id_of(at.node));
    return call.wait();
  }
  Minted minted(session, rpc::HandleType::kGraphNode);
  Call call(session, op);
  write(call, minted.id());
  rpc::Reply reply = call.wait();
  if (reply.own_result() == CUDA_SUCCESS) *at.added = handle_from<CUgraphNode>(minted.keep());
  return reply;
}

}  // namespace farcall::client
