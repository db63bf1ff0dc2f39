#include "softgpu/driver/graph.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <unordered_map>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {

CUgraphNodeType node_type(const Work& work) {
  struct Type {
    CUgraphNodeType operator()(std::monostate) { return CU_GRAPH_NODE_TYPE_EMPTY; }
    CUgraphNodeType operator()(const KernelWork&) { return CU_GRAPH_NODE_TYPE_KERNEL; }
    CUgraphNodeType operator()(const CopyWork&) { return CU_GRAPH_NODE_TYPE_MEMCPY; }
    CUgraphNodeType operator()(const MemsetWork&) { return CU_GRAPH_NODE_TYPE_MEMSET; }
    CUgraphNodeType operator()(const HostWork&) { return CU_GRAPH_NODE_TYPE_HOST; }
    CUgraphNodeType operator()(const CallbackWork&) { return CU_GRAPH_NODE_TYPE_HOST; }
    CUgraphNodeType operator()(const FreeWork&) { return CU_GRAPH_NODE_TYPE_MEM_FREE; }
    CUgraphNodeType operator()(const ValueWork&) { return CU_GRAPH_NODE_TYPE_BATCH_MEM_OP; }
  };
  return std::visit(Type{}, work);
}

// ------------------------------------------------------------------ what nodes hold

CUresult GraphMemory::create(Context& context, size_t bytes, std::shared_ptr<GraphMemory>* out) {
  Region region;
  region.kind = Region::Kind::kGraph;
  region.context = &context;
  const uint64_t address = context.device().memory.allocate_region(bytes, region);
  if (address == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  out->reset(new GraphMemory(context.device(), address, bytes));
  context.device().graph_memory_changes(static_cast<int64_t>(bytes));
  return CUDA_SUCCESS;
}

GraphMemory::~GraphMemory() {
  device_.memory.free_region(address_);
  device_.graph_memory_changes(-static_cast<int64_t>(bytes_));
}

void UserObject::retain(unsigned count) {
  std::lock_guard lock(mutex_);
  count_ += count;
}

void UserObject::release(unsigned count) {
  {
    std::lock_guard lock(mutex_);
    count_ -= std::min<uint64_t>(count, count_);
    if (count_ > 0) return;
  }
  destroy_(object_);
}

UserObjects::UserObjects(const UserObjects& other) : counts_(other.counts_) {
  for (const auto& [object, count] : counts_) object->retain(count);
}

UserObjects::~UserObjects() {
  for (const auto& [object, count] : counts_) object->release(count);
}

bool UserObjects::remove(const std::shared_ptr<UserObject>& object, unsigned count) {
  auto found = counts_.find(object);
  if (found == counts_.end() || found->second < count) return false;
  found->second -= count;
  if (found->second == 0) counts_.erase(found);
  object->release(count);
  return true;
}

GraphNode::GraphNode(Graph& in, NodeContent what)
    : graph(in), id(driver().next_id()), content(std::move(what)) {}

// ------------------------------------------------------------------ graphs

GraphRef Graph::create() {
  GraphRef graph(new Graph);
  graph->handle_ = driver().graphs.insert(graph);
  return graph;
}

Graph::~Graph() = default;

CUresult Graph::add(NodeContent content, std::span<const GraphNodeRef> after, GraphNodeRef* out) {
  std::lock_guard lock(mutex);
  auto node = std::make_shared<GraphNode>(*this, std::move(content));
  for (const GraphNodeRef& dependency : after) {
    if (&dependency->graph != this ||
        std::find(node->after.begin(), node->after.end(), dependency.get()) != node->after.end()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    node->after.push_back(dependency.get());
  }
  node->handle = driver().graph_nodes.insert(node);
  nodes_.push_back(node);
  *out = std::move(node);
  return CUDA_SUCCESS;
}

CUresult Graph::connect(GraphNode& from, GraphNode& to) {
  std::lock_guard lock(mutex);
  if (&from.graph != this || &to.graph != this || &from == &to) return CUDA_ERROR_INVALID_VALUE;
  if (std::find(to.after.begin(), to.after.end(), &from) != to.after.end()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  to.after.push_back(&from);
  return CUDA_SUCCESS;
}

CUresult Graph::disconnect(GraphNode& from, GraphNode& to) {
  std::lock_guard lock(mutex);
  if (&from.graph != this || &to.graph != this) return CUDA_ERROR_INVALID_VALUE;
  return std::erase(to.after, &from) > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult Graph::remove(GraphNode& node) {
  std::lock_guard lock(mutex);
  for (const GraphNodeRef& other : nodes_) std::erase(other->after, &node);
  driver().graph_nodes.remove(node.handle);
  std::erase_if(nodes_, [&node](const GraphNodeRef& one) { return one.get() == &node; });
  return CUDA_SUCCESS;
}

GraphRef Graph::clone() const {
  std::lock_guard lock(mutex);
  GraphRef copy(new Graph(user_objects));
  copy->handle_ = driver().graphs.insert(copy);
  std::unordered_map<const GraphNode*, GraphNodeRef> copies;
  for (const GraphNodeRef& node : nodes_) {
    NodeContent content = node->content;
    if (content.child != nullptr) content.child = content.child->clone();
    GraphNodeRef made;
    const CUresult added = copy->add(std::move(content), {}, &made);
    assert(added == CUDA_SUCCESS);
    (void)added;
    made->cloned_from = node->id;
    copies.emplace(node.get(), std::move(made));
  }
  for (const GraphNodeRef& node : nodes_) {
    for (const GraphNode* dependency : node->after) {
      copies[node.get()]->after.push_back(copies[dependency].get());
    }
  }
  return copy;
}

void Graph::retire() {
  std::lock_guard lock(mutex);
  driver().graphs.remove(handle_);
  for (const GraphNodeRef& node : nodes_) {
    driver().graph_nodes.remove(node->handle);
    if (node->content.child != nullptr) node->content.child->retire();
  }
}

std::vector<GraphNodeRef> Graph::nodes() const {
  std::lock_guard lock(mutex);
  return nodes_;
}

std::vector<GraphNodeRef> Graph::topological_order() const {
  std::lock_guard lock(mutex);
  std::unordered_map<const GraphNode*, size_t> waits_for, position;
  std::unordered_map<const GraphNode*, std::vector<size_t>> successors;
  std::set<size_t> ready;  // by order of creation
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode* node = nodes_[i].get();
    waits_for[node] = node->after.size();
    if (node->after.empty()) ready.insert(i);
    for (const GraphNode* dependency : node->after) successors[dependency].push_back(i);
  }
  std::vector<GraphNodeRef> order;
  while (!ready.empty()) {
    const size_t next = *ready.begin();
    ready.erase(ready.begin());
    order.push_back(nodes_[next]);
    for (size_t successor : successors[nodes_[next].get()]) {
      if (--waits_for[nodes_[successor].get()] == 0) ready.insert(successor);
    }
  }
  if (order.size() != nodes_.size()) order.clear();
  return order;
}

bool Graph::is_before(const GraphNode& node, const std::vector<GraphNodeRef>& later) const {
  std::lock_guard lock(mutex);
  std::vector<const GraphNode*> to_visit;
  std::set<const GraphNode*> seen;
  for (const GraphNodeRef& one : later) to_visit.push_back(one.get());
  while (!to_visit.empty()) {
    const GraphNode* current = to_visit.back();
    to_visit.pop_back();
    if (current == &node) return true;
    if (!seen.insert(current).second) continue;
    to_visit.insert(to_visit.end(), current->after.begin(), current->after.end());
  }
  return false;
}

}  // namespace farcall::softgpu
