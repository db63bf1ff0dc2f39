// Nodes that a program adds to graphs itself and whose arguments need a hand: kernels, functions of
// the program, operations on words in memory, and conditional nodes. Copies and allocations are in
// graph_memory_node.cpp; other kinds have generated handlers.
#include <cuda.h>

#include <cstring>
#include <vector>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/dispatch_args.h"
#include "server/handlers.h"
#include "server/handlers/graph_place.h"
#include "server/packed_params.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;

// CUDA has two at most (an if with its else); a switch has as many as it has cases.
constexpr unsigned kConditionalBodiesMax = 1024;

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

// --- Operations on words in memory

void farcallGraphMemoryOperationsNode(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphMemoryOperationsNode>();
  const Place at = read_place(call, args.getAt());
  const auto from = args.getOperations();
  const capnp::Data::Reader bytes = from.getOperations();
  if (bytes.size() % sizeof(CUstreamBatchMemOpParams) != 0) call.invalidate("half an operation");
  std::vector<CUstreamBatchMemOpParams> operations(bytes.size() / sizeof(CUstreamBatchMemOpParams));
  rpc::from_data(bytes, operations.data(), operations.size() * sizeof(CUstreamBatchMemOpParams));
  CUDA_BATCH_MEM_OP_NODE_PARAMS params = {};
  params.ctx = call.handle<CUcontext>(from.getContext(), HandleType::kContext);
  params.count = unsigned(operations.size());
  params.paramArray = operations.data();
  params.flags = from.getFlags();
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphAddBatchMemOpNode == nullptr ||
      driver.cuGraphBatchMemOpNodeSetParams == nullptr ||
      driver.cuGraphExecBatchMemOpNodeSetParams == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  CUgraphNode added = nullptr;
  CUresult result;
  if (at.graph != nullptr) {
    result = driver.cuGraphAddBatchMemOpNode(&added, at.graph, at.dependencies.data(),
                                             at.dependencies.size(), &params);
  } else if (at.exec != nullptr) {
    result = driver.cuGraphExecBatchMemOpNodeSetParams(at.exec, at.node, &params);
  } else {
    result = driver.cuGraphBatchMemOpNodeSetParams(at.node, &params);
  }
  finish_added(call, at, result, added);
}

void farcallGraphMemoryOperationsNodeGet(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphMemoryOperationsNodeGet>();
  const auto node = call.handle<CUgraphNode>(args.getNode(), HandleType::kGraphNode);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphBatchMemOpNodeGetParams == nullptr)
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_BATCH_MEM_OP_NODE_PARAMS params = {};
  const CUresult result = driver.cuGraphBatchMemOpNodeGetParams(node, &params);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    auto to = call.results<schema::FarcallGraphMemoryOperationsNodeGetResults>().initOperations();
    to.setContext(intern(call, HandleType::kContext, params.ctx));
    to.setFlags(params.flags);
    to.setOperations(
        rpc::to_data(params.paramArray, params.count * sizeof(CUstreamBatchMemOpParams)));
  }
  call.finish(result);
}

// --- Conditional nodes

void farcallGraphConditionalNode(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphConditionalNode>();
  const Place at = read_place(call, args.getAt());
  if (at.graph == nullptr) call.invalidate("a conditional node is added, never changed");
  CUgraphNodeParams params = {};
  params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
  params.conditional.handle = args.getHandle();
  params.conditional.type = CUgraphConditionalNodeType(args.getType());
  params.conditional.size = args.getSize();
  params.conditional.ctx = call.handle<CUcontext>(args.getContext(), HandleType::kContext);
  if (args.getSize() > kConditionalBodiesMax) call.invalidate("too many bodies");
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  CUgraphNode added = nullptr;
  CUresult result = CUDA_ERROR_NOT_SUPPORTED;
  if (driver.cuGraphAddNode_v2 != nullptr) {
    result = driver.cuGraphAddNode_v2(&added, at.graph, at.dependencies.data(), nullptr,
                                      at.dependencies.size(), &params);
  }
  if (result == CUDA_SUCCESS && params.conditional.phGraph_out != nullptr) {
    const std::vector<CUgraph> bodies(params.conditional.phGraph_out,
                                      params.conditional.phGraph_out + args.getSize());
    if (call.wants_reply()) {
      auto list =
          call.results<schema::FarcallGraphConditionalNodeResults>().initBodies(args.getSize());
      for (unsigned i = 0; i < bodies.size(); ++i) {
        list.set(i, intern(call, HandleType::kGraph, bodies[i]));
      }
    }
    call.worker().captured_copies().note_conditional(added, bodies);
  }
  finish_added(call, at, result, added);
}

// --- User objects

void farcallUserObjectCreate(CallContext& call) {
  const auto args = call.args<schema::FarcallUserObjectCreate>();
  const DriverTable& driver = call.driver();
  if (driver.cuUserObjectCreate == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  HostFunctions& functions = call.worker().host_functions();
  CUuserObject object = nullptr;
  const CUDA_HOST_NODE_PARAMS destroy = functions.destructor(
      args.getFunction(), [&handles = call.worker().handles(), id = args.getObject()] {
        handles.unbind(id, HandleType::kUserObject);
      });
  const CUresult result = driver.cuUserObjectCreate(&object, destroy.userData, destroy.fn,
                                                    args.getReferences(), args.getFlags());
  if (result == CUDA_SUCCESS) {
    call.bind(args.getObject(), HandleType::kUserObject, object);
  } else {
    functions.forget(destroy);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
