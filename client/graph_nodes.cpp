#include "client/graph_nodes.h"

#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "client/program.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;

// A CUresult.
int check_place(const Session& session, const NodePlace& at) {
  if (at.added == nullptr) {
    if (at.node == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!usable(session, id_of(at.node), HandleType::kGraphNode)) return CUDA_ERROR_INVALID_HANDLE;
    if (!usable(session, id_of(at.exec), HandleType::kGraphExec)) return CUDA_ERROR_INVALID_HANDLE;
    return CUDA_SUCCESS;
  }
  if (at.graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, id_of(at.graph), HandleType::kGraph)) return CUDA_ERROR_INVALID_HANDLE;
  if (at.dependencies == nullptr && at.dependency_count != 0) return CUDA_ERROR_INVALID_VALUE;
  if (at.dependency_count > kArgumentBytesMax / sizeof(HandleId)) return CUDA_ERROR_NOT_SUPPORTED;
  for (size_t i = 0; i < at.dependency_count; ++i) {
    if (at.dependencies[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!usable(session, id_of(at.dependencies[i]), HandleType::kGraphNode)) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
  }
  return CUDA_SUCCESS;
}

void write_place(schema::GraphNode::Builder to, const NodePlace& at, HandleId node) {
  to.setNode(node);
  if (at.added == nullptr) {
    to.setExec(id_of(at.exec));
    return;
  }
  to.setGraph(id_of(at.graph));
  auto dependencies = to.initDependencies(unsigned(at.dependency_count));
  for (unsigned i = 0; i < at.dependency_count; ++i) {
    dependencies.set(i, id_of(at.dependencies[i]));
  }
}

// Sends the call that write(Call&, id of the node) fills in.
template <class Write>
rpc::Reply put_node(Session& session, const NodePlace& at, Opcode op, Write&& write) {
  if (const int bad = check_place(session, at)) return rpc::Reply(bad);
  if (at.added == nullptr) {
    Call call(session, op);
    write(call, id_of(at.node));
    return call.wait();
  }
  Minted minted(session, HandleType::kGraphNode);
  Call call(session, op);
  write(call, minted.id());
  rpc::Reply reply = call.wait();
  if (reply.own_result() == CUDA_SUCCESS) *at.added = handle_from<CUgraphNode>(minted.keep());
  return reply;
}

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
