// cuGraphAdd...Node and cuGraph...Node{Get,Set}Params.
#include "softgpu/driver/graph_nodes.h"

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/launch.h"
#include "softgpu/driver/module.h"

namespace farcall::softgpu {
namespace {

CUresult add_node(CUgraphNode* out, CUgraph graph_handle, const CUgraphNode* dependencies,
                  size_t count, const std::function<CUresult(NodeContent*)>& make,
                  const CUgraphEdgeData* data = nullptr) {
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<GraphNodeRef> after;
  if (CUresult error = find_nodes(dependencies, count, &after)) return error;
  NodeContent content;
  if (CUresult error = make(&content)) return error;
  if (content.conditional != nullptr && content.conditional->condition->graph != graph.get()) {
    return CUDA_ERROR_INVALID_VALUE;  // the condition of another graph
  }
  GraphNodeRef node;
  if (CUresult error = graph->add(std::move(content), after, &node, data)) return error;
  *out = node->handle;
  return CUDA_SUCCESS;
}

CUresult set_node(CUgraphNode handle, CUgraphNodeType type,
                  const std::function<CUresult(NodeContent*)>& make) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  std::lock_guard lock(node->graph.mutex);
  if (node->content.type != type) return CUDA_ERROR_INVALID_VALUE;
  NodeContent content;
  content.context = node->content.context;
  if (CUresult error = make(&content)) return error;
  node->content = std::move(content);
  return CUDA_SUCCESS;
}

// `show` sees the node if it is of that type.
CUresult show_node(CUgraphNode handle, CUgraphNodeType type, const void* out,
                   const std::function<void(GraphNode&)>& show) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  std::lock_guard lock(node->graph.mutex);
  if (out == nullptr || node->content.type != type) return CUDA_ERROR_INVALID_VALUE;
  show(*node);
  return CUDA_SUCCESS;
}

}  // namespace

// ------------------------------------------------------------------ any node

CUresult api::cuGraphAddNode_v2(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                                const CUgraphEdgeData* data, size_t count,
                                CUgraphNodeParams* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return add_node(
      out, graph, dependencies, count,
      [params](NodeContent* content) { return make_content(params, content); }, data);
}
CUresult api::cuGraphAddNode(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                             size_t count, CUgraphNodeParams* params) {
  return api::cuGraphAddNode_v2(out, graph, dependencies, nullptr, count, params);
}

CUresult api::cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams* params) {
  // What a conditional node is, it stays; its bodies can be edited.
  if (params == nullptr || params->type == CU_GRAPH_NODE_TYPE_CONDITIONAL) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return set_node(node, params->type,
                  [params](NodeContent* content) { return make_content(params, content); });
}

CUresult api::cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType* type) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  if (type == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(node->graph.mutex);
  *type = node->content.type;
  return CUDA_SUCCESS;
}

CUresult api::cuGraphDestroyNode(CUgraphNode handle) {
  GraphNodeRef node;
  if (CUresult error = find_node(handle, &node)) return error;
  return node->graph.remove(*node);
}

CUresult api::cuGraphAddEmptyNode(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                                  size_t count) {
  return add_node(out, graph, dependencies, count, [](NodeContent*) { return CUDA_SUCCESS; });
}

// ------------------------------------------------------------------ kernels

CUresult api::cuGraphAddKernelNode_v2(CUgraphNode* out, CUgraph graph,
                                      const CUgraphNode* dependencies, size_t count,
                                      const CUDA_KERNEL_NODE_PARAMS* params) {
  return add_node(out, graph, dependencies, count,
                  [params](NodeContent* content) { return make_kernel_content(params, content); });
}
CUresult api::cuGraphAddKernelNode(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                                   size_t count, const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS newer = as_v2(*params);
  return api::cuGraphAddKernelNode_v2(out, graph, dependencies, count, &newer);
}

CUresult api::cuGraphKernelNodeSetParams_v2(CUgraphNode node,
                                            const CUDA_KERNEL_NODE_PARAMS* params) {
  return set_node(node, CU_GRAPH_NODE_TYPE_KERNEL,
                  [params](NodeContent* content) { return make_kernel_content(params, content); });
}
CUresult api::cuGraphKernelNodeSetParams(CUgraphNode node,
                                         const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS newer = as_v2(*params);
  return api::cuGraphKernelNodeSetParams_v2(node, &newer);
}

// The parameters shown are the node's own and change with it, as CUDA documents.
CUresult api::cuGraphKernelNodeGetParams_v2(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, out, [out](GraphNode& node) {
    auto& work = std::get<KernelWork>(node.content.work);
    node.shown_params.clear();
    for (const ParamInfo& param : work.function->info().params) {
      node.shown_params.push_back(work.params.data() + param.offset);
    }
    *out = {};
    out->func = work.function->handle;
    out->kern = work.function->kernel_handle;  // by which the runtime knows its kernels
    out->gridDimX = work.grid.x;
    out->gridDimY = work.grid.y;
    out->gridDimZ = work.grid.z;
    out->blockDimX = work.block.x;
    out->blockDimY = work.block.y;
    out->blockDimZ = work.block.z;
    out->sharedMemBytes = work.dynamic_shared_bytes;
    out->kernelParams = node.shown_params.empty() ? nullptr : node.shown_params.data();
    out->ctx = node.content.context->handle();
  });
}
CUresult api::cuGraphKernelNodeGetParams(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v1* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS newer;
  if (CUresult error = api::cuGraphKernelNodeGetParams_v2(handle, &newer)) return error;
  *out = {newer.func,         newer.gridDimX,  newer.gridDimY,  newer.gridDimZ,
          newer.blockDimX,    newer.blockDimY, newer.blockDimZ, newer.sharedMemBytes,
          newer.kernelParams, newer.extra};
  return CUDA_SUCCESS;
}

CUresult api::cuGraphKernelNodeSetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                                            const CUkernelNodeAttrValue* value) {
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUlaunchAttribute one = {};
  one.id = attribute;
  one.value = *value;
  bool cooperative;
  if (CUresult error = read_launch_attributes(&one, 1, &cooperative)) return error;
  return show_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, [&](GraphNode& node) {
    auto& work = std::get<KernelWork>(node.content.work);
    if (attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) work.cooperative = cooperative;
    node.attributes[attribute] = *value;
  });
}

CUresult api::cuGraphKernelNodeGetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                                            CUkernelNodeAttrValue* value) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, [&](GraphNode& node) {
    *value = {};
    if (auto found = node.attributes.find(attribute); found != node.attributes.end()) {
      *value = found->second;
    } else if (attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) {
      value->cooperative = std::get<KernelWork>(node.content.work).cooperative;
    }
  });
}

CUresult api::cuGraphKernelNodeCopyAttributes(CUgraphNode target, CUgraphNode source) {
  std::map<CUkernelNodeAttrID, CUkernelNodeAttrValue> attributes;
  if (CUresult error = show_node(source, CU_GRAPH_NODE_TYPE_KERNEL, &attributes,
                                 [&](GraphNode& node) { attributes = node.attributes; })) {
    return error;
  }
  for (const auto& [attribute, value] : attributes) {
    if (CUresult error = api::cuGraphKernelNodeSetAttribute(target, attribute, &value)) {
      return error;
    }
  }
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ copies and memsets

CUresult api::cuGraphAddMemcpyNode(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                                   size_t count, const CUDA_MEMCPY3D* shape, CUcontext context) {
  return add_node(out, graph, dependencies, count, [&](NodeContent* content) {
    return make_memcpy_content(shape, context, content);
  });
}
CUresult api::cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D* shape) {
  return set_node(node, CU_GRAPH_NODE_TYPE_MEMCPY, [&](NodeContent* content) {
    return make_memcpy_content(shape, nullptr, content);
  });
}
CUresult api::cuGraphMemcpyNodeGetParams(CUgraphNode handle, CUDA_MEMCPY3D* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_MEMCPY, out,
                   [out](GraphNode& node) { *out = node.content.memcpy; });
}

CUresult api::cuGraphAddMemsetNode(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                                   size_t count, const CUDA_MEMSET_NODE_PARAMS* shape,
                                   CUcontext context) {
  return add_node(out, graph, dependencies, count, [&](NodeContent* content) {
    return make_memset_content(shape, context, content);
  });
}
CUresult api::cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS* shape) {
  return set_node(node, CU_GRAPH_NODE_TYPE_MEMSET, [&](NodeContent* content) {
    return make_memset_content(shape, nullptr, content);
  });
}
CUresult api::cuGraphMemsetNodeGetParams(CUgraphNode handle, CUDA_MEMSET_NODE_PARAMS* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_MEMSET, out,
                   [out](GraphNode& node) { *out = node.content.memset; });
}

// ------------------------------------------------------------------ host functions

CUresult api::cuGraphAddHostNode(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                                 size_t count, const CUDA_HOST_NODE_PARAMS* params) {
  return add_node(out, graph, dependencies, count,
                  [params](NodeContent* content) { return make_host_content(params, content); });
}
CUresult api::cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS* params) {
  return set_node(node, CU_GRAPH_NODE_TYPE_HOST,
                  [params](NodeContent* content) { return make_host_content(params, content); });
}
CUresult api::cuGraphHostNodeGetParams(CUgraphNode handle, CUDA_HOST_NODE_PARAMS* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_HOST, out, [out](GraphNode& node) {
    const auto& work = std::get<HostWork>(node.content.work);
    *out = {work.function, work.user_data};
  });
}

// ------------------------------------------------------------------ child graphs

CUresult api::cuGraphAddChildGraphNode(CUgraphNode* out, CUgraph graph,
                                       const CUgraphNode* dependencies, size_t count,
                                       CUgraph child) {
  return add_node(out, graph, dependencies, count,
                  [child](NodeContent* content) { return make_child_content(child, content); });
}
CUresult api::cuGraphChildGraphNodeGetGraph(CUgraphNode handle, CUgraph* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_GRAPH, out,
                   [out](GraphNode& node) { *out = node.content.child->handle(); });
}

// ------------------------------------------------------------------ events

CUresult api::cuGraphAddEventRecordNode(CUgraphNode* out, CUgraph graph,
                                        const CUgraphNode* dependencies, size_t count,
                                        CUevent event) {
  return add_node(out, graph, dependencies, count, [event](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_EVENT_RECORD, event, content);
  });
}
CUresult api::cuGraphAddEventWaitNode(CUgraphNode* out, CUgraph graph,
                                      const CUgraphNode* dependencies, size_t count,
                                      CUevent event) {
  return add_node(out, graph, dependencies, count, [event](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_WAIT_EVENT, event, content);
  });
}
CUresult api::cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event) {
  return set_node(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, [event](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_EVENT_RECORD, event, content);
  });
}
CUresult api::cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event) {
  return set_node(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, [event](NodeContent* content) {
    return make_event_content(CU_GRAPH_NODE_TYPE_WAIT_EVENT, event, content);
  });
}
CUresult api::cuGraphEventRecordNodeGetEvent(CUgraphNode handle, CUevent* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_EVENT_RECORD, out,
                   [out](GraphNode& node) { *out = node.content.event->handle; });
}
CUresult api::cuGraphEventWaitNodeGetEvent(CUgraphNode handle, CUevent* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_WAIT_EVENT, out,
                   [out](GraphNode& node) { *out = node.content.event->handle; });
}

// ------------------------------------------------------------------ batches of words

CUresult api::cuGraphAddBatchMemOpNode(CUgraphNode* out, CUgraph graph,
                                       const CUgraphNode* dependencies, size_t count,
                                       const CUDA_BATCH_MEM_OP_NODE_PARAMS* params) {
  return add_node(out, graph, dependencies, count,
                  [params](NodeContent* content) { return make_words_content(params, content); });
}
CUresult api::cuGraphBatchMemOpNodeSetParams(CUgraphNode node,
                                             const CUDA_BATCH_MEM_OP_NODE_PARAMS* params) {
  return set_node(node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                  [params](NodeContent* content) { return make_words_content(params, content); });
}
// The array shown is the node's own.
CUresult api::cuGraphBatchMemOpNodeGetParams(CUgraphNode handle,
                                             CUDA_BATCH_MEM_OP_NODE_PARAMS* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, out, [out](GraphNode& node) {
    std::vector<CUstreamBatchMemOpParams>& words = node.content.words;
    *out = {node.content.context->handle(), static_cast<unsigned>(words.size()), words.data(), 0};
  });
}

// ------------------------------------------------------------------ conditions

CUresult api::cuGraphConditionalHandleCreate(CUgraphConditionalHandle* out, CUgraph graph_handle,
                                             CUcontext context_handle, unsigned initial,
                                             unsigned flags) {
  GraphRef graph;
  if (CUresult error = find_graph(graph_handle, &graph)) return error;
  if (out == nullptr || (flags & ~unsigned{CU_GRAPH_COND_ASSIGN_DEFAULT}) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto condition = std::make_shared<Condition>();
  if (CUresult error = find_context(context_handle, &condition->context)) return error;
  condition->graph = graph.get();
  condition->initial = initial;
  condition->assign_initial = (flags & CU_GRAPH_COND_ASSIGN_DEFAULT) != 0;
  *out = Condition::create(condition);
  std::lock_guard lock(graph->mutex);
  graph->conditions.push_back(std::move(condition));
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ memory

CUresult api::cuGraphAddMemAllocNode(CUgraphNode* out, CUgraph graph,
                                     const CUgraphNode* dependencies, size_t count,
                                     CUDA_MEM_ALLOC_NODE_PARAMS* params) {
  return add_node(out, graph, dependencies, count, [params](NodeContent* content) {
    return make_allocation_content(params, content);
  });
}
CUresult api::cuGraphMemAllocNodeGetParams(CUgraphNode handle, CUDA_MEM_ALLOC_NODE_PARAMS* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_MEM_ALLOC, out,
                   [out](GraphNode& node) { *out = node.content.allocation; });
}
CUresult api::cuGraphAddMemFreeNode(CUgraphNode* out, CUgraph graph,
                                    const CUgraphNode* dependencies, size_t count,
                                    CUdeviceptr address) {
  return add_node(out, graph, dependencies, count,
                  [address](NodeContent* content) { return make_free_content(address, content); });
}
CUresult api::cuGraphMemFreeNodeGetParams(CUgraphNode handle, CUdeviceptr* out) {
  return show_node(handle, CU_GRAPH_NODE_TYPE_MEM_FREE, out,
                   [out](GraphNode& node) { *out = node.content.freed; });
}

// What graphs have reserved is what they use.
CUresult api::cuDeviceGetGraphMemAttribute(CUdevice ordinal, CUgraphMem_attribute attribute,
                                           void* value) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT:
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT:
      *static_cast<cuuint64_t*>(value) = device->graph_memory;
      return CUDA_SUCCESS;
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH:
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH:
      *static_cast<cuuint64_t*>(value) = device->graph_memory_high;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult api::cuDeviceSetGraphMemAttribute(CUdevice ordinal, CUgraphMem_attribute attribute,
                                           void* value) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  const bool high = attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH ||
                    attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH;
  if (!high || value == nullptr || *static_cast<cuuint64_t*>(value) != 0) {
    return CUDA_ERROR_INVALID_VALUE;  // it can only be reset
  }
  device->graph_memory_high = device->graph_memory.load();
  return CUDA_SUCCESS;
}
CUresult api::cuDeviceGraphMemTrim(CUdevice ordinal) {
  Device* device;
  return find_device(ordinal, &device);
}

}  // namespace farcall::softgpu
