// An executable graph: a copy of a graph, flat and in an order that respects its edges. A launch
// makes every node an operation of the scheduler with the edges between them, after what the stream
// has to do and before what it does next. The bodies of a conditional node are flat copies too, but
// they become operations only when the node's turn has come and its condition is known.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "softgpu/driver/graph.h"

namespace farcall::softgpu {

class GraphExec {
 public:
  // INVALID_VALUE: the graph has a cycle. NOT_SUPPORTED: the body of a conditional node has a node
  // that CUDA does not allow there. `failed`: the node it is about, if any.
  static CUresult instantiate(const Graph& graph, uint64_t flags, std::shared_ptr<GraphExec>* out,
                              CUgraphNode* failed);
  ~GraphExec();

  uint64_t flags() const { return flags_; }
  // INVALID_VALUE: memory that an earlier launch allocated was not freed yet.
  CUresult launch(const StreamRef& stream);
  // The graph as a part of one that is being captured.
  GraphRef as_graph() const;

  // Takes over the contents of a graph with the same nodes and edges.
  CUresult update(const Graph& graph, CUgraphExecUpdateResultInfo* info);
  // Of the node that `node` became. INVALID_VALUE: none, or one of another type.
  CUresult set_content(const GraphNode& node, const NodeContent& content);
  CUresult set_child(const GraphNode& node, const Graph& child);
  CUresult set_enabled(const GraphNode& node, bool enabled);
  CUresult is_enabled(const GraphNode& node, bool* enabled) const;

 private:
  struct Step;
  using Steps = std::vector<Step>;
  struct Step {
    uint64_t node_id = 0;
    CUgraphNode node = nullptr;  // for reports only
    NodeContent content;
    std::vector<size_t> after;  // earlier steps
    std::vector<Steps> bodies;  // of a conditional node
    bool enabled = true;
  };
  class ConditionalRun;

  // A child graph becomes a step that does nothing, its own steps, and one more that does nothing.
  static CUresult flatten(const Graph& graph, std::span<const size_t> after, bool in_body,
                          Steps* steps, std::vector<size_t>* last, CUgraphNode* failed);
  static bool same_shape(std::span<const Step> mine, std::span<const Step> other,
                         CUgraphExecUpdateResultInfo* info);
  static void take_contents(std::span<Step> mine, std::span<Step> other);
  static OperationRef submit(Context& context, std::span<const Step> steps,
                             std::span<const OperationRef> after);
  static GraphRef graph_of(std::span<const Step> steps);
  // `visit` sees every step, those in bodies too.
  template <class Visit>
  static void for_each(std::span<const Step> steps, const Visit& visit);
  const Step* find(const GraphNode& node) const;

  UserObjects user_objects_;
  uint64_t flags_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  Steps steps_;
  OperationRef last_launch_;  // launches of one executable graph follow each other

  explicit GraphExec(const UserObjects& objects) : user_objects_(objects) {}
};

}  // namespace farcall::softgpu
