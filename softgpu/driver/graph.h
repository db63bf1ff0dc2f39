// CUDA graphs. A Graph is the program's to edit. Instantiating copies it into a GraphExec
// (graph_exec.h), which is launched into streams.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "softgpu/driver/capture.h"
#include "softgpu/driver/driver.h"
#include "softgpu/driver/work.h"

namespace farcall::softgpu {

// Memory of an allocation node: it is there, at one address, as long as a graph or an executable
// graph has the node. Between the launch of that node and a free the program may use it, and no
// second launch may allocate it.
class GraphMemory {
 public:
  static CUresult create(Context& context, size_t bytes, std::shared_ptr<GraphMemory>* out);
  ~GraphMemory();
  uint64_t address() const { return address_; }
  std::atomic<bool> allocated = false;
  // Of an allocation that a node made. False: there is none that is allocated.
  static bool free(uint64_t address);

 private:
  GraphMemory(Device& device, uint64_t address, size_t bytes)
      : device_(device), address_(address), bytes_(bytes) {}
  Device& device_;
  const uint64_t address_;
  const size_t bytes_;
};

// What a conditional node looks at and kernels set (cudaGraphSetConditional).
// Graphs and nodes own it; a kernel finds it by its handle.
class Condition {
 public:
  static CUgraphConditionalHandle create(std::shared_ptr<Condition> condition);
  static std::shared_ptr<Condition> find(CUgraphConditionalHandle handle);
  ~Condition();

  std::atomic<uint32_t> value = 0;
  uint32_t initial = 0;
  bool assign_initial = false;   // when the graph is launched
  const Graph* graph = nullptr;  // it was made for; only compared
  ContextRef context;
  std::atomic<bool> has_node = false;

 private:
  CUgraphConditionalHandle handle_ = 0;
};

struct Conditional {
  std::shared_ptr<Condition> condition;
  CUgraphConditionalHandle handle = 0;
  CUgraphConditionalNodeType type = CU_GRAPH_COND_TYPE_IF;
  std::vector<GraphRef> bodies;
  std::vector<CUgraph> shown;  // their handles: what the program is given a pointer to
};

// What a node is, apart from its place. Beside the work there is what the program said, to be asked
// for again.
struct NodeContent {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  Work work;                            // kernel, memcpy, memset, host
  ContextRef context;                   // kernel, memcpy, memset: where it runs
  CUfunction function = nullptr;        // kernel: the handle given, a CUfunction or a CUkernel
  CUDA_MEMCPY3D memcpy = {};            // memcpy
  CUDA_MEMSET_NODE_PARAMS memset = {};  // memset
  GraphRef child;                       // child graph
  std::shared_ptr<Event> event;         // event record, event wait
  CUDA_MEM_ALLOC_NODE_PARAMS allocation = {};   // memory allocation
  std::shared_ptr<GraphMemory> memory;          // memory allocation
  uint64_t freed = 0;                           // memory free
  std::vector<CUstreamBatchMemOpParams> words;  // batch of memory operations
  std::shared_ptr<Conditional> conditional;     // conditional
};

bool is_ordinary(const CUgraphEdgeData& data);

CUgraphNodeType node_type(const Work& work);

class GraphNode {
 public:
  GraphNode(Graph& in, NodeContent what);

  Graph& graph;
  const uint64_t id;  // never used twice
  CUgraphNode handle = nullptr;
  // Guarded by the graph's mutex:
  NodeContent content;
  std::vector<GraphNode*> after;                          // dependencies, in the order given
  std::map<const GraphNode*, CUgraphEdgeData> edge_data;  // of those that are not ordinary
  uint64_t cloned_from = 0;         // the id of the node this one is a copy of
  std::vector<void*> shown_params;  // what cuGraphKernelNodeGetParams points to
  std::map<CUkernelNodeAttrID, CUkernelNodeAttrValue> attributes;  // kernels: what was set
};

// A reference-counted thing of the program whose destructor a graph calls when it is gone.
class UserObject {
 public:
  UserObject(void* object, CUhostFn destroy, unsigned count)
      : object_(object), destroy_(destroy), count_(count) {}
  void retain(unsigned count);
  void release(unsigned count);  // the last one destroys

 private:
  void* const object_;
  const CUhostFn destroy_;
  std::mutex mutex_;
  uint64_t count_;  // guarded by mutex_
};

// The references a graph holds; copies retain, destruction releases.
class UserObjects {
 public:
  UserObjects() = default;
  UserObjects(const UserObjects& other);
  UserObjects& operator=(const UserObjects&) = delete;
  ~UserObjects();
  void add(const std::shared_ptr<UserObject>& object, unsigned count) { counts_[object] += count; }
  bool remove(const std::shared_ptr<UserObject>& object, unsigned count);  // and releases

 private:
  std::map<std::shared_ptr<UserObject>, unsigned> counts_;
};

class Graph : public std::enable_shared_from_this<Graph> {
 public:
  static GraphRef create();
  ~Graph();
  CUgraph handle() const { return handle_; }

  // INVALID_VALUE: `after` has a node of another graph, or one twice.
  CUresult add(NodeContent content, std::span<const GraphNodeRef> after, GraphNodeRef* node,
               const CUgraphEdgeData* data = nullptr);
  // INVALID_VALUE: there is that edge; there is no such edge.
  CUresult connect(GraphNode& from, GraphNode& to, const CUgraphEdgeData& data);
  CUresult disconnect(GraphNode& from, GraphNode& to, const CUgraphEdgeData& data);
  CUresult remove(GraphNode& node);
  GraphRef clone() const;
  // Frees the handles of the graph and its nodes; a capture or an executable graph may still hold
  // the object.
  void retire();

  std::vector<GraphNodeRef> nodes() const;  // in order of creation
  // By edges, else in order of creation. Empty if there is a cycle.
  std::vector<GraphNodeRef> topological_order() const;
  // Is `node` one of `later` or something they depend on?
  bool is_before(const GraphNode& node, const std::vector<GraphNodeRef>& later) const;

  // Guards the graph and all its nodes. Recursive, since bodies hold it while they look at several
  // nodes.
  mutable std::recursive_mutex mutex;
  UserObjects user_objects;
  std::vector<std::shared_ptr<Condition>> conditions;  // made for this graph

 private:
  Graph() = default;
  explicit Graph(const UserObjects& objects) : user_objects(objects) {}

  CUgraph handle_ = nullptr;
  std::vector<GraphNodeRef> nodes_;
};

}  // namespace farcall::softgpu
