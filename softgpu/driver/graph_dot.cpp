// cuGraphDebugDotPrint: a graph as text for Graphviz. Nodes say what they are, edges are arrows;
// flags ask for the nodes' parameters, attributes and handles.
#include <fmt/format.h>

#include <cstdio>

#include "softgpu/driver/event.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/graph_nodes.h"
#include "softgpu/driver/module.h"

namespace farcall::softgpu {
namespace {

std::string shape(const Dim3& dim) { return fmt::format("({}, {}, {})", dim.x, dim.y, dim.z); }

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
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
      return fmt::format("{} memory operations", content.words.size());
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
      switch (content.conditional->type) {
        case CU_GRAPH_COND_TYPE_IF:
          return "if";
        case CU_GRAPH_COND_TYPE_WHILE:
          return "while";
        default:
          return "switch";
      }
    default:
      return fmt::format("type {}", static_cast<int>(content.type));
  }
}

class DotFile {
 public:
  DotFile(std::FILE* file, unsigned flags) : file_(file), flags_(flags) {}

  void graph(const Graph& graph) {
    std::lock_guard lock(graph.mutex);
    for (const GraphNodeRef& node : graph.nodes()) {
      std::fprintf(file_, "  \"%p\" [label=\"%s\"];\n", static_cast<void*>(node->handle),
                   label(*node).c_str());
      for (const GraphNode* dependency : node->after) edge(*dependency, *node);
    }
    // What belongs to a node, in a box of its own.
    for (const GraphNodeRef& node : graph.nodes()) {
      if (node->content.child != nullptr) box(*node, *node->content.child, "graph");
      if (node->content.conditional == nullptr) continue;
      for (size_t i = 0; i < node->content.conditional->bodies.size(); ++i) {
        box(*node, *node->content.conditional->bodies[i], fmt::format("body {}", i));
      }
    }
  }

 private:
  bool wants(unsigned flag) const {
    return (flags_ & (flag | CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE)) != 0;
  }

  std::string label(const GraphNode& node) const {
    const NodeContent& content = node.content;
    std::string text = describe(content);
    const auto add = [&text](const std::string& line) { text += "\\n" + line; };
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_HANDLES)) {
      add(fmt::format("node {}", static_cast<void*>(node.handle)));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_KERNEL_NODE_PARAMS) &&
        content.type == CU_GRAPH_NODE_TYPE_KERNEL) {
      const auto& work = std::get<KernelWork>(content.work);
      add(fmt::format("grid {}, block {}, {} bytes of shared memory", shape(work.grid),
                      shape(work.block), work.dynamic_shared_bytes));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_KERNEL_NODE_ATTRIBUTES)) {
      for (const auto& [attribute, value] : node.attributes) {
        add(fmt::format("attribute {}", static_cast<int>(attribute)));
      }
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_MEMCPY_NODE_PARAMS) &&
        content.type == CU_GRAPH_NODE_TYPE_MEMCPY) {
      const auto& work = std::get<CopyWork>(content.work);
      add(fmt::format("{} to {}, {} x {} x {}", static_cast<const void*>(work.source),
                      static_cast<const void*>(work.target), work.width, work.height, work.depth));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_MEMSET_NODE_PARAMS) &&
        content.type == CU_GRAPH_NODE_TYPE_MEMSET) {
      const CUDA_MEMSET_NODE_PARAMS& memset = content.memset;
      add(fmt::format("{:#x}, {} x {} elements of {} bytes", memset.dst, memset.width,
                      memset.height, memset.elementSize));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_HOST_NODE_PARAMS) &&
        content.type == CU_GRAPH_NODE_TYPE_HOST) {
      const auto& work = std::get<HostWork>(content.work);
      add(fmt::format("{}({})", reinterpret_cast<void*>(work.function), work.user_data));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_EVENT_NODE_PARAMS) && content.event != nullptr) {
      add(fmt::format("event {}", static_cast<void*>(content.event->handle)));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_MEM_ALLOC_NODE_PARAMS) && content.memory != nullptr) {
      add(fmt::format("at {:#x}", content.memory->address()));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_MEM_FREE_NODE_PARAMS) && content.freed != 0) {
      add(fmt::format("at {:#x}", content.freed));
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_BATCH_MEM_OP_NODE_PARAMS)) {
      for (const CUstreamBatchMemOpParams& one : content.words) {
        add(fmt::format("operation {} at {:#x}", static_cast<int>(one.operation),
                        one.waitValue.address));
      }
    }
    if (wants(CU_GRAPH_DEBUG_DOT_FLAGS_CONDITIONAL_NODE_PARAMS) && content.conditional != nullptr) {
      add(fmt::format("condition {:#x}", content.conditional->handle));
    }
    return text;
  }

  void edge(const GraphNode& from, const GraphNode& to) {
    std::fprintf(file_, "  \"%p\" -> \"%p\"", static_cast<void*>(from.handle),
                 static_cast<void*>(to.handle));
    if (auto data = to.edge_data.find(&from); data != to.edge_data.end()) {
      std::fprintf(file_, " [label=\"type %d, from port %d\"]", data->second.type,
                   data->second.from_port);
    }
    std::fprintf(file_, ";\n");
  }

  void box(const GraphNode& node, const Graph& inner, const std::string& name) {
    std::fprintf(file_, "  subgraph \"cluster_%p_%p\" {\n  label=\"%s of %p\";\n",
                 static_cast<void*>(node.handle), static_cast<void*>(inner.handle()), name.c_str(),
                 static_cast<void*>(node.handle));
    graph(inner);
    std::fprintf(file_, "  }\n");
  }

  std::FILE* const file_;
  const unsigned flags_;
};

}  // namespace

CUresult api::cuGraphDebugDotPrint(CUgraph handle, const char* path, unsigned flags) {
  GraphRef graph;
  if (CUresult error = find_graph(handle, &graph)) return error;
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return CUDA_ERROR_OPERATING_SYSTEM;
  std::fprintf(file, "digraph graph_%p {\n", static_cast<void*>(handle));
  DotFile(file, flags).graph(*graph);
  std::fprintf(file, "}\n");
  return std::fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}

}  // namespace farcall::softgpu
