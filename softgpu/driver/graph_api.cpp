// cuGraph*: graphs as a whole, their edges, executable graphs, user objects.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/graph_exec.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

CUresult find_exec(CUgraphExec handle, std::shared_ptr<GraphExec>* out) {
  *out = driver().graph_execs.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// CUDA's way to give a list: without an array the count is asked for, else at most *count entries
// are written, the rest of the array is cleared, and *count says how many there were.
template <class Handle>
CUresult give_list(const std::vector<Handle>& list, Handle* out, size_t* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out != nullptr) {
    const size_t copied = std::min(*count, list.size());
    std::copy_n(list.begin(), copied, out);
    std::fill(out + copied, out + *count, Handle{});
    *count = copied;
  } else {
    *count = list.size();
  }
  return CUDA_SUCCESS;
}

std::vector<CUgraphNode> dependents(const GraphNode& node) {
  std::vector<CUgraphNode> list;
  for (const GraphNodeRef& other : node.graph.nodes()) {
    if (std::find(other->after.begin(), other->after.end(), &node) != other->after.end()) {
      list.push_back(other->handle);
    }
  }
  return list;
}

// "kernel add", "memcpy 4 bytes", "host function".
std::string describe(const NodeContent& content) {
  switch (content.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      return "kernel " + std::get<KernelWork>(content.work).function->info().name;
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return fmt::format("memcpy {} bytes", std::get<CopyWork>(content.work).bytes());
    case CU_GRAPH_NODE_TYPE_MEMSET:
      return fmt::format("memset {:#x}", content.memset.value);
    case CU_GRAPH_NODE_TYPE_HOST:
      return "host function";
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return "graph";
    case CU_GRAPH_NODE_TYPE_EMPTY:
      return "empty";
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return "wait for an event";
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return "record an event";
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
      return fmt::format("allocate {} bytes", content.allocation.bytesize);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
      return "free";
    default:
      return fmt::format("type {}", static_cast<int>(content.type));
  }
}

void clear_edge_data(CUgraphEdgeData* data, size_t count) {
  if (data != nullptr) std::fill_n(data, count, CUgraphEdgeData{});
}

}  // namespace

CUresult find_graph(CUgraph handle, GraphRef* out) {
  *out = driver().graphs.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_node(CUgraphNode handle, GraphNodeRef* out) {
  *out = driver().graph_nodes.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_nodes(const CUgraphNode* handles, size_t count, std::vector<GraphNodeRef>* out) {
  if (count > 0 && handles == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; ++i) {
    GraphNodeRef node;
    if (CUresult error = find_node(handles[i], &node)) return error;
    out->push_back(std::move(node));
  }
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ graphs

CUresult api::cuGraphCreate(CUgraph* out, unsigned flags) {
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *out = Graph::create()->handle();
  return CUDA_SUCCESS;
}

CUresult api::cuGraphDestroy(CUgraph handle) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  graph->retire();
  return CUDA_SUCCESS;
}

CUresult api::cuGraphClone(CUgraph* out, CUgraph handle) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = graph->clone()->handle();
  return CUDA_SUCCESS;
}

CUresult api::cuGraphNodeFindInClone(CUgraphNode* out, CUgraphNode original, CUgraph clone) {
  GraphRef graph;
  if (CUresult error = find_graph(clone, &graph)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(original, &node)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const GraphNodeRef& copy : graph->nodes()) {
    if (copy->cloned_from != node->id) continue;
    *out = copy->handle;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult api::cuGraphGetNodes(CUgraph handle, CUgraphNode* out, size_t* count) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  std::vector<CUgraphNode> list;
  for (const GraphNodeRef& node : graph->nodes()) list.push_back(node->handle);
  return give_list(list, out, count);
}

CUresult api::cuGraphGetRootNodes(CUgraph handle, CUgraphNode* out, size_t* count) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  std::lock_guard lock(graph->mutex);
  std::vector<CUgraphNode> list;
  for (const GraphNodeRef& node : graph->nodes()) {
    if (node->after.empty()) list.push_back(node->handle);
  }
  return give_list(list, out, count);
}

// For Graphviz: nodes with what they are, edges as arrows. Flags ask for more than that, which is
// not there.
CUresult api::cuGraphDebugDotPrint(CUgraph handle, const char* path, unsigned) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return CUDA_ERROR_OPERATING_SYSTEM;
  std::lock_guard lock(graph->mutex);
  std::fprintf(file, "digraph graph_%p {\n", static_cast<void*>(handle));
  for (const GraphNodeRef& node : graph->nodes()) {
    std::fprintf(file, "  \"%p\" [label=\"%s\"];\n", static_cast<void*>(node->handle),
                 describe(node->content).c_str());
    for (const GraphNode* dependency : node->after) {
      std::fprintf(file, "  \"%p\" -> \"%p\";\n", static_cast<void*>(dependency->handle),
                   static_cast<void*>(node->handle));
    }
  }
  std::fprintf(file, "}\n");
  return std::fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}

// ------------------------------------------------------------------ edges

CUresult api::cuGraphGetEdges_v2(CUgraph handle, CUgraphNode* from, CUgraphNode* to,
                                 CUgraphEdgeData* data, size_t* count) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  if (count == nullptr || (from == nullptr) != (to == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(graph->mutex);
  std::vector<CUgraphNode> sources, targets;
  for (const GraphNodeRef& node : graph->nodes()) {
    for (const GraphNode* dependency : node->after) {
      sources.push_back(dependency->handle);
      targets.push_back(node->handle);
    }
  }
  size_t same_count = *count;
  if (CUresult error = give_list(sources, from, &same_count)) return error;
  if (CUresult error = give_list(targets, to, count)) return error;
  if (from != nullptr) clear_edge_data(data, *count);
  return CUDA_SUCCESS;
}
CUresult api::cuGraphGetEdges(CUgraph handle, CUgraphNode* from, CUgraphNode* to, size_t* count) {
  return api::cuGraphGetEdges_v2(handle, from, to, nullptr, count);
}

CUresult api::cuGraphNodeGetDependencies_v2(CUgraphNode handle, CUgraphNode* out,
                                            CUgraphEdgeData* data, size_t* count) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  std::lock_guard lock(node->graph.mutex);
  std::vector<CUgraphNode> list;
  for (const GraphNode* dependency : node->after) list.push_back(dependency->handle);
  if (CUresult error = give_list(list, out, count)) return error;
  if (out != nullptr) clear_edge_data(data, *count);
  return CUDA_SUCCESS;
}
CUresult api::cuGraphNodeGetDependencies(CUgraphNode handle, CUgraphNode* out, size_t* count) {
  return api::cuGraphNodeGetDependencies_v2(handle, out, nullptr, count);
}

CUresult api::cuGraphNodeGetDependentNodes_v2(CUgraphNode handle, CUgraphNode* out,
                                              CUgraphEdgeData* data, size_t* count) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  std::lock_guard lock(node->graph.mutex);
  if (CUresult error = give_list(dependents(*node), out, count)) return error;
  if (out != nullptr) clear_edge_data(data, *count);
  return CUDA_SUCCESS;
}
CUresult api::cuGraphNodeGetDependentNodes(CUgraphNode handle, CUgraphNode* out, size_t* count) {
  return api::cuGraphNodeGetDependentNodes_v2(handle, out, nullptr, count);
}

// Edge data asks for less than a full dependency (programmatic launches); a full one is always
// right.
CUresult api::cuGraphAddDependencies_v2(CUgraph handle, const CUgraphNode* from,
                                        const CUgraphNode* to, const CUgraphEdgeData*,
                                        size_t count) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  std::vector<GraphNodeRef> sources, targets;
  if (CUresult error = find_nodes(from, count, &sources)) return error;
  if (CUresult error = find_nodes(to, count, &targets)) return error;
  for (size_t i = 0; i < count; ++i) {
    if (CUresult error = graph->connect(*sources[i], *targets[i])) return error;
  }
  return CUDA_SUCCESS;
}
CUresult api::cuGraphAddDependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                                     size_t count) {
  return api::cuGraphAddDependencies_v2(handle, from, to, nullptr, count);
}

CUresult api::cuGraphRemoveDependencies_v2(CUgraph handle, const CUgraphNode* from,
                                           const CUgraphNode* to, const CUgraphEdgeData*,
                                           size_t count) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  std::vector<GraphNodeRef> sources, targets;
  if (CUresult error = find_nodes(from, count, &sources)) return error;
  if (CUresult error = find_nodes(to, count, &targets)) return error;
  for (size_t i = 0; i < count; ++i) {
    if (CUresult error = graph->disconnect(*sources[i], *targets[i])) return error;
  }
  return CUDA_SUCCESS;
}
CUresult api::cuGraphRemoveDependencies(CUgraph handle, const CUgraphNode* from,
                                        const CUgraphNode* to, size_t count) {
  return api::cuGraphRemoveDependencies_v2(handle, from, to, nullptr, count);
}

// ------------------------------------------------------------------ executable graphs

CUresult api::cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph handle,
                                          unsigned long long flags) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  constexpr unsigned long long kKnown =
      CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
      CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  if (out == nullptr || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = GraphExec::instantiate(*graph, flags, &exec)) return error;
  *out = driver().graph_execs.insert(std::move(exec));
  return CUDA_SUCCESS;
}

CUresult api::cuGraphInstantiateWithParams(CUgraphExec* out, CUgraph graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  params->hErrNode_out = nullptr;
  const CUresult result = api::cuGraphInstantiateWithFlags(out, graph, params->flags);
  params->result_out =
      result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
  return result;
}

CUresult api::cuGraphInstantiate_v2(CUgraphExec* out, CUgraph graph, CUgraphNode* error_node,
                                    char* log, size_t log_bytes) {
  if (error_node != nullptr) *error_node = nullptr;
  if (log != nullptr && log_bytes > 0) *log = '\0';
  return api::cuGraphInstantiateWithFlags(out, graph, 0);
}
CUresult api::cuGraphInstantiate(CUgraphExec* out, CUgraph graph, CUgraphNode* error_node,
                                 char* log, size_t log_bytes) {
  return api::cuGraphInstantiate_v2(out, graph, error_node, log, log_bytes);
}

CUresult api::cuGraphExecGetFlags(CUgraphExec handle, cuuint64_t* flags) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = exec->flags();
  return CUDA_SUCCESS;
}

// There is nothing to upload to.
CUresult api::cuGraphUpload(CUgraphExec handle, CUstream stream_handle) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  StreamRef stream;
  return find_stream(stream_handle, &stream);
}

CUresult api::cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  StreamRef stream;
  if (CUresult error = find_stream(stream_handle, &stream)) return error;
  if (CUresult error = check_legacy_during_capture(*stream)) return error;
  if (stream->capture() != nullptr) {
    log::warning("launching a graph into a stream that is being captured is not supported");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return exec->launch(stream);
}

// What was launched goes on.
CUresult api::cuGraphExecDestroy(CUgraphExec handle) {
  return driver().graph_execs.remove(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult api::cuGraphExecUpdate_v2(CUgraphExec handle, CUgraph graph_handle,
                                   CUgraphExecUpdateResultInfo* info) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  if (info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return exec->update(*graph, info);
}

CUresult api::cuGraphExecUpdate(CUgraphExec handle, CUgraph graph, CUgraphNode* error_node,
                                CUgraphExecUpdateResult* result) {
  CUgraphExecUpdateResultInfo info = {};
  const CUresult updated = api::cuGraphExecUpdate_v2(handle, graph, &info);
  if (error_node != nullptr) *error_node = info.errorNode;
  if (result != nullptr) *result = info.result;
  return updated;
}

CUresult api::cuGraphNodeSetEnabled(CUgraphExec handle, CUgraphNode node_handle, unsigned enabled) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  return exec->set_enabled(*node, enabled != 0);
}

CUresult api::cuGraphNodeGetEnabled(CUgraphExec handle, CUgraphNode node_handle,
                                    unsigned* enabled) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  if (enabled == nullptr) return CUDA_ERROR_INVALID_VALUE;
  bool is_enabled;
  if (CUresult error = exec->is_enabled(*node, &is_enabled)) return error;
  *enabled = is_enabled;
  return CUDA_SUCCESS;
}

namespace {

// The exec's node gets new contents, which `make` writes.
CUresult set_in_exec(CUgraphExec handle, CUgraphNode node_handle, CUgraphNodeType type,
                     const std::function<CUresult(NodeContent*)>& make) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  NodeContent content;
  {
    std::lock_guard lock(node->graph.mutex);
    if (node->content.type != type) return CUDA_ERROR_INVALID_VALUE;
    content.context = node->content.context;
  }
  if (CUresult error = make(&content)) return error;
  return exec->set_content(*node, content);
}

}  // namespace

CUresult api::cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                                const CUDA_KERNEL_NODE_PARAMS* params) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_KERNEL,
                     [&](NodeContent* content) { return make_kernel_content(params, content); });
}
CUresult api::cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS newer = as_v2(*params);
  return api::cuGraphExecKernelNodeSetParams_v2(exec, node, &newer);
}
CUresult api::cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_MEMCPY3D* shape, CUcontext context) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, [&](NodeContent* content) {
    return make_memcpy_content(shape, context, content);
  });
}
CUresult api::cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_MEMSET_NODE_PARAMS* shape,
                                             CUcontext context) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, [&](NodeContent* content) {
    return make_memset_content(shape, context, content);
  });
}
CUresult api::cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_HOST_NODE_PARAMS* params) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_HOST,
                     [&](NodeContent* content) { return make_host_content(params, content); });
}
CUresult api::cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node,
                                                 CUevent event) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, [&](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_EVENT_RECORD, event, content);
  });
}
CUresult api::cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event) {
  return set_in_exec(exec, node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, [&](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_WAIT_EVENT, event, content);
  });
}

CUresult api::cuGraphExecChildGraphNodeSetParams(CUgraphExec handle, CUgraphNode node_handle,
                                                 CUgraph child_handle) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult error = find_exec(handle, &exec)) return error;
  GraphNodeRef node;
  if (CUresult error = find_node(node_handle, &node)) return error;
  GraphRef child;
  if (CUresult error = find_graph(child_handle, &child)) return error;
  return exec->set_child(*node, *child);
}

CUresult api::cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                       CUgraphNodeParams* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (params->type == CU_GRAPH_NODE_TYPE_GRAPH) {
    return api::cuGraphExecChildGraphNodeSetParams(exec, node, params->graph.graph);
  }
  return set_in_exec(exec, node, params->type,
                     [&](NodeContent* content) { return make_content(params, content); });
}

// ------------------------------------------------------------------ user objects

CUresult api::cuUserObjectCreate(CUuserObject* out, void* object, CUhostFn destroy,
                                 unsigned references, unsigned flags) {
  if (out == nullptr || destroy == nullptr || references == 0 ||
      flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = driver().user_objects.insert(std::make_shared<UserObject>(object, destroy, references));
  return CUDA_SUCCESS;
}

namespace {

CUresult find_user_object(CUuserObject handle, unsigned count, std::shared_ptr<UserObject>* out) {
  *out = driver().user_objects.find(handle);
  return *out != nullptr && count > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

CUresult api::cuUserObjectRetain(CUuserObject handle, unsigned count) {
  std::shared_ptr<UserObject> object;
  if (CUresult error = find_user_object(handle, count, &object)) return error;
  object->retain(count);
  return CUDA_SUCCESS;
}

CUresult api::cuUserObjectRelease(CUuserObject handle, unsigned count) {
  std::shared_ptr<UserObject> object;
  if (CUresult error = find_user_object(handle, count, &object)) return error;
  object->release(count);
  return CUDA_SUCCESS;
}

CUresult api::cuGraphRetainUserObject(CUgraph graph_handle, CUuserObject handle, unsigned count,
                                      unsigned flags) {
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  std::shared_ptr<UserObject> object;
  if (CUresult error = find_user_object(handle, count, &object)) return error;
  if ((flags & ~unsigned{CU_GRAPH_USER_OBJECT_MOVE}) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & CU_GRAPH_USER_OBJECT_MOVE) == 0) object->retain(count);
  std::lock_guard lock(graph->mutex);
  graph->user_objects.add(object, count);
  return CUDA_SUCCESS;
}

CUresult api::cuGraphReleaseUserObject(CUgraph graph_handle, CUuserObject handle, unsigned count) {
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  std::shared_ptr<UserObject> object;
  if (CUresult error = find_user_object(handle, count, &object)) return error;
  std::lock_guard lock(graph->mutex);
  return graph->user_objects.remove(object, count) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace farcall::softgpu
