#include "softgpu/driver/graph_exec.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>

#include "base/log.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {

namespace {

// CUDA's list for what runs under a condition.
bool allowed_in_body(CUgraphNodeType type) {
  switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
    case CU_GRAPH_NODE_TYPE_EMPTY:
    case CU_GRAPH_NODE_TYPE_GRAPH:
    case CU_GRAPH_NODE_TYPE_MEMSET:
    case CU_GRAPH_NODE_TYPE_MEMCPY:
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
      return true;
    default:
      return false;
  }
}

}  // namespace

CUresult GraphExec::flatten(const Graph& graph, std::span<const size_t> after, bool in_body,
                            Steps* steps, std::vector<size_t>* last, CUgraphNode* failed) {
  std::lock_guard lock(graph.mutex);
  const std::vector<GraphNodeRef> order = graph.topological_order();
  if (order.empty() && !graph.nodes().empty()) return CUDA_ERROR_INVALID_VALUE;
  std::unordered_map<const GraphNode*, size_t> step_of;
  std::vector<bool> has_successor;
  const size_t first = steps->size();
  for (const GraphNodeRef& node : order) {
    if (in_body && !allowed_in_body(node->content.type)) {
      log::warning("a conditional body can't have a node of type {}",
                   static_cast<int>(node->content.type));
      *failed = node->handle;
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    Step step;
    step.node_id = node->id;
    step.node = node->handle;
    step.content = node->content;
    for (const GraphNode* dependency : node->after) step.after.push_back(step_of[dependency]);
    if (step.after.empty()) step.after.assign(after.begin(), after.end());
    if (node->content.conditional != nullptr) {
      for (const GraphRef& body : node->content.conditional->bodies) {
        std::vector<size_t> body_last;
        if (CUresult error =
                flatten(*body, {}, true, &step.bodies.emplace_back(), &body_last, failed)) {
          return error;
        }
      }
    }
    steps->push_back(std::move(step));
    size_t end = steps->size() - 1;
    if (node->content.type == CU_GRAPH_NODE_TYPE_GRAPH) {
      const size_t start = end;
      std::vector<size_t> child_last;
      if (CUresult error =
              flatten(*node->content.child, {&start, 1}, in_body, steps, &child_last, failed)) {
        return error;
      }
      if (child_last.empty()) child_last.push_back(start);
      steps->emplace_back().after = std::move(child_last);
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

CUresult GraphExec::instantiate(const Graph& graph, uint64_t flags, std::shared_ptr<GraphExec>* out,
                                CUgraphNode* failed) {
  std::shared_ptr<GraphExec> exec(new GraphExec(graph.user_objects));
  std::vector<size_t> last;
  *failed = nullptr;
  if (CUresult error = flatten(graph, {}, false, &exec->steps_, &last, failed)) return error;
  exec->flags_ = flags;
  *out = std::move(exec);
  return CUDA_SUCCESS;
}

template <class Visit>
void GraphExec::for_each(std::span<const Step> steps, const Visit& visit) {
  for (const Step& step : steps) {
    visit(step);
    for (const Steps& body : step.bodies) for_each(body, visit);
  }
}

// What was launched goes on without it, unless it uses memory of the graph.
GraphExec::~GraphExec() {
  const bool has_memory = std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.content.memory != nullptr;
  });
  if (has_memory && last_launch_ != nullptr) last_launch_->wait();
}

// ------------------------------------------------------------------ launches

// One conditional node of one launch: looks at its condition, submits a body, and again if it is a
// loop. No thread waits meanwhile.
class GraphExec::ConditionalRun : public std::enable_shared_from_this<ConditionalRun> {
 public:
  ConditionalRun(ContextRef context, const Step& step)
      : context_(std::move(context)),
        conditional_(step.content.conditional),
        bodies_(step.bodies),
        done_(scheduler().claim()) {}

  const OperationRef& done() const { return done_; }

  void look() {
    const uint32_t value = conditional_->condition->value.load();
    const bool is_loop = conditional_->type == CU_GRAPH_COND_TYPE_WHILE;
    size_t body = bodies_.size();  // none
    if (conditional_->type == CU_GRAPH_COND_TYPE_SWITCH) {
      body = value;
    } else if (value != 0) {
      body = 0;
    } else if (!is_loop) {
      body = 1;
    }
    if (body >= bodies_.size() || context_->failure() != CUDA_SUCCESS) {
      scheduler().complete(done_);
      return;
    }
    const OperationRef last = submit(*context_, bodies_[body], {});
    scheduler().submit(
        [self = shared_from_this(), is_loop] {
          if (is_loop) {
            self->look();
          } else {
            scheduler().complete(self->done_);
          }
        },
        {&last, 1});
  }

 private:
  static Scheduler& scheduler() { return driver().scheduler; }

  const ContextRef context_;
  const std::shared_ptr<Conditional> conditional_;
  const std::vector<Steps> bodies_;
  const OperationRef done_;
};

OperationRef GraphExec::submit(Context& context, std::span<const Step> steps,
                               std::span<const OperationRef> after) {
  std::vector<OperationRef> operations, dependencies;
  std::vector<bool> has_successor(steps.size(), false);
  for (const Step& step : steps) {
    dependencies.clear();
    for (size_t earlier : step.after) {
      dependencies.push_back(operations[earlier]);
      has_successor[earlier] = true;
    }
    if (step.after.empty()) dependencies.assign(after.begin(), after.end());
    const NodeContent& content = step.content;
    // A node of another device runs there.
    Context& where = content.context != nullptr ? *content.context : context;
    if (content.type == CU_GRAPH_NODE_TYPE_WAIT_EVENT && step.enabled) {
      dependencies.push_back(content.event->to_wait_for());
    }
    OperationRef operation;
    if (content.type == CU_GRAPH_NODE_TYPE_CONDITIONAL) {
      auto run = std::make_shared<ConditionalRun>(where.shared_from_this(), step);
      operation = run->done();
      driver().scheduler.submit([run] { run->look(); }, dependencies);
    } else {
      operation = where.submit_operation(step.enabled ? content.work : Work{}, dependencies);
    }
    if (content.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD && step.enabled) {
      content.event->record({operation, where.shared_from_this(), nullptr, {}});
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
  const bool frees = (flags_ & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) != 0;
  for (const Step& step : steps_) {
    const auto& memory = step.content.memory;
    if (memory != nullptr && memory->allocated && !frees) return CUDA_ERROR_INVALID_VALUE;
  }
  for (const Step& step : steps_) {
    if (step.content.memory != nullptr) step.content.memory->allocated = true;
    if (step.content.freed != 0) GraphMemory::free(step.content.freed);
  }
  std::vector<std::shared_ptr<Conditional>> with_initial;
  for_each(steps_, [&with_initial](const Step& step) {
    const auto& conditional = step.content.conditional;
    if (conditional != nullptr && conditional->condition->assign_initial) {
      with_initial.push_back(conditional);
    }
  });
  Context& context = stream->context();
  last_launch_ = context.enqueue_many(*stream, [&](std::span<const OperationRef> before) {
    std::vector<OperationRef> after(before.begin(), before.end());
    if (last_launch_ != nullptr) after.push_back(last_launch_);
    if (!with_initial.empty()) {
      after = {driver().scheduler.submit(
          [with_initial] {
            for (const auto& conditional : with_initial) {
              conditional->condition->value = conditional->condition->initial;
            }
          },
          after)};
    }
    return submit(context, steps_, after);
  });
  return CUDA_SUCCESS;
}

GraphRef GraphExec::as_graph() const {
  std::lock_guard lock(mutex_);
  return graph_of(steps_);
}

GraphRef GraphExec::graph_of(std::span<const Step> steps) {
  GraphRef graph = Graph::create();
  std::vector<GraphNodeRef> nodes;
  for (const Step& step : steps) {
    NodeContent content = step.enabled ? step.content : NodeContent{};
    if (content.type == CU_GRAPH_NODE_TYPE_GRAPH) content = {};  // its nodes come next
    if (content.conditional != nullptr) {
      content.conditional = std::make_shared<Conditional>(*content.conditional);
      content.conditional->bodies.clear();
      content.conditional->shown.clear();
      for (const Steps& body : step.bodies) {
        content.conditional->bodies.push_back(graph_of(body));
        content.conditional->shown.push_back(content.conditional->bodies.back()->handle());
      }
    }
    std::vector<GraphNodeRef> after;
    for (size_t earlier : step.after) after.push_back(nodes[earlier]);
    GraphNodeRef node;
    const CUresult added = graph->add(std::move(content), after, &node);
    assert(added == CUDA_SUCCESS);
    (void)added;
    nodes.push_back(std::move(node));
  }
  return graph;
}

// ------------------------------------------------------------------ changes

const GraphExec::Step* GraphExec::find(const GraphNode& node) const {
  const Step* found = nullptr;
  for_each(steps_, [&](const Step& step) {
    if (step.node_id == node.id) found = &step;
  });
  return found;
}

bool GraphExec::same_shape(std::span<const Step> mine, std::span<const Step> other,
                           CUgraphExecUpdateResultInfo* info) {
  *info = {CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, nullptr, nullptr};
  if (mine.size() != other.size()) return false;
  for (size_t i = 0; i < mine.size(); ++i) {
    *info = {CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, other[i].node, nullptr};
    if (mine[i].after != other[i].after) return false;
    if (mine[i].content.type != other[i].content.type) {
      info->result = CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
      return false;
    }
    if (mine[i].bodies.size() != other[i].bodies.size() ||
        (mine[i].content.conditional != nullptr &&
         mine[i].content.conditional->type != other[i].content.conditional->type)) {
      info->result = CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
      return false;
    }
    for (size_t body = 0; body < mine[i].bodies.size(); ++body) {
      if (!same_shape(mine[i].bodies[body], other[i].bodies[body], info)) return false;
    }
  }
  *info = {CU_GRAPH_EXEC_UPDATE_SUCCESS, nullptr, nullptr};
  return true;
}

void GraphExec::take_contents(std::span<Step> mine, std::span<Step> other) {
  for (size_t i = 0; i < mine.size(); ++i) {
    mine[i].content = std::move(other[i].content);
    for (size_t body = 0; body < mine[i].bodies.size(); ++body) {
      take_contents(mine[i].bodies[body], other[i].bodies[body]);
    }
  }
}

CUresult GraphExec::update(const Graph& graph, CUgraphExecUpdateResultInfo* info) {
  Steps steps;
  std::vector<size_t> last;
  *info = {CU_GRAPH_EXEC_UPDATE_ERROR, nullptr, nullptr};
  if (CUresult error = flatten(graph, {}, false, &steps, &last, &info->errorNode)) return error;
  std::lock_guard lock(mutex_);
  if (!same_shape(steps_, steps, info)) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  take_contents(steps_, steps);
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
  const auto entry = std::find_if(steps_.begin(), steps_.end(),
                                  [&](const Step& step) { return step.node_id == node.id; });
  if (entry == steps_.end() || entry->content.type != CU_GRAPH_NODE_TYPE_GRAPH) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // The steps of the new child, numbered as they would be here.
  const size_t start = static_cast<size_t>(entry - steps_.begin());
  Steps steps(start + 1);
  std::vector<size_t> last;
  CUgraphNode failed;
  if (CUresult error = flatten(child, {&start, 1}, false, &steps, &last, &failed)) return error;
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
  take_contents(std::span(steps_).subspan(start + 1, count), std::span(steps).subspan(start + 1));
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
