// Nodes that copy or allocate memory. A side of a copy that is the program's memory is a buffer of
// ours, with the rows packed, as for copies that were captured (server/captured_copies.h).
#include <cuda.h>

#include <optional>
#include <vector>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/dispatch_args.h"
#include "server/handlers.h"
#include "server/handlers/graph_place.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleType;

// One side of a copy, as CUDA_MEMCPY3D has it twice.
struct CopySide {
  CUmemorytype type = CU_MEMORYTYPE_HOST;
  std::byte* host = nullptr;
  CUdeviceptr device = 0;
  CUarray array = nullptr;
  uint64_t x = 0, y = 0, z = 0, pitch = 0, rows = 0;
};

// A copy of `nothing` may name no memory.
CopySide read_side(CallContext& call, schema::CopySide::Reader from, bool nothing) {
  CopySide side;
  side.device = from.getAddress();
  const bool null = nothing && side.device == 0 && from.getArray() == 0;
  side.type = side.device != 0 || null ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_ARRAY;
  if (side.device == 0 && !null) {
    side.array = call.handle<CUarray>(from.getArray(), HandleType::kArray);
    if (side.array == nullptr) call.invalidate("neither an address nor an array");
  }
  side.x = from.getXBytes();
  side.y = from.getY();
  side.z = from.getZ();
  side.pitch = from.getPitchBytes();
  side.rows = from.getSliceRows();
  return side;
}

// A buffer for the program's side. Nullopt: the call is over.
std::optional<CopySide> buffer_side(CallContext& call, uint64_t id, bool to_device, uint64_t width,
                                    uint64_t height, uint64_t depth) {
  uint64_t slice = 0, bytes = 0;
  if (__builtin_mul_overflow(width, height, &slice) ||
      __builtin_mul_overflow(slice, depth, &bytes)) {
    call.finish(CUDA_ERROR_OUT_OF_MEMORY);
    return std::nullopt;
  }
  Status broken = Status::kOk;
  CUresult result = CUDA_SUCCESS;
  CopySide side;
  side.host = call.worker().captured_copies().make_buffer(id, bytes, to_device, &broken, &result);
  if (broken != Status::kOk) {
    call.worker().violation("the id of a captured copy is in use, or none");
  }
  if (side.host == nullptr) {
    call.finish(result);
    return std::nullopt;
  }
  side.pitch = width;
  side.rows = height;
  return side;
}

void put(const CopySide& to, const CopySide& from, CUDA_MEMCPY3D& copy) {
  copy.srcMemoryType = from.type;
  copy.srcHost = from.host;
  copy.srcDevice = from.device;
  copy.srcArray = from.array;
  copy.srcXInBytes = from.x;
  copy.srcY = from.y;
  copy.srcZ = from.z;
  copy.srcPitch = from.pitch;
  copy.srcHeight = from.rows;
  copy.dstMemoryType = to.type;
  copy.dstHost = to.host;
  copy.dstDevice = to.device;
  copy.dstArray = to.array;
  copy.dstXInBytes = to.x;
  copy.dstY = to.y;
  copy.dstZ = to.z;
  copy.dstPitch = to.pitch;
  copy.dstHeight = to.rows;
}

CUresult put_node(const DriverTable& driver, const Place& at, const CUDA_MEMCPY3D& copy,
                  CUcontext context, CUgraphNode* added) {
  if (at.graph != nullptr) {
    return driver.cuGraphAddMemcpyNode(added, at.graph, at.dependencies.data(),
                                       at.dependencies.size(), &copy, context);
  }
  if (at.exec != nullptr) {
    return driver.cuGraphExecMemcpyNodeSetParams(at.exec, at.node, &copy, context);
  }
  return driver.cuGraphMemcpyNodeSetParams(at.node, &copy);
}

void write_side(CallContext& call, schema::CopySide::Builder to, const CopySide& side) {
  to.setAddress(side.device);
  to.setArray(intern(call, HandleType::kArray, side.array));
  to.setXBytes(side.x);
  to.setY(side.y);
  to.setZ(side.z);
  to.setPitchBytes(side.pitch);
  to.setSliceRows(side.rows);
}

}  // namespace

void farcallGraphCopyNode(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphCopyNode>();
  const Place at = read_place(call, args.getAt());
  const auto from = args.getCopy();
  const bool from_host = from.getSourceCopy() != 0, to_host = from.getDestinationCopy() != 0;
  CopySide source, destination;
  const bool nothing = from.getWidthBytes() == 0 || from.getHeight() == 0 || from.getDepth() == 0;
  if (!from_host) source = read_side(call, from.getSource(), nothing);
  if (!to_host) destination = read_side(call, from.getDestination(), nothing);
  CUcontext context = call.handle<CUcontext>(args.getContext(), HandleType::kContext);
  if (!call.wants_reply()) call.invalidate("nobody waits to hear what copies there are");
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphAddMemcpyNode == nullptr || driver.cuGraphMemcpyNodeSetParams == nullptr ||
      driver.cuGraphExecMemcpyNodeSetParams == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  if (context == nullptr && driver.cuCtxGetCurrent != nullptr)
    (void)driver.cuCtxGetCurrent(&context);
  CapturedCopies& copies = call.worker().captured_copies();
  const rpc::HandleId exec = args.getAt().getExec();
  if (at.exec != nullptr) {
    if (const CUresult unknown = copies.check_exec_node(exec, from_host || to_host))
      return call.finish(unknown);
  }

  CUDA_MEMCPY3D copy = {};
  copy.WidthInBytes = from.getWidthBytes();
  copy.Height = from.getHeight();
  copy.Depth = from.getDepth();
  std::vector<uint64_t> ids;
  const auto buffer = [&](uint64_t id, bool to_device, CopySide* side) {
    const auto made = buffer_side(call, id, to_device, copy.WidthInBytes, copy.Height, copy.Depth);
    if (!made) {
      for (const uint64_t other : ids) copies.drop(other);
      return false;
    }
    *side = *made;
    ids.push_back(id);
    return true;
  };
  if (from_host && !buffer(from.getSourceCopy(), true, &source)) return;
  if (to_host && !buffer(from.getDestinationCopy(), false, &destination)) return;
  put(destination, source, copy);

  CUgraphNode added = nullptr;
  const CUresult result = put_node(driver, at, copy, context, &added);
  auto results = call.results<schema::FarcallGraphCopyNodeResults>();
  if (result != CUDA_SUCCESS) {
    for (const uint64_t id : ids) copies.drop(id);
  } else if (at.exec != nullptr) {
    const auto now = copies.tie_to_exec(exec, at.node, ids);
    auto list = results.initCopies(unsigned(now.size()));
    for (unsigned i = 0; i < now.size(); ++i) list.set(i, now[i]->id);
  } else {
    copies.tie_to_node(at.graph, at.graph != nullptr ? added : at.node, ids);
  }
  const std::vector<uint64_t> gone = copies.take_gone();
  auto list = results.initGone(unsigned(gone.size()));
  for (unsigned i = 0; i < gone.size(); ++i) list.set(i, gone[i]);
  finish_added(call, at, result, added);
}

void farcallGraphCopyNodeGet(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphCopyNodeGet>();
  const auto node = call.handle<CUgraphNode>(args.getNode(), HandleType::kGraphNode);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphMemcpyNodeGetParams == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_MEMCPY3D copy = {};
  const CUresult result = driver.cuGraphMemcpyNodeGetParams(node, &copy);
  if (result != CUDA_SUCCESS || !call.wants_reply()) return call.finish(result);
  auto to = call.results<schema::FarcallGraphCopyNodeGetResults>().initCopy();
  CapturedCopies& copies = call.worker().captured_copies();
  // Unified addresses of the host are our buffers', too.
  const auto host_of = [](CUmemorytype type, const void* host, CUdeviceptr device) -> const void* {
    if (type == CU_MEMORYTYPE_HOST) return host;
    return type == CU_MEMORYTYPE_UNIFIED ? reinterpret_cast<const void*>(device) : nullptr;
  };
  to.setSourceCopy(copies.id_of(host_of(copy.srcMemoryType, copy.srcHost, copy.srcDevice)));
  to.setDestinationCopy(copies.id_of(host_of(copy.dstMemoryType, copy.dstHost, copy.dstDevice)));
  const bool from_array = copy.srcMemoryType == CU_MEMORYTYPE_ARRAY;
  const bool to_array = copy.dstMemoryType == CU_MEMORYTYPE_ARRAY;
  const bool from_host = copy.srcMemoryType == CU_MEMORYTYPE_HOST || to.getSourceCopy() != 0;
  const bool to_host = copy.dstMemoryType == CU_MEMORYTYPE_HOST || to.getDestinationCopy() != 0;
  write_side(call, to.initSource(),
             {copy.srcMemoryType, nullptr, from_array || from_host ? 0 : copy.srcDevice,
              from_array ? copy.srcArray : nullptr, copy.srcXInBytes, copy.srcY, copy.srcZ,
              copy.srcPitch, copy.srcHeight});
  write_side(call, to.initDestination(),
             {copy.dstMemoryType, nullptr, to_array || to_host ? 0 : copy.dstDevice,
              to_array ? copy.dstArray : nullptr, copy.dstXInBytes, copy.dstY, copy.dstZ,
              copy.dstPitch, copy.dstHeight});
  to.setWidthBytes(copy.WidthInBytes);
  to.setHeight(copy.Height);
  to.setDepth(copy.Depth);
  call.finish(result);
}

// --- Allocations

void farcallGraphAllocationNode(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphAllocationNode>();
  const Place at = read_place(call, args.getAt());
  if (at.graph == nullptr) call.invalidate("a node that allocates is added, never changed");
  const auto from = args.getAllocation();
  std::vector<CUmemAccessDesc> access;
  for (const auto each : from.getAccess()) {
    CUmemAccessDesc& to = access.emplace_back();
    to.location.type = CUmemLocationType(each.getLocationType());
    to.location.id = each.getLocationId();
    to.flags = CUmemAccess_flags(each.getFlags());
  }
  if (!call.valid()) return call.refuse();
  CUDA_MEM_ALLOC_NODE_PARAMS params = {};
  params.poolProps.allocType = CUmemAllocationType(from.getAllocationType());
  params.poolProps.handleTypes = CUmemAllocationHandleType(from.getHandleTypes());
  params.poolProps.location.type = CUmemLocationType(from.getLocationType());
  params.poolProps.location.id = from.getLocationId();
  params.poolProps.maxSize = from.getBytesMax();
  params.poolProps.usage = from.getUsage();
  params.accessDescs = access.empty() ? nullptr : access.data();
  params.accessDescCount = access.size();
  params.bytesize = from.getBytes();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphAddMemAllocNode == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUgraphNode added = nullptr;
  const CUresult result = driver.cuGraphAddMemAllocNode(&added, at.graph, at.dependencies.data(),
                                                        at.dependencies.size(), &params);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    call.results<schema::FarcallGraphAllocationNodeResults>().setAddress(params.dptr);
  }
  finish_added(call, at, result, added);
}

void farcallGraphAllocationNodeGet(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphAllocationNodeGet>();
  const auto node = call.handle<CUgraphNode>(args.getNode(), HandleType::kGraphNode);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphMemAllocNodeGetParams == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_MEM_ALLOC_NODE_PARAMS params = {};
  const CUresult result = driver.cuGraphMemAllocNodeGetParams(node, &params);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    auto to = call.results<schema::FarcallGraphAllocationNodeGetResults>().initAllocation();
    to.setAllocationType(params.poolProps.allocType);
    to.setHandleTypes(params.poolProps.handleTypes);
    to.setLocationType(params.poolProps.location.type);
    to.setLocationId(params.poolProps.location.id);
    to.setBytesMax(params.poolProps.maxSize);
    to.setUsage(params.poolProps.usage);
    auto access = to.initAccess(unsigned(params.accessDescCount));
    for (unsigned i = 0; i < access.size(); ++i) {
      access[i].setLocationType(params.accessDescs[i].location.type);
      access[i].setLocationId(params.accessDescs[i].location.id);
      access[i].setFlags(params.accessDescs[i].flags);
    }
    to.setBytes(params.bytesize);
    to.setAddress(params.dptr);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
