// cuGraph*: graphs as a whole, and user objects. Edges, executable graphs and nodes have files of
// their own.
#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/graph_lists.h"
#include "softgpu/driver/graph_nodes.h"

namespace farcall::softgpu {

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
