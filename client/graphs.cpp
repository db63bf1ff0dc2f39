#include "client/graphs.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "client/copy.h"
#include "client/program.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"
#include "rpc/schema/driver_capture.capnp.h"
#include "rpc/schema/driver_graph.capnp.h"

namespace farcall::client {
namespace {

using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;
using rpc::Reply;
namespace schema = rpc::schema;

GraphCopies& graphs() { return program().graphs; }

// The graphs that streams capture into, where the program named one (BeginCaptureToGraph).
class Targets {
 public:
  void set(HandleId stream, HandleId graph) {
    const std::lock_guard lock(mutex_);
    if (graph != 0) {
      by_stream_[stream] = graph;
    } else {
      by_stream_.erase(stream);
    }
  }
  HandleId of(HandleId stream) {
    const std::lock_guard lock(mutex_);
    const auto found = by_stream_.find(stream);
    return found == by_stream_.end() ? 0 : found->second;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<HandleId, HandleId> by_stream_;  // guarded by mutex_
};
Targets& targets() {
  static Targets* const instance = new Targets;  // leaked: see program.h
  return *instance;
}

int not_supported(const char* function, const char* reason) {
  detail::log_not_supported(function, reason);
  return CUDA_ERROR_NOT_SUPPORTED;
}

bool overlap(const HostCopy& a, const HostCopy& b) {
  return a.memory < b.memory + b.span_bytes() && b.memory < a.memory + a.span_bytes();
}

// A copy to the device that may read what an earlier one in the same graph has just copied to the
// host: the bytes would have to come here and go back in the midst of a launch. Ids tell the order
// of capturing.
bool reads_back(const ExecCopies& copies) {
  return std::ranges::any_of(copies.to_host, [&](const HostCopy& out) {
    return std::ranges::any_of(
        copies.to_device, [&](const HostCopy& in) { return out.id < in.id && overlap(out, in); });
  });
}

// What a server says of copies is believed only if it was us who captured them: it decides what
// memory of the program is read and written.
std::shared_ptr<ExecCopies> known_copies(Session& session, capnp::List<uint64_t>::Reader ids) {
  auto copies = std::make_shared<ExecCopies>();
  for (const uint64_t id : ids) {
    const auto copy = graphs().find(id);
    if (!copy) {
      session.connection().lose("the server names a captured copy that there never was");
      return nullptr;
    }
    (copy->to_device ? copies->to_device : copies->to_host).push_back(*copy);
  }
  copies->refused = reads_back(*copies);
  return copies;
}

constexpr const char* kReadsBack = "a graph that reads back host memory it has just copied to";

bool has_copies(HandleId exec) { return graphs().of(exec) != nullptr; }

}  // namespace

// --- GraphCopies

void GraphCopies::add(const HostCopy& copy) {
  const std::lock_guard lock(mutex_);
  copies_[copy.id] = copy;
  any_.store(true, std::memory_order_relaxed);
}

void GraphCopies::remove(uint64_t id) {
  const std::lock_guard lock(mutex_);
  copies_.erase(id);
}

std::optional<HostCopy> GraphCopies::find(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = copies_.find(id);
  if (found == copies_.end()) return std::nullopt;
  return found->second;
}

std::shared_ptr<const ExecCopies> GraphCopies::of(HandleId exec) const {
  if (!any()) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  return found == execs_.end() ? nullptr : found->second;
}

void GraphCopies::set(HandleId exec, std::shared_ptr<const ExecCopies> copies) {
  if (!any()) return;
  const std::lock_guard lock(mutex_);
  if (copies == nullptr || (copies->to_device.empty() && copies->to_host.empty())) {
    execs_.erase(exec);
  } else {
    execs_[exec] = std::move(copies);
  }
}

// --- Capturing

int capture_copy(Session& session, void* memory, uint64_t device, size_t bytes, bool to_device,
                 HandleId stream, bool* captured) {
  const HostCopy copy = HostCopy::linear(graphs().next_id(), memory, bytes, to_device);
  Call call(session, Opcode::k_farcallCaptureCopy);
  auto args = call.args<schema::FarcallCaptureCopy>();
  args.setCopy(copy.id);
  args.setDevice(device);
  args.setBytes(bytes);
  args.setToDevice(to_device);
  args.setStream(stream);
  Reply reply = call.wait();
  auto results = reply.results<schema::FarcallCaptureCopyResults>();
  *captured = results.getCaptured();
  for (const uint64_t id : results.getGone()) graphs().remove(id);
  if (*captured && reply.own_result() == CUDA_SUCCESS) graphs().add(copy);
  return reply.result();
}

int begin_capture(Session& session, HandleId stream, int mode) {
  if (!usable(session, stream, HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  Call call(session, Opcode::k_cuStreamBeginCapture_v2);
  auto args = call.args<schema::CuStreamBeginCaptureV2>();
  args.setHStream(stream);
  args.setMode(mode);
  const Reply reply = call.wait();
  if (reply.own_result() == CUDA_SUCCESS) graphs().note_capture(1);
  return reply.result();
}

int exchange_capture_mode(Session& session, int* mode) {
  if (*mode < CU_STREAM_CAPTURE_MODE_GLOBAL || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
    return CUDA_ERROR_INVALID_VALUE;
  int& current = thread_state().capture_mode;
  if (*mode != current) {
    Call call(session, Opcode::k_farcallThreadCaptureMode);
    call.args<schema::FarcallThreadCaptureMode>().setMode(*mode);
    if (const int failed = call.post()) return failed;
  }
  std::swap(current, *mode);
  return CUDA_SUCCESS;
}

int begin_capture_to_graph(Session& session, HandleId stream, CUgraph graph,
                           const CUgraphNode* dependencies, const CUgraphEdgeData* edges,
                           size_t count, int mode) {
  if (!usable(session, stream, HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  if (!usable(session, id_of(graph), HandleType::kGraph)) return CUDA_ERROR_INVALID_HANDLE;
  if (dependencies == nullptr && count != 0) return CUDA_ERROR_INVALID_VALUE;
  if (count > kArgumentBytesMax / sizeof(*edges)) return CUDA_ERROR_NOT_SUPPORTED;
  for (size_t i = 0; i < count; ++i) {
    if (!usable(session, id_of(dependencies[i]), HandleType::kGraphNode)) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
  }
  Call call(session, Opcode::k_cuStreamBeginCaptureToGraph);
  auto args = call.args<schema::CuStreamBeginCaptureToGraph>();
  args.setHStream(stream);
  args.setHGraph(id_of(graph));
  args.setNumDependencies(count);
  args.setMode(mode);
  if (dependencies != nullptr) {
    auto list = args.initDependencies(unsigned(count));
    for (unsigned i = 0; i < count; ++i) list.set(i, id_of(dependencies[i]));
  }
  if (edges != nullptr) {
    auto list = args.initDependencyData(unsigned(count));
    for (unsigned i = 0; i < count; ++i) {
      list[i].setFromPort(edges[i].from_port);
      list[i].setToPort(edges[i].to_port);
      list[i].setType(edges[i].type);
    }
  }
  const Reply reply = call.wait();
  if (reply.own_result() == CUDA_SUCCESS) {
    graphs().note_capture(1);
    targets().set(stream, id_of(graph));
  }
  return reply.result();
}

int end_capture(Session& session, HandleId stream, CUgraph* graph) {
  if (!usable(session, stream, HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  // The program has the handle of a graph that it named at the beginning, and need not ask for it.
  const HandleId target = targets().of(stream);
  if (graph == nullptr && target == 0) return CUDA_ERROR_INVALID_VALUE;
  Minted minted(session, HandleType::kGraph);
  Call call(session, Opcode::k_cuStreamEndCapture);
  auto args = call.args<schema::CuStreamEndCapture>();
  args.setHStream(stream);
  args.setPhGraph(minted.id());
  const Reply reply = call.wait();
  const int own = reply.own_result();
  // A spoiled capture ends, too, without a graph; other failures leave it open.
  if (own == CUDA_SUCCESS || own == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED ||
      own == CUDA_ERROR_STREAM_CAPTURE_UNJOINED) {
    graphs().note_capture(-1);
    targets().set(stream, 0);
  }
  // The graph is there even when an earlier call's failure is reported instead.
  if (own == CUDA_SUCCESS) minted.keep();
  if (graph == nullptr) return reply.result();
  const HandleId made = target != 0 ? target : minted.id();
  *graph = reply.result() == CUDA_SUCCESS ? handle_from<CUgraph>(made) : nullptr;
  return reply.result();
}

// --- Executable graphs

namespace {

void post_destroy(Session& session, HandleId exec) {
  Call call(session, Opcode::k_cuGraphExecDestroy);
  call.args<schema::CuGraphExecDestroy>().setHGraphExec(exec);
  (void)call.post();
}

}  // namespace

int instantiate_graph(Session& session, CUgraphExec* exec, CUgraph graph, uint64_t flags,
                      CUDA_GRAPH_INSTANTIATE_PARAMS* outcome) {
  if (exec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, id_of(graph), HandleType::kGraph)) return CUDA_ERROR_INVALID_HANDLE;
  Minted minted(session, HandleType::kGraphExec);
  Reply reply;
  {
    Call call(session, Opcode::k_farcallGraphInstantiate);
    auto args = call.args<schema::FarcallGraphInstantiate>();
    args.setGraph(id_of(graph));
    args.setExec(minted.id());
    args.setFlags(flags);
    reply = call.wait();
  }
  if (outcome != nullptr && reply.has_results()) {
    const auto results = reply.results<schema::FarcallGraphInstantiateResults>();
    outcome->result_out = CUgraphInstantiateResult(results.getOutcome());
    outcome->hErrNode_out = handle_from<CUgraphNode>(results.getErrorNode());
  }
  if (reply.own_result() == CUDA_ERROR_NOT_SUPPORTED && graphs().any()) {
    return not_supported("cuGraphInstantiate", "copies with host memory in a graph of this kind");
  }
  if (reply.own_result() != CUDA_SUCCESS) return reply.own_result();
  const auto copies =
      known_copies(session, reply.results<schema::FarcallGraphInstantiateResults>().getCopies());
  if (copies == nullptr) return rpc::kSessionLostResult;
  int result = reply.result();
  if (copies->refused) result = not_supported("cuGraphInstantiate", kReadsBack);
  if (result != CUDA_SUCCESS) {
    post_destroy(session, minted.id());
    return result;
  }
  graphs().set(minted.id(), copies);
  *exec = handle_from<CUgraphExec>(minted.keep());
  return CUDA_SUCCESS;
}

int instantiate_graph_with_params(Session& session, CUgraphExec* exec, CUgraph graph,
                                  CUDA_GRAPH_INSTANTIATE_PARAMS* params, HandleId upload) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  params->hErrNode_out = nullptr;
  params->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
  const bool uploads = (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) != 0;
  if (uploads && !usable(session, upload, HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  const uint64_t flags = params->flags & ~uint64_t{CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD};
  if (const int failed = instantiate_graph(session, exec, graph, flags, params)) return failed;
  params->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  if (!uploads) return CUDA_SUCCESS;
  Call call(session, Opcode::k_cuGraphUpload);
  auto args = call.args<schema::CuGraphUpload>();
  args.setHGraph(id_of(*exec));
  args.setHStream(upload);
  return call.post();
}

int set_exec_copies(Session& session, HandleId exec, capnp::List<uint64_t>::Reader ids,
                    const char* function) {
  const auto copies = known_copies(session, ids);
  if (copies == nullptr) return rpc::kSessionLostResult;
  graphs().set(exec, copies);
  return copies->refused ? not_supported(function, kReadsBack) : int(CUDA_SUCCESS);
}

int update_exec(Session& session, CUgraphExec exec, CUgraph graph,
                CUgraphExecUpdateResultInfo* info) {
  if (!usable(session, id_of(exec), HandleType::kGraphExec)) return CUDA_ERROR_INVALID_HANDLE;
  if (!usable(session, id_of(graph), HandleType::kGraph)) return CUDA_ERROR_INVALID_HANDLE;
  if (info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Call call(session, Opcode::k_farcallGraphExecUpdate);
  auto args = call.args<schema::FarcallGraphExecUpdate>();
  args.setExec(id_of(exec));
  args.setGraph(id_of(graph));
  Reply reply = call.wait();
  if (reply.own_result() == CUDA_ERROR_NOT_SUPPORTED && graphs().any()) {
    return not_supported("cuGraphExecUpdate", "copies with host memory in a graph of this kind");
  }
  if (!reply.has_results()) return reply.result();
  const auto results = reply.results<schema::FarcallGraphExecUpdateResults>();
  *info = {};
  info->result = static_cast<CUgraphExecUpdateResult>(results.getResult());
  info->errorNode = handle_from<CUgraphNode>(results.getErrorNode());
  info->errorFromNode = handle_from<CUgraphNode>(results.getErrorFromNode());
  if (reply.own_result() != CUDA_SUCCESS) return reply.result();
  const auto copies = known_copies(session, results.getCopies());
  if (copies == nullptr) return rpc::kSessionLostResult;
  graphs().set(id_of(exec), copies);
  // Too late to leave the executable graph as it was; launches are refused from now on.
  if (copies->refused) return not_supported("cuGraphExecUpdate", kReadsBack);
  return reply.result();
}

int destroy_exec(Session& session, CUgraphExec exec) {
  const HandleId id = id_of(exec);
  if (!session.valid(id, HandleType::kGraphExec)) return CUDA_ERROR_INVALID_HANDLE;
  graphs().set(id, nullptr);
  post_destroy(session, id);
  session.release(id);
  return CUDA_SUCCESS;
}

int set_node_enabled(Session& session, CUgraphExec exec, CUgraphNode node, unsigned enabled) {
  if (!usable(session, id_of(exec), HandleType::kGraphExec)) return CUDA_ERROR_INVALID_HANDLE;
  if (!usable(session, id_of(node), HandleType::kGraphNode)) return CUDA_ERROR_INVALID_HANDLE;
  // If it is a copy, it would go on after each launch without its node.
  if (has_copies(id_of(exec)) && enabled == 0) {
    return not_supported("cuGraphNodeSetEnabled", "the graph has copies with host memory");
  }
  Call call(session, Opcode::k_cuGraphNodeSetEnabled);
  auto args = call.args<schema::CuGraphNodeSetEnabled>();
  args.setHGraphExec(id_of(exec));
  args.setHNode(id_of(node));
  args.setIsEnabled(enabled);
  return call.wait().result();
}

int set_child_graph(Session& session, CUgraphExec exec, CUgraphNode node, CUgraph child) {
  if (!usable(session, id_of(exec), HandleType::kGraphExec)) return CUDA_ERROR_INVALID_HANDLE;
  if (!usable(session, id_of(node), HandleType::kGraphNode)) return CUDA_ERROR_INVALID_HANDLE;
  if (!usable(session, id_of(child), HandleType::kGraph)) return CUDA_ERROR_INVALID_HANDLE;
  // The child may bring copies, or take some away.
  if (graphs().any()) {
    return not_supported("cuGraphExecChildGraphNodeSetParams",
                         "a program that has captured copies with host memory");
  }
  Call call(session, Opcode::k_cuGraphExecChildGraphNodeSetParams);
  auto args = call.args<schema::CuGraphExecChildGraphNodeSetParams>();
  args.setHGraphExec(id_of(exec));
  args.setHNode(id_of(node));
  args.setChildGraph(id_of(child));
  return call.wait().result();
}

// --- Launching

namespace {

int post_input(Session& session, HandleId exec, uint64_t copy, std::span<const std::byte> all) {
  for (size_t offset = 0; offset < all.size(); offset += rpc::kPayloadBytesMax) {
    Call call(session, Opcode::k_farcallGraphInput);
    auto args = call.args<schema::FarcallGraphInput>();
    args.setExec(exec);
    args.setCopy(copy);
    args.setOffset(offset);
    call.payload(all.subspan(offset, std::min(rpc::kPayloadBytesMax, all.size() - offset)));
    // The buffer may still be read by the last launch.
    if (const int failed = call.post_blocking()) return failed;
  }
  return CUDA_SUCCESS;
}

int post_inputs(Session& session, HandleId exec, const ExecCopies& copies) {
  std::vector<std::byte> packed;
  for (const HostCopy& copy : copies.to_device) {
    // Bytes that an earlier copy has yet to bring here, perhaps of this graph's last launch.
    if (session.connection().expects_data({copy.memory, copy.span_bytes()})) {
      if (const int failed = finish_copies_to_host(session)) return failed;
    }
    std::span<const std::byte> all(copy.memory, copy.bytes);
    if (!copy.packed()) {
      packed.resize(copy.bytes);
      for (size_t i = 0; i < copy.rows * copy.slices; ++i) {
        std::memcpy(&packed[i * copy.row_bytes], copy.row(i), copy.row_bytes);
      }
      all = packed;
    }
    if (const int failed = post_input(session, exec, copy.id, all)) return failed;
  }
  return CUDA_SUCCESS;
}

int post_outputs(Session& session, HandleId exec, HandleId stream, const ExecCopies& copies) {
  for (const HostCopy& copy : copies.to_host) {
    note_copy_to_host();
    // What lies between the rows is the program's.
    const size_t pieces = copy.packed() ? 1 : copy.rows * copy.slices;
    const size_t bytes = copy.packed() ? copy.bytes : copy.row_bytes;
    for (size_t i = 0; i < pieces; ++i) {
      Call call(session, Opcode::k_farcallGraphOutput);
      auto args = call.args<schema::FarcallGraphOutput>();
      args.setExec(exec);
      args.setCopy(copy.id);
      args.setStream(stream);
      args.setOffset(i * bytes);
      args.setBytes(bytes);
      if (const int failed = call.post({copy.row(i), bytes})) return failed;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

int launch_graph(Session& session, CUgraphExec exec, HandleId stream) {
  const HandleId id = id_of(exec);
  if (!usable(session, id, HandleType::kGraphExec)) return CUDA_ERROR_INVALID_HANDLE;
  if (!usable(session, stream, HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  const auto copies = graphs().of(id);
  if (copies != nullptr) {
    if (copies->refused) return not_supported("cuGraphLaunch", kReadsBack);
    if (const int failed = post_inputs(session, id, *copies)) return failed;
  }
  // Into a capture: the server can tell, and the answer decides whether there is any output.
  const bool wait = copies != nullptr && graphs().capturing();
  {
    Call call(session, Opcode::k_farcallGraphLaunch);
    auto args = call.args<schema::FarcallGraphLaunch>();
    args.setExec(id);
    args.setStream(stream);
    const int result = wait ? call.wait().result() : call.post();
    if (result == CUDA_ERROR_NOT_SUPPORTED) {
      return not_supported("cuGraphLaunch", "a graph with copies with host memory, in a capture");
    }
    if (result != CUDA_SUCCESS) return result;
  }
  return copies == nullptr ? CUDA_SUCCESS : post_outputs(session, id, stream, *copies);
}

int print_graph(Session& session, CUgraph graph, const char* path, unsigned flags) {
  if (graph == nullptr || !usable(session, id_of(graph), HandleType::kGraph))
    return CUDA_ERROR_INVALID_HANDLE;
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::string text;
  for (uint64_t bytes = 1; text.size() < bytes;) {
    Call call(session, Opcode::k_farcallGraphDotPrint);
    auto args = call.args<schema::FarcallGraphDotPrint>();
    args.setGraph(id_of(graph));
    args.setFlags(flags);
    args.setOffset(text.size());
    rpc::Reply reply = call.wait();
    if (reply.result() != CUDA_SUCCESS) return reply.result();
    auto results = reply.results<schema::FarcallGraphDotPrintResults>();
    const auto piece = results.getText();
    bytes = results.getBytes();
    // It got shorter meanwhile: another thread changes the graph.
    if (piece.size() == 0 && text.size() < bytes) return CUDA_ERROR_UNKNOWN;
    text.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
  }
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return CUDA_ERROR_OPERATING_SYSTEM;
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return std::fclose(file) == 0 && written ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}

}  // namespace farcall::client
