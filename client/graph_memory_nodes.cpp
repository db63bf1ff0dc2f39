// Nodes that copy, allocate and wait for words in memory, conditional nodes, and user objects; see
// client/graph_nodes.h. The program's memory in a copy is known to the server by an id, as in
// client/graphs.h.
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "client/graphs.h"
#include "client/program.h"
#include "client/put_node.h"
#include "rpc/schema/driver_graph.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;

int check_node(Session& session, CUgraphNode node) {
  if (node == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return usable(session, id_of(node), HandleType::kGraphNode) ? CUDA_SUCCESS
                                                              : CUDA_ERROR_INVALID_HANDLE;
}

HostCopy host_copy(const Side& side, const Extent& extent, bool to_device) {
  HostCopy copy;
  copy.id = program().graphs.next_id();
  copy.memory = reinterpret_cast<std::byte*>(side.address);
  copy.bytes = extent.width_bytes * extent.height * extent.depth;
  copy.to_device = to_device;
  copy.row_bytes = extent.width_bytes;
  copy.rows = extent.height;
  copy.slices = extent.depth;
  copy.pitch_bytes = side.pitch_bytes;
  copy.slice_rows = side.slice_rows;
  return copy;
}

void write_side(schema::CopySide::Builder to, const Side& from) {
  to.setAddress(from.address);
  to.setArray(from.array);
  to.setXBytes(from.x_bytes);
  to.setY(from.y);
  to.setZ(from.z);
  to.setPitchBytes(from.pitch_bytes);
  to.setSliceRows(from.slice_rows);
}

// What the getters hand out, until the node is asked about again.
template <class T>
struct OfNodes {
  std::mutex mutex;
  std::unordered_map<HandleId, std::vector<T>> nodes;

  static OfNodes& instance() {
    static OfNodes* const leaked = new OfNodes;
    return *leaked;
  }
};

template <class T>
T* keep(CUgraphNode node, std::vector<T> values) {
  auto& all = OfNodes<T>::instance();
  const std::lock_guard lock(all.mutex);
  auto& kept = all.nodes[id_of(node)];
  kept = std::move(values);
  return kept.empty() ? nullptr : kept.data();
}

}  // namespace

// --- Copies

int put_copy_node(Session& session, const NodePlace& at, const CopyNode& given, HandleId context) {
  CopyNode copy = given;
  const Extent& extent = copy.extent;
  const bool nothing = extent.width_bytes == 0 || extent.height == 0 || extent.depth == 0;
  if (nothing) {
    // A node that does nothing needs no memory of the program's.
    if (!copy.to_device) copy.to = copy.from;
    if (!copy.from_device) copy.from = copy.to;
    if (copy.to_device || copy.from_device) copy.to_device = copy.from_device = true;
  }
  if (!usable(session, context, HandleType::kContext)) return CUDA_ERROR_INVALID_CONTEXT;
  for (const Side* side : {&copy.to, &copy.from}) {
    if (nothing && side->address == 0 && side->array == 0) continue;  // nor any memory at all
    if (side->address == 0 &&
        (side->array == 0 || !usable(session, side->array, HandleType::kArray))) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  GraphCopies& graphs = program().graphs;
  std::vector<HostCopy> copies;
  if (!copy.from_device) copies.push_back(host_copy(copy.from, extent, /*to_device=*/true));
  const uint64_t source = copy.from_device ? 0 : copies.back().id;
  if (!copy.to_device) copies.push_back(host_copy(copy.to, extent, /*to_device=*/false));
  const uint64_t destination = copy.to_device ? 0 : copies.back().id;
  for (const HostCopy& each : copies) graphs.add(each);

  const rpc::Reply reply =
      put_node(session, at, Opcode::k_farcallGraphCopyNode, [&](Call& call, HandleId node) {
        auto args = call.args<schema::FarcallGraphCopyNode>();
        write_place(args.initAt(), at, node);
        auto to = args.initCopy();
        if (copy.to_device) write_side(to.initDestination(), copy.to);
        if (copy.from_device) write_side(to.initSource(), copy.from);
        to.setDestinationCopy(destination);
        to.setSourceCopy(source);
        to.setWidthBytes(extent.width_bytes);
        to.setHeight(extent.height);
        to.setDepth(extent.depth);
        args.setContext(context);
      });
  if (reply.own_result() != CUDA_SUCCESS) {
    for (const HostCopy& each : copies) graphs.remove(each.id);
  }
  if (!reply.has_results()) return reply.result();
  rpc::Reply answer = reply;
  const auto results = answer.results<schema::FarcallGraphCopyNodeResults>();
  if (reply.own_result() == CUDA_SUCCESS && at.exec != nullptr) {
    const int failed = set_exec_copies(session, id_of(at.exec), results.getCopies(),
                                       "cuGraphExecMemcpyNodeSetParams");
    if (failed != CUDA_SUCCESS) return failed;
  }
  for (const uint64_t id : results.getGone()) graphs.remove(id);
  return reply.result();
}

int get_copy_node(Session& session, CUgraphNode node, CopyNode* out) {
  if (const int bad = check_node(session, node)) return bad;
  Call call(session, Opcode::k_farcallGraphCopyNodeGet);
  call.args<schema::FarcallGraphCopyNodeGet>().setNode(id_of(node));
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  const auto from = reply.results<schema::FarcallGraphCopyNodeGetResults>().getCopy();
  const auto read = [&](schema::CopySide::Reader side, uint64_t copy, Side* to, bool* device) {
    to->address = side.getAddress();
    to->array = side.getArray();
    to->x_bytes = side.getXBytes();
    to->y = side.getY();
    to->z = side.getZ();
    to->pitch_bytes = side.getPitchBytes();
    to->slice_rows = side.getSliceRows();
    *device = to->address != 0 || to->array != 0;
    if (*device) return true;
    const auto known = program().graphs.find(copy);
    if (!known) return false;
    *to = {};
    to->address = reinterpret_cast<uint64_t>(known->memory);
    to->pitch_bytes = known->pitch_bytes;
    to->slice_rows = known->slice_rows;
    return true;
  };
  if (!read(from.getDestination(), from.getDestinationCopy(), &out->to, &out->to_device) ||
      !read(from.getSource(), from.getSourceCopy(), &out->from, &out->from_device)) {
    detail::log_not_supported("cuGraphMemcpyNodeGetParams", "a copy that this program didn't make");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  out->extent = {from.getWidthBytes(), from.getHeight(), from.getDepth()};
  return CUDA_SUCCESS;
}

// --- Allocations

int put_allocation_node(Session& session, const NodePlace& at, CUDA_MEM_ALLOC_NODE_PARAMS* params) {
  if (params == nullptr || params->bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  if (params->accessDescs == nullptr && params->accessDescCount != 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (params->accessDescCount > session.devices().size()) return CUDA_ERROR_INVALID_VALUE;
  const CUmemPoolProps& pool = params->poolProps;
  rpc::Reply reply =
      put_node(session, at, Opcode::k_farcallGraphAllocationNode, [&](Call& call, HandleId node) {
        auto args = call.args<schema::FarcallGraphAllocationNode>();
        write_place(args.initAt(), at, node);
        auto to = args.initAllocation();
        to.setAllocationType(pool.allocType);
        to.setHandleTypes(pool.handleTypes);
        to.setLocationType(pool.location.type);
        to.setLocationId(pool.location.id);
        to.setBytesMax(pool.maxSize);
        to.setUsage(pool.usage);
        auto access = to.initAccess(unsigned(params->accessDescCount));
        for (unsigned i = 0; i < access.size(); ++i) {
          access[i].setLocationType(params->accessDescs[i].location.type);
          access[i].setLocationId(params->accessDescs[i].location.id);
          access[i].setFlags(params->accessDescs[i].flags);
        }
        to.setBytes(params->bytesize);
      });
  if (reply.own_result() == CUDA_SUCCESS) {
    params->dptr = reply.results<schema::FarcallGraphAllocationNodeResults>().getAddress();
    note_allocation(session, params->dptr, params->bytesize);
  }
  return reply.result();
}

int get_allocation_node(Session& session, CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const int bad = check_node(session, node)) return bad;
  Call call(session, Opcode::k_farcallGraphAllocationNodeGet);
  call.args<schema::FarcallGraphAllocationNodeGet>().setNode(id_of(node));
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  const auto from = reply.results<schema::FarcallGraphAllocationNodeGetResults>().getAllocation();
  *out = {};
  out->poolProps.allocType = CUmemAllocationType(from.getAllocationType());
  out->poolProps.handleTypes = CUmemAllocationHandleType(from.getHandleTypes());
  out->poolProps.location.type = CUmemLocationType(from.getLocationType());
  out->poolProps.location.id = from.getLocationId();
  out->poolProps.maxSize = from.getBytesMax();
  out->poolProps.usage = from.getUsage();
  std::vector<CUmemAccessDesc> access;
  for (const auto each : from.getAccess()) {
    CUmemAccessDesc& to = access.emplace_back();
    to.location.type = CUmemLocationType(each.getLocationType());
    to.location.id = each.getLocationId();
    to.flags = CUmemAccess_flags(each.getFlags());
  }
  out->accessDescCount = access.size();
  out->accessDescs = keep(node, std::move(access));
  out->bytesize = from.getBytes();
  out->dptr = from.getAddress();
  return CUDA_SUCCESS;
}

// --- Operations on words

int put_memory_operations_node(Session& session, const NodePlace& at,
                               const CUDA_BATCH_MEM_OP_NODE_PARAMS* params) {
  if (params == nullptr || (params->paramArray == nullptr && params->count != 0))
    return CUDA_ERROR_INVALID_VALUE;
  const size_t bytes = params->count * sizeof *params->paramArray;
  if (bytes > kArgumentBytesMax) return CUDA_ERROR_NOT_SUPPORTED;
  if (!usable(session, id_of(params->ctx), HandleType::kContext)) return CUDA_ERROR_INVALID_CONTEXT;
  return put_node(session, at, Opcode::k_farcallGraphMemoryOperationsNode,
                  [&](Call& call, HandleId node) {
                    auto args = call.args<schema::FarcallGraphMemoryOperationsNode>();
                    write_place(args.initAt(), at, node);
                    auto to = args.initOperations();
                    to.setContext(id_of(params->ctx));
                    to.setFlags(params->flags);
                    to.setOperations(rpc::to_data(params->paramArray, bytes));
                  })
      .result();
}

int get_memory_operations_node(Session& session, CUgraphNode node,
                               CUDA_BATCH_MEM_OP_NODE_PARAMS* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const int bad = check_node(session, node)) return bad;
  Call call(session, Opcode::k_farcallGraphMemoryOperationsNodeGet);
  call.args<schema::FarcallGraphMemoryOperationsNodeGet>().setNode(id_of(node));
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  const auto from =
      reply.results<schema::FarcallGraphMemoryOperationsNodeGetResults>().getOperations();
  std::vector<CUstreamBatchMemOpParams> operations(from.getOperations().size() /
                                                   sizeof(CUstreamBatchMemOpParams));
  rpc::from_data(from.getOperations(), operations.data(),
                 operations.size() * sizeof(CUstreamBatchMemOpParams));
  *out = {};
  out->ctx = handle_from<CUcontext>(from.getContext());
  out->count = unsigned(operations.size());
  out->flags = from.getFlags();
  out->paramArray = keep(node, std::move(operations));
  return CUDA_SUCCESS;
}

// --- Conditional nodes and edges

int put_conditional_node(Session& session, const NodePlace& at,
                         CUDA_CONDITIONAL_NODE_PARAMS* params) {
  if (params == nullptr || params->size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, id_of(params->ctx), HandleType::kContext)) return CUDA_ERROR_INVALID_CONTEXT;
  rpc::Reply reply =
      put_node(session, at, Opcode::k_farcallGraphConditionalNode, [&](Call& call, HandleId node) {
        auto args = call.args<schema::FarcallGraphConditionalNode>();
        write_place(args.initAt(), at, node);
        args.setHandle(params->handle);
        args.setType(params->type);
        args.setSize(params->size);
        args.setContext(id_of(params->ctx));
      });
  if (reply.own_result() != CUDA_SUCCESS) return reply.result();
  std::vector<CUgraph> bodies;
  for (const HandleId id : reply.results<schema::FarcallGraphConditionalNodeResults>().getBodies())
    bodies.push_back(handle_from<CUgraph>(id));
  if (bodies.size() != params->size) {  // the program will read so many
    log::error("the server answered with {} bodies of a conditional node of {}", bodies.size(),
               params->size);
    return CUDA_ERROR_UNKNOWN;
  }
  params->phGraph_out = keep(*at.added, std::move(bodies));
  return reply.result();
}

int add_edges(Session& session, const NodePlace& at, CUgraphNode node,
              const CUgraphEdgeData* edges) {
  Call call(session, Opcode::k_cuGraphAddDependencies_v2);
  auto args = call.args<schema::CuGraphAddDependenciesV2>();
  args.setHGraph(id_of(at.graph));
  args.setNumDependencies(at.dependency_count);
  const auto count = unsigned(at.dependency_count);
  auto from = args.initFrom(count);
  auto to = args.initTo(count);
  auto data = args.initEdgeData(count);
  for (unsigned i = 0; i < count; ++i) {
    from.set(i, id_of(at.dependencies[i]));
    to.set(i, id_of(node));
    data[i].setFromPort(edges[i].from_port);
    data[i].setToPort(edges[i].to_port);
    data[i].setType(edges[i].type);
  }
  return call.wait().result();
}

// --- User objects

int create_user_object(Session& session, CUuserObject* object, void* data, CUhostFn destroy,
                       unsigned references, unsigned flags) {
  if (object == nullptr || destroy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Minted minted(session, HandleType::kUserObject);
  HostFunctions& functions = program().host_functions;
  HostFunction function;
  function.function = destroy;
  function.data = data;
  function.user_object = minted.id();
  const uint64_t id = functions.add(session, function);
  Call call(session, Opcode::k_farcallUserObjectCreate);
  auto args = call.args<schema::FarcallUserObjectCreate>();
  args.setObject(minted.id());
  args.setFunction(id);
  args.setReferences(references);
  args.setFlags(flags);
  const rpc::Reply reply = call.wait();
  if (reply.own_result() != CUDA_SUCCESS) {
    functions.remove(id);
    return reply.result();
  }
  *object = handle_from<CUuserObject>(minted.keep());
  return reply.result();
}

}  // namespace farcall::client
