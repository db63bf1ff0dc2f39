#include "client/graph_nodes.h"

#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "client/program.h"
#include "client/put_node.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;

// What get_kernel_node() hands out.
struct Params {
  std::vector<std::byte> block;
  std::vector<void*> pointers;
};
struct ParamsOfNodes {
  std::mutex mutex;
  std::unordered_map<HandleId, Params> nodes;
};
ParamsOfNodes& params_of_nodes() {
  static ParamsOfNodes* const instance = new ParamsOfNodes;  // leaked, like Program
  return *instance;
}

}  // namespace

// --- Kernels

int put_kernel_node(Session& session, const NodePlace& at, const Kernel& kernel,
                    const LaunchConfig& config, void** params, void** extra) {
  if (const int bad = check_launch(session, kernel, config)) return bad;
  KernelParams taken;
  if (const int bad = taken.take(kernel, params, extra)) return bad;
  return put_node(session, at, Opcode::k_farcallGraphKernelNode,
                  [&](Call& call, HandleId node) {
                    auto args = call.args<schema::FarcallGraphKernelNode>();
                    write_place(args.initAt(), at, node);
                    auto to = args.initKernel();
                    to.setFunction(kernel.id);
                    to.setGridX(config.grid[0]);
                    to.setGridY(config.grid[1]);
                    to.setGridZ(config.grid[2]);
                    to.setBlockX(config.block[0]);
                    to.setBlockY(config.block[1]);
                    to.setBlockZ(config.block[2]);
                    to.setSharedBytes(config.shared_bytes);
                    if (taken.bytes() > 0)
                      taken.write(to.initParams(unsigned(taken.bytes())).begin());
                  })
      .result();
}

int get_kernel_node(Session& session, CUgraphNode node, KernelNode* out) {
  if (node == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, id_of(node), HandleType::kGraphNode)) return CUDA_ERROR_INVALID_HANDLE;
  Call call(session, Opcode::k_farcallGraphKernelNodeGet);
  call.args<schema::FarcallGraphKernelNodeGet>().setNode(id_of(node));
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  const auto from = reply.results<schema::FarcallGraphKernelNodeGetResults>().getKernel();
  out->kernel = find_kernel(from.getFunction());
  if (out->kernel == nullptr || out->kernel->layout == nullptr ||
      !out->kernel->layout->params_known) {
    log::error("cuGraphKernelNodeGetParams: the node's kernel is not one that this program loaded");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const image::Kernel& layout = *out->kernel->layout;
  const auto block = from.getParams();
  if (block.size() < layout.param_bytes) {
    session.connection().lose("the server sent fewer parameters than the kernel has");
    return rpc::kSessionLostResult;
  }
  out->config = {};
  out->config.grid[0] = from.getGridX();
  out->config.grid[1] = from.getGridY();
  out->config.grid[2] = from.getGridZ();
  out->config.block[0] = from.getBlockX();
  out->config.block[1] = from.getBlockY();
  out->config.block[2] = from.getBlockZ();
  out->config.shared_bytes = from.getSharedBytes();

  ParamsOfNodes& all = params_of_nodes();
  const std::lock_guard lock(all.mutex);
  Params& params = all.nodes[id_of(node)];
  params.block.resize(layout.param_bytes);
  if (!params.block.empty()) std::memcpy(params.block.data(), block.begin(), params.block.size());
  params.pointers.clear();
  for (const auto& param : layout.params) {
    params.pointers.push_back(params.block.data() + param.offset);
  }
  out->params = params.pointers.empty() ? nullptr : params.pointers.data();
  return CUDA_SUCCESS;
}

// --- Functions of the program

int put_host_node(Session& session, const NodePlace& at, const HostFunction& function) {
  if (function.function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  HostFunctions& functions = program().host_functions;
  const uint64_t id = functions.add(session, function);
  const rpc::Reply reply =
      put_node(session, at, Opcode::k_farcallGraphHostNode, [&](Call& call, HandleId node) {
        auto args = call.args<schema::FarcallGraphHostNode>();
        write_place(args.initAt(), at, node);
        args.setFunction(id);
      });
  if (reply.own_result() != CUDA_SUCCESS) functions.remove(id);
  return reply.result();
}

int get_host_node(Session& session, CUgraphNode node, HostFunction* out) {
  if (node == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, id_of(node), HandleType::kGraphNode)) return CUDA_ERROR_INVALID_HANDLE;
  Call call(session, Opcode::k_farcallGraphHostNodeGet);
  call.args<schema::FarcallGraphHostNodeGet>().setNode(id_of(node));
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  const uint64_t id = reply.results<schema::FarcallGraphHostNodeGetResults>().getFunction();
  return program().host_functions.find(id, out) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace farcall::client
