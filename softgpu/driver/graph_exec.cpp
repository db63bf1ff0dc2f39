#include "softgpu/driver/graph_exec.h"

#include <algorithm>
#include <unordered_map>

#include "softgpu/driver/context.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {

CUresult GraphExec::flatten(const Graph& graph, std::span<const size_t> after,
                            std::vector<Step>* steps, std::vector<size_t>* last) {
  std::lock_guard lock(graph.mutex);
  const std::vector<GraphNodeRef> order = graph.topological_order();
  if (order.empty() && !graph.nodes().empty()) return CUDA_ERROR_INVALID_VALUE;
  std::unordered_map<const GraphNode*, size_t> step_of;
  std::vector<bool> has_successor;
  const size_t first = steps->size();
  for (const GraphNodeRef& node : order) {
    Step step{node->id, node->handle, node->content, {}};
    for (const GraphNode* dependency : node->after) step.after.push_back(step_of[dependency]);
    if (step.after.empty()) step.after.assign(after.begin(), after.end());
    steps->push_back(std::move(step));
    size_t end = steps->size() - 1;
    if (node->content.type == CU_GRAPH_NODE_TYPE_GRAPH) {
      const size_t start = end;
      std::vector<size_t> child_last;
      if (CUresult error = flatten(*node->content.child, {&start, 1}, steps, &child_last)) {
        return error;
      }
      if (child_last.empty()) child_last.push_back(start);
      steps->push_back({0, nullptr, {}, std::move(child_last)});
      end = steps->size() - 1;
    }
    step_of[node.get()] = end;
  }
  has_successor.assign(steps->size(), false);
  for (size_t i = first; i < steps->size(); ++i) {
    for (size_t dependency : (*steps)[i].after) has_successor[dependency] = true;
  }
  for (size_t i = first; i < steps->size(); ++i) {
    if (!has_successor[i]) last->push_back(i);
  }
  return CUDA_SUCCESS;
}

CUresult GraphExec::instantiate(const Graph& graph, uint64_t flags,
                                std::shared_ptr<GraphExec>* out) {
  std::shared_ptr<GraphExec> exec(new GraphExec(graph.user_objects));
  std::vector<size_t> last;
  if (CUresult error = flatten(graph, {}, &exec->steps_, &last)) return error;
  exec->flags_ = flags;
  *out = std::move(exec);
  return CUDA_SUCCESS;
}

// What was launched goes on without it, unless it uses memory of the graph.
GraphExec::~GraphExec() {
  const bool has_memory = std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.content.memory != nullptr;
  });
  if (has_memory && last_launch_ != nullptr) last_launch_->wait();
}

OperationRef GraphExec::submit(Context& context, std::span<const OperationRef> after) {
  std::vector<OperationRef> operations, dependencies;
  std::vector<bool> has_successor(steps_.size(), false);
  for (const Step& step : steps_) {
    dependencies.clear();
    for (size_t earlier : step.after) {
      dependencies.push_back(operations[earlier]);
      has_successor[earlier] = true;
    }
    if (step.after.empty()) dependencies.assign(after.begin(), after.end());
    const NodeContent& content = step.content;
    if (content.type == CU_GRAPH_NODE_TYPE_WAIT_EVENT && step.enabled) {
      dependencies.push_back(content.event->to_wait_for());
    }
    OperationRef operation =
        context.submit_operation(step.enabled ? content.work : Work{}, dependencies);
    if (content.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD && step.enabled) {
      content.event->record({operation, context.shared_from_this(), nullptr, {}});
    }
    operations.push_back(std::move(operation));
  }
  dependencies.clear();
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!has_successor[i]) dependencies.push_back(std::move(operations[i]));
  }
  if (operations.empty()) dependencies.assign(after.begin(), after.end());
  return context.submit_operation({}, dependencies);
}

CUresult GraphExec::launch(const StreamRef& stream) {
  std::lock_guard lock(mutex_);
  Context& context = stream->context();
  last_launch_ = context.enqueue_many(*stream, [&](std::span<const OperationRef> before) {
    std::vector<OperationRef> after(before.begin(), before.end());
    if (last_launch_ != nullptr) after.push_back(last_launch_);
    return submit(context, after);
  });
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ changes

const GraphExec::Step* GraphExec::find(const GraphNode& node) const {
  for (const Step& step : steps_) {
    if (step.node_id == node.id) return &step;
  }
  return nullptr;
}

bool GraphExec::same_shape(std::span<const Step> mine, std::span<const Step> other,
                           CUgraphExecUpdateResultInfo* info) {
  *info = {CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, nullptr, nullptr};
  if (mine.size() != other.size()) return false;
  for (size_t i = 0; i < mine.size(); ++i) {
    info->errorNode = other[i].node;
    if (mine[i].after != other[i].after) return false;
    if (mine[i].content.type != other[i].content.type) {
      info->result = CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
      return false;
    }
  }
  *info = {CU_GRAPH_EXEC_UPDATE_SUCCESS, nullptr, nullptr};
  return true;
}

CUresult GraphExec::update(const Graph& graph, CUgraphExecUpdateResultInfo* info) {
  std::vector<Step> steps;
  std::vector<size_t> last;
  *info = {CU_GRAPH_EXEC_UPDATE_ERROR, nullptr, nullptr};
  if (CUresult error = flatten(graph, {}, &steps, &last)) return error;
  std::lock_guard lock(mutex_);
  if (!same_shape(steps_, steps, info)) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  for (size_t i = 0; i < steps.size(); ++i) steps_[i].content = std::move(steps[i].content);
  return CUDA_SUCCESS;
}

CUresult GraphExec::set_content(const GraphNode& node, const NodeContent& content) {
  std::lock_guard lock(mutex_);
  auto* step = const_cast<Step*>(find(node));
  if (step == nullptr || step->content.type != content.type) return CUDA_ERROR_INVALID_VALUE;
  step->content = content;
  return CUDA_SUCCESS;
}

CUresult GraphExec::set_child(const GraphNode& node, const Graph& child) {
  std::lock_guard lock(mutex_);
  const Step* entry = find(node);
  if (entry == nullptr || entry->content.type != CU_GRAPH_NODE_TYPE_GRAPH) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // The steps of the new child, numbered as they would be here.
  const size_t start = static_cast<size_t>(entry - steps_.data());
  std::vector<Step> steps(start + 1);
  std::vector<size_t> last;
  if (CUresult error = flatten(child, {&start, 1}, &steps, &last)) return error;
  if (steps.size() >= steps_.size()) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  if (last.empty()) last.push_back(start);
  CUgraphExecUpdateResultInfo info;
  const size_t count = steps.size() - start - 1;
  const std::span<const Step> mine = std::span(steps_).subspan(start + 1, count);
  const Step& end = steps_[steps.size()];  // of the child there, if the new one is as long
  if (!same_shape(mine, std::span(steps).subspan(start + 1), &info) || end.node_id != 0 ||
      end.after != last) {
    return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  }
  for (size_t i = start + 1; i < steps.size(); ++i) {
    steps_[i].content = std::move(steps[i].content);
  }
  return CUDA_SUCCESS;
}

CUresult GraphExec::set_enabled(const GraphNode& node, bool enabled) {
  std::lock_guard lock(mutex_);
  auto* step = const_cast<Step*>(find(node));
  if (step == nullptr) return CUDA_ERROR_INVALID_VALUE;
  switch (step->content.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
    case CU_GRAPH_NODE_TYPE_MEMCPY:
    case CU_GRAPH_NODE_TYPE_MEMSET:
      step->enabled = enabled;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult GraphExec::is_enabled(const GraphNode& node, bool* enabled) const {
  std::lock_guard lock(mutex_);
  const Step* step = find(node);
  if (step == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *enabled = step->enabled;
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
