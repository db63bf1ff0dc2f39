// cuGraph*Dependencies and cuGraphGetEdges. Edge data says that less than a full dependency is
// enough (programmatic launches); here every edge is a full one, which is always right, and the
// data is kept to be asked for.
#include <algorithm>

#include "softgpu/driver/graph.h"
#include "softgpu/driver/graph_lists.h"
#include "softgpu/driver/graph_nodes.h"

namespace farcall::softgpu {
namespace {

CUgraphEdgeData data_of(const GraphNode& from, const GraphNode& to) {
  auto found = to.edge_data.find(&from);
  return found == to.edge_data.end() ? CUgraphEdgeData{} : found->second;
}

std::vector<GraphNodeRef> dependents(const GraphNode& node) {
  std::vector<GraphNodeRef> list;
  for (const GraphNodeRef& other : node.graph.nodes()) {
    if (std::find(other->after.begin(), other->after.end(), &node) != other->after.end()) {
      list.push_back(other);
    }
  }
  return list;
}

// Who does not ask for the data must not miss any.
CUresult give_data(const std::vector<CUgraphEdgeData>& list, CUgraphEdgeData* out, size_t count) {
  if (out == nullptr) {
    return std::all_of(list.begin(), list.end(), is_ordinary) ? CUDA_SUCCESS
                                                              : CUDA_ERROR_LOSSY_QUERY;
  }
  const size_t copied = std::min(count, list.size());
  std::copy_n(list.begin(), copied, out);
  std::fill(out + copied, out + count, CUgraphEdgeData{});
  return CUDA_SUCCESS;
}

CUresult give_nodes(const std::vector<CUgraphNode>& nodes,
                    const std::vector<CUgraphEdgeData>& edges, CUgraphNode* out,
                    CUgraphEdgeData* data, size_t* count) {
  if (count == nullptr || (out == nullptr && data != nullptr)) return CUDA_ERROR_INVALID_VALUE;
  if (out != nullptr) {
    if (CUresult error = give_data(edges, data, *count)) return error;
  }
  return give_list(nodes, out, count);
}

// Changes the edges one by one; what was changed before an error stays.
template <class Change>
CUresult for_each_edge(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                       const CUgraphEdgeData* data, size_t count, Change change) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  std::vector<GraphNodeRef> sources, targets;
  if (CUresult error = find_nodes(from, count, &sources)) return error;
  if (CUresult error = find_nodes(to, count, &targets)) return error;
  for (size_t i = 0; i < count; ++i) {
    const CUgraphEdgeData one = data != nullptr ? data[i] : CUgraphEdgeData{};
    if (CUresult error = change(*graph, *sources[i], *targets[i], one)) return error;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult api::cuGraphGetEdges_v2(CUgraph handle, CUgraphNode* from, CUgraphNode* to,
                                 CUgraphEdgeData* data, size_t* count) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  if (count == nullptr || (from == nullptr) != (to == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(graph->mutex);
  std::vector<CUgraphNode> sources, targets;
  std::vector<CUgraphEdgeData> edges;
  for (const GraphNodeRef& node : graph->nodes()) {
    for (const GraphNode* dependency : node->after) {
      sources.push_back(dependency->handle);
      targets.push_back(node->handle);
      edges.push_back(data_of(*dependency, *node));
    }
  }
  size_t same_count = *count;
  if (CUresult error = give_nodes(sources, edges, from, data, &same_count)) return error;
  return give_list(targets, to, count);
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
  std::vector<CUgraphEdgeData> edges;
  for (const GraphNode* dependency : node->after) {
    list.push_back(dependency->handle);
    edges.push_back(data_of(*dependency, *node));
  }
  return give_nodes(list, edges, out, data, count);
}
CUresult api::cuGraphNodeGetDependencies(CUgraphNode handle, CUgraphNode* out, size_t* count) {
  return api::cuGraphNodeGetDependencies_v2(handle, out, nullptr, count);
}

CUresult api::cuGraphNodeGetDependentNodes_v2(CUgraphNode handle, CUgraphNode* out,
                                              CUgraphEdgeData* data, size_t* count) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  std::lock_guard lock(node->graph.mutex);
  std::vector<CUgraphNode> list;
  std::vector<CUgraphEdgeData> edges;
  for (const GraphNodeRef& dependent : dependents(*node)) {
    list.push_back(dependent->handle);
    edges.push_back(data_of(*node, *dependent));
  }
  return give_nodes(list, edges, out, data, count);
}
CUresult api::cuGraphNodeGetDependentNodes(CUgraphNode handle, CUgraphNode* out, size_t* count) {
  return api::cuGraphNodeGetDependentNodes_v2(handle, out, nullptr, count);
}

CUresult api::cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode* from,
                                        const CUgraphNode* to, const CUgraphEdgeData* data,
                                        size_t count) {
  return for_each_edge(graph, from, to, data, count,
                       [](Graph& in, GraphNode& source, GraphNode& target,
                          const CUgraphEdgeData& one) { return in.connect(source, target, one); });
}
CUresult api::cuGraphAddDependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                                     size_t count) {
  return api::cuGraphAddDependencies_v2(handle, from, to, nullptr, count);
}

CUresult api::cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode* from,
                                           const CUgraphNode* to, const CUgraphEdgeData* data,
                                           size_t count) {
  return for_each_edge(
      graph, from, to, data, count,
      [](Graph& in, GraphNode& source, GraphNode& target, const CUgraphEdgeData& one) {
        return in.disconnect(source, target, one);
      });
}
CUresult api::cuGraphRemoveDependencies(CUgraph handle, const CUgraphNode* from,
                                        const CUgraphNode* to, size_t count) {
  return api::cuGraphRemoveDependencies_v2(handle, from, to, nullptr, count);
}

}  // namespace farcall::softgpu
