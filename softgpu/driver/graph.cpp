#include "softgpu/driver/graph.h"

#include <algorithm>
#include <cassert>
#include <cstring>
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
    CUgraphNodeType operator()(const WordsWork&) { return CU_GRAPH_NODE_TYPE_BATCH_MEM_OP; }
  };
  return std::visit(Type{}, work);
}

// ------------------------------------------------------------------ what nodes hold

namespace {

struct GraphMemories {
  std::mutex mutex;
  std::unordered_map<uint64_t, GraphMemory*> by_address;  // guarded by mutex
};
GraphMemories& graph_memories() {
  static GraphMemories& instance = *new GraphMemories;
  return instance;
}

}  // namespace

CUresult GraphMemory::create(Context& context, size_t bytes, std::shared_ptr<GraphMemory>* out) {
  Region region;
  region.kind = Region::Kind::kGraph;
  region.context = &context;
  DeviceMemory& memory = context.device().memory;
  uint64_t address = memory.allocate_region(bytes, region);
  if (address == 0) {
    context.device().trim_pools();
    address = memory.allocate_region(bytes, region);
  }
  if (address == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  out->reset(new GraphMemory(context.device(), address, bytes));
  {
    std::lock_guard lock(graph_memories().mutex);
    graph_memories().by_address[address] = out->get();
  }
  context.device().graph_memory_changes(static_cast<int64_t>(bytes));
  return CUDA_SUCCESS;
}

bool GraphMemory::free(uint64_t address) {
  std::lock_guard lock(graph_memories().mutex);
  auto found = graph_memories().by_address.find(address);
  return found != graph_memories().by_address.end() && found->second->allocated.exchange(false);
}

GraphMemory::~GraphMemory() {
  {
    std::lock_guard lock(graph_memories().mutex);
    graph_memories().by_address.erase(address_);
  }
  device_.memory.free_region(address_);
  device_.graph_memory_changes(-static_cast<int64_t>(bytes_));
}

namespace {

struct Conditions {
  std::mutex mutex;
  uint64_t next = 16;                                                // guarded by mutex
  std::unordered_map<uint64_t, std::weak_ptr<Condition>> by_handle;  // guarded by mutex
};
Conditions& conditions() {
  static Conditions& instance = *new Conditions;
  return instance;
}

}  // namespace

CUgraphConditionalHandle Condition::create(std::shared_ptr<Condition> condition) {
  std::lock_guard lock(conditions().mutex);
  condition->handle_ =
      uint64_t{static_cast<uint8_t>(HandleKind::kCondition)} << 40 | conditions().next;
  conditions().next += 16;
  conditions().by_handle[condition->handle_] = condition;
  return condition->handle_;
}

std::shared_ptr<Condition> Condition::find(CUgraphConditionalHandle handle) {
  std::lock_guard lock(conditions().mutex);
  auto found = conditions().by_handle.find(handle);
  return found == conditions().by_handle.end() ? nullptr : found->second.lock();
}

Condition::~Condition() {
  std::lock_guard lock(conditions().mutex);
  conditions().by_handle.erase(handle_);
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

bool is_ordinary(const CUgraphEdgeData& data) {
  return data.from_port == 0 && data.to_port == 0 && data.type == CU_GRAPH_DEPENDENCY_TYPE_DEFAULT;
}

namespace {

// Only a kernel can release its successors before it ends, and only kernels wait inside.
CUresult check_edge(const CUgraphEdgeData& data, const GraphNode& from, const GraphNode& to) {
  const CUgraphEdgeData zeros = {};
  if (data.to_port != 0 || data.from_port > CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER ||
      data.type > CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC ||
      std::memcmp(data.reserved, zeros.reserved, sizeof(data.reserved)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool kernels = from.content.type == CU_GRAPH_NODE_TYPE_KERNEL &&
                       to.content.type == CU_GRAPH_NODE_TYPE_KERNEL;
  if (data.from_port != 0 && from.content.type != CU_GRAPH_NODE_TYPE_KERNEL) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (data.type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC && !kernels) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult Graph::add(NodeContent content, std::span<const GraphNodeRef> after, GraphNodeRef* out,
                    const CUgraphEdgeData* data) {
  std::lock_guard lock(mutex);
  auto node = std::make_shared<GraphNode>(*this, std::move(content));
  for (size_t i = 0; i < after.size(); ++i) {
    GraphNode* dependency = after[i].get();
    if (&dependency->graph != this ||
        std::find(node->after.begin(), node->after.end(), dependency) != node->after.end()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (data != nullptr) {
      if (CUresult error = check_edge(data[i], *dependency, *node)) return error;
      if (!is_ordinary(data[i])) node->edge_data[dependency] = data[i];
    }
    node->after.push_back(dependency);
  }
  node->handle = driver().graph_nodes.insert(node);
  nodes_.push_back(node);
  *out = std::move(node);
  return CUDA_SUCCESS;
}

CUresult Graph::connect(GraphNode& from, GraphNode& to, const CUgraphEdgeData& data) {
  std::lock_guard lock(mutex);
  if (&from.graph != this || &to.graph != this || &from == &to) return CUDA_ERROR_INVALID_VALUE;
  if (std::find(to.after.begin(), to.after.end(), &from) != to.after.end()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_edge(data, from, to)) return error;
  to.after.push_back(&from);
  if (!is_ordinary(data)) to.edge_data[&from] = data;
  return CUDA_SUCCESS;
}

CUresult Graph::disconnect(GraphNode& from, GraphNode& to, const CUgraphEdgeData& data) {
  std::lock_guard lock(mutex);
  if (&from.graph != this || &to.graph != this) return CUDA_ERROR_INVALID_VALUE;
  auto found = to.edge_data.find(&from);
  const CUgraphEdgeData there = found == to.edge_data.end() ? CUgraphEdgeData{} : found->second;
  if (std::memcmp(&there, &data, sizeof(data)) != 0 || std::erase(to.after, &from) == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  to.edge_data.erase(&from);
  return CUDA_SUCCESS;
}

CUresult Graph::remove(GraphNode& node) {
  std::lock_guard lock(mutex);
  for (const GraphNodeRef& other : nodes_) {
    std::erase(other->after, &node);
    other->edge_data.erase(&node);
  }
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
    if (content.conditional != nullptr) {
      content.conditional = std::make_shared<Conditional>(*content.conditional);
      content.conditional->shown.clear();
      for (GraphRef& body : content.conditional->bodies) {
        body = body->clone();
        content.conditional->shown.push_back(body->handle());
      }
    }
    GraphNodeRef made;
    const CUresult added = copy->add(std::move(content), {}, &made);
    assert(added == CUDA_SUCCESS);
    (void)added;
    made->cloned_from = node->id;
    made->attributes = node->attributes;
    copies.emplace(node.get(), std::move(made));
  }
  for (const GraphNodeRef& node : nodes_) {
    for (const GraphNode* dependency : node->after) {
      copies[node.get()]->after.push_back(copies[dependency].get());
    }
    for (const auto& [dependency, data] : node->edge_data) {
      copies[node.get()]->edge_data[copies[dependency].get()] = data;
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
    if (node->content.conditional != nullptr) {
      for (const GraphRef& body : node->content.conditional->bodies) body->retire();
    }
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
