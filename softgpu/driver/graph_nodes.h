// The contents of graph nodes, from what programs say, checked.
#pragma once

#include <vector>

#include "softgpu/driver/graph.h"

namespace farcall::softgpu {

CUresult find_graph(CUgraph handle, GraphRef* out);
CUresult find_node(CUgraphNode handle, GraphNodeRef* out);
CUresult find_nodes(const CUgraphNode* handles, size_t count, std::vector<GraphNodeRef>* out);

CUDA_KERNEL_NODE_PARAMS as_v2(const CUDA_KERNEL_NODE_PARAMS_v1& params);

CUresult make_kernel_content(const CUDA_KERNEL_NODE_PARAMS* params, NodeContent* out);
CUresult make_memcpy_content(const CUDA_MEMCPY3D* shape, CUcontext context, NodeContent* out);
CUresult make_memset_content(const CUDA_MEMSET_NODE_PARAMS* shape, CUcontext context,
                             NodeContent* out);
CUresult make_host_content(const CUDA_HOST_NODE_PARAMS* params, NodeContent* out);
CUresult make_event_content(CUgraphNodeType type, CUevent event, NodeContent* out);
CUresult make_allocation_content(CUDA_MEM_ALLOC_NODE_PARAMS* params, NodeContent* out);
CUresult make_free_content(CUdeviceptr address, NodeContent* out);
CUresult make_child_content(CUgraph child, NodeContent* out);
CUresult make_words_content(const CUDA_BATCH_MEM_OP_NODE_PARAMS* params, NodeContent* out);
CUresult make_conditional_content(CUDA_CONDITIONAL_NODE_PARAMS* params, NodeContent* out);
CUresult make_content(CUgraphNodeParams* params, NodeContent* out);

}  // namespace farcall::softgpu
