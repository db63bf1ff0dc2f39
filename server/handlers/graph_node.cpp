// Nodes that a program adds to graphs itself and whose arguments need a hand: kernels and functions
// of the program. Other kinds have generated handlers.
#include <cuda.h>

#include <cstring>
#include <vector>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/dispatch_args.h"
#include "server/handlers.h"
#include "server/packed_params.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;

struct Place {
  HandleId id = 0;  // of the node
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUgraphNode node = nullptr;  // null: to be added
  std::vector<CUgraphNode> dependencies;
};

Place read_place(CallContext& call, schema::GraphNode::Reader from) {
  Place at;
  at.id = from.getNode();
  at.graph = call.handle<CUgraph>(from.getGraph(), HandleType::kGraph);
  at.exec = call.handle<CUgraphExec>(from.getExec(), HandleType::kGraphExec);
  if (at.graph == nullptr) {
    at.node = call.handle<CUgraphNode>(at.id, HandleType::kGraphNode);
    if (at.node == nullptr) call.invalidate("neither a graph nor a node");
  }
  for (const HandleId id : from.getDependencies()) {
    at.dependencies.push_back(call.handle<CUgraphNode>(id, HandleType::kGraphNode));
  }
  return at;
}

void finish_added(CallContext& call, const Place& at, CUresult result, CUgraphNode added) {
  if (result == CUDA_SUCCESS && at.graph != nullptr) {
    call.bind(at.id, HandleType::kGraphNode, added);
  }
  call.finish(result);
}

// The kernel that the client calls by this name. A graph names a kernel of a library by the
// function behind it.
HandleId id_of_kernel(CallContext& call, const CUDA_KERNEL_NODE_PARAMS& params) {
  const rpc::HandleTable& handles = call.worker().handles();
  if (params.kern != nullptr) return handles.id_of(HandleType::kKernel, params.kern);
  if (const HandleId id = handles.id_of(HandleType::kFunction, params.func)) return id;
  const DriverTable& driver = call.driver();
  if (driver.cuKernelGetFunction == nullptr || driver.cuKernelGetName == nullptr ||
      driver.cuFuncGetName == nullptr) {
    return 0;
  }
  const char* wanted = nullptr;
  if (driver.cuFuncGetName(&wanted, params.func) != CUDA_SUCCESS) return 0;
  for (void* const object : handles.objects(HandleType::kKernel)) {
    // Names first: who asks a kernel for its function makes the driver load it.
    const auto kernel = static_cast<CUkernel>(object);
    const char* name = nullptr;
    CUfunction function = nullptr;
    if (driver.cuKernelGetName(&name, kernel) == CUDA_SUCCESS && std::strcmp(name, wanted) == 0 &&
        driver.cuKernelGetFunction(&function, kernel) == CUDA_SUCCESS && function == params.func) {
      return handles.id_of(HandleType::kKernel, kernel);
    }
  }
  return 0;
}

// The parameters as one block, which the driver gives as it was given them, or as one pointer each.
CUresult pack(const DriverTable& driver, const CUDA_KERNEL_NODE_PARAMS& params,
              std::vector<std::byte>* block) {
  if (params.kernelParams == nullptr) {
    const void* packed = nullptr;
    size_t bytes = 0;
    for (void** next = params.extra; next != nullptr && *next != CU_LAUNCH_PARAM_END; next += 2) {
      if (*next == CU_LAUNCH_PARAM_BUFFER_POINTER) packed = next[1];
      if (*next == CU_LAUNCH_PARAM_BUFFER_SIZE) bytes = *static_cast<const size_t*>(next[1]);
    }
    if (packed == nullptr) return CUDA_SUCCESS;
    block->resize(bytes);
    std::memcpy(block->data(), packed, bytes);
    return CUDA_SUCCESS;
  }
  if (driver.cuFuncGetParamInfo == nullptr || driver.cuKernelGetParamInfo == nullptr) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  for (size_t i = 0;; ++i) {
    size_t offset = 0, size = 0;
    const CUresult result = params.func != nullptr
                                ? driver.cuFuncGetParamInfo(params.func, i, &offset, &size)
                                : driver.cuKernelGetParamInfo(params.kern, i, &offset, &size);
    if (result == CUDA_ERROR_INVALID_VALUE) return CUDA_SUCCESS;  // there are no more
    if (result != CUDA_SUCCESS) return result;
    if (block->size() < offset + size) block->resize(offset + size);
    std::memcpy(block->data() + offset, params.kernelParams[i], size);
  }
}

}  // namespace

void farcallGraphKernelNode(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphKernelNode>();
  const Place at = read_place(call, args.getAt());
  const auto kernel = args.getKernel();
  CUDA_KERNEL_NODE_PARAMS params = {};
  if (rpc::handle_type(kernel.getFunction()) == HandleType::kKernel) {
    params.kern = call.handle<CUkernel>(kernel.getFunction(), HandleType::kKernel);
  } else {
    params.func = call.handle<CUfunction>(kernel.getFunction(), HandleType::kFunction);
  }
  if (params.kern == nullptr && params.func == nullptr) call.invalidate("no kernel");
  if (kernel.getParams().size() > PackedParams::kBytesMax) call.invalidate("too many parameters");
  if (!call.valid()) return call.refuse();
  params.gridDimX = kernel.getGridX();
  params.gridDimY = kernel.getGridY();
  params.gridDimZ = kernel.getGridZ();
  params.blockDimX = kernel.getBlockX();
  params.blockDimY = kernel.getBlockY();
  params.blockDimZ = kernel.getBlockZ();
  params.sharedMemBytes = kernel.getSharedBytes();

  PackedParams packed(kernel.getParams());
  params.extra = packed.extra();

  const DriverTable& driver = call.driver();
  if (driver.cuGraphAddKernelNode_v2 == nullptr ||
      driver.cuGraphKernelNodeSetParams_v2 == nullptr ||
      driver.cuGraphExecKernelNodeSetParams_v2 == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  CUgraphNode added = nullptr;
  CUresult result;
  if (at.graph != nullptr) {
    result = driver.cuGraphAddKernelNode_v2(&added, at.graph, at.dependencies.data(),
                                            at.dependencies.size(), &params);
  } else if (at.exec != nullptr) {
    result = driver.cuGraphExecKernelNodeSetParams_v2(at.exec, at.node, &params);
  } else {
    result = driver.cuGraphKernelNodeSetParams_v2(at.node, &params);
  }
  finish_added(call, at, result, added);
}

void farcallGraphKernelNodeGet(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphKernelNodeGet>();
  const auto node = call.handle<CUgraphNode>(args.getNode(), HandleType::kGraphNode);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphKernelNodeGetParams_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_KERNEL_NODE_PARAMS params = {};
  CUresult result = driver.cuGraphKernelNodeGetParams_v2(node, &params);
  std::vector<std::byte> block;
  if (result == CUDA_SUCCESS) result = pack(driver, params, &block);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    auto kernel = call.results<schema::FarcallGraphKernelNodeGetResults>().initKernel();
    kernel.setFunction(id_of_kernel(call, params));
    kernel.setGridX(params.gridDimX);
    kernel.setGridY(params.gridDimY);
    kernel.setGridZ(params.gridDimZ);
    kernel.setBlockX(params.blockDimX);
    kernel.setBlockY(params.blockDimY);
    kernel.setBlockZ(params.blockDimZ);
    kernel.setSharedBytes(params.sharedMemBytes);
    kernel.setParams(
        capnp::Data::Reader(reinterpret_cast<const kj::byte*>(block.data()), block.size()));
  }
  call.finish(result);
}

void farcallGraphHostNode(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphHostNode>();
  const Place at = read_place(call, args.getAt());
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphAddHostNode == nullptr || driver.cuGraphHostNodeSetParams == nullptr ||
      driver.cuGraphExecHostNodeSetParams == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  const CUDA_HOST_NODE_PARAMS params = call.worker().host_functions().node(args.getFunction());
  CUgraphNode added = nullptr;
  CUresult result;
  if (at.graph != nullptr) {
    result = driver.cuGraphAddHostNode(&added, at.graph, at.dependencies.data(),
                                       at.dependencies.size(), &params);
  } else if (at.exec != nullptr) {
    result = driver.cuGraphExecHostNodeSetParams(at.exec, at.node, &params);
  } else {
    result = driver.cuGraphHostNodeSetParams(at.node, &params);
  }
  if (result != CUDA_SUCCESS) call.worker().host_functions().forget(params);
  finish_added(call, at, result, added);
}

void farcallGraphHostNodeGet(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphHostNodeGet>();
  const auto node = call.handle<CUgraphNode>(args.getNode(), HandleType::kGraphNode);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphHostNodeGetParams == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_HOST_NODE_PARAMS params = {};
  const CUresult result = driver.cuGraphHostNodeGetParams(node, &params);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    call.results<schema::FarcallGraphHostNodeGetResults>().setFunction(
        HostFunctions::id_of(params));
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
