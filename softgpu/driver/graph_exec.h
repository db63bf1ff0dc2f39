// An executable graph: a copy of a graph, flat and in an order that respects its edges. A launch
// makes every node an operation of the scheduler with the edges between them, after what the stream
// has to do and before what it does next.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "softgpu/driver/graph.h"

namespace farcall::softgpu {

class GraphExec {
 public:
  // INVALID_VALUE: the graph has a cycle.
  static CUresult instantiate(const Graph& graph, uint64_t flags, std::shared_ptr<GraphExec>* out);
  ~GraphExec();

  uint64_t flags() const { return flags_; }
  CUresult launch(const StreamRef& stream);

  // Takes over the contents of a graph with the same nodes and edges.
  CUresult update(const Graph& graph, CUgraphExecUpdateResultInfo* info);
  // Of the node that `node` became. INVALID_VALUE: none, or one of another type.
  CUresult set_content(const GraphNode& node, const NodeContent& content);
  CUresult set_child(const GraphNode& node, const Graph& child);
  CUresult set_enabled(const GraphNode& node, bool enabled);
  CUresult is_enabled(const GraphNode& node, bool* enabled) const;

 private:
  struct Step {
    uint64_t node_id;
    CUgraphNode node;  // for reports only
    NodeContent content;
    std::vector<size_t> after;  // earlier steps
    bool enabled = true;
  };
  // A child graph becomes a step that does nothing, its own steps, and one more that does nothing.
  static CUresult flatten(const Graph& graph, std::span<const size_t> after,
                          std::vector<Step>* steps, std::vector<size_t>* last);
  static bool same_shape(std::span<const Step> mine, std::span<const Step> other,
                         CUgraphExecUpdateResultInfo* info);
  OperationRef submit(Context& context, std::span<const OperationRef> after);
  const Step* find(const GraphNode& node) const;

  UserObjects user_objects_;
  uint64_t flags_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Step> steps_;
  OperationRef last_launch_;  // launches of one executable graph follow each other

  explicit GraphExec(const UserObjects& objects) : user_objects_(objects) {}
};

}  // namespace farcall::softgpu
