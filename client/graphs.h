// Captures and executable graphs of both APIs, with the copies in them whose other side is the
// program's memory.
//
// While any stream captures, an asynchronous copy between device and host memory first asks the
// server (farcallCaptureCopy). Captured, it gets an id, under which its host memory is kept here;
// the graph copies to or from a buffer beside the GPU. From then on executable graphs are asked
// which such copies they hold: a launch sends the current bytes for the copies to the device before
// it, and names the memory for the copies to the host after it, which arrive like those of any
// asynchronous copy. A program that never captures such a copy pays nothing; a launch without them
// is one message.
//
// What can't be followed is refused: switching off nodes, or exchanging child graphs, where a graph
// has such copies; launching such a graph into a capture; a graph that reads back from host memory
// what it has just copied there.
#pragma once

#include <capnp/list.h>
#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

// A captured copy, and the program's side of it.
struct HostCopy {
  uint64_t id = 0;
  std::byte* memory = nullptr;
  size_t bytes = 0;  // that are copied; the server has them packed
  bool to_device = false;
  // Of a copy in rows, which may have gaps between them; a linear copy is one row.
  size_t row_bytes = 0, rows = 1, slices = 1, pitch_bytes = 0, slice_rows = 1;

  static HostCopy linear(uint64_t id, void* memory, size_t bytes, bool to_device) {
    return {id, static_cast<std::byte*>(memory), bytes, to_device, bytes};
  }
  bool packed() const {
    return (rows == 1 || pitch_bytes == row_bytes) && (slices == 1 || slice_rows == rows);
  }
  std::byte* row(size_t index) const {
    return memory + (index / rows * slice_rows + index % rows) * pitch_bytes;
  }
  size_t span_bytes() const {  // from the first byte to behind the last
    return size_t(row(rows * slices - 1) - memory) + row_bytes;
  }
};

struct ExecCopies {
  std::vector<HostCopy> to_device, to_host;
  bool refused = false;  // launches can't be followed
};

// What the process knows of captured copies; part of Program. Any thread.
class GraphCopies {
 public:
  void note_capture(int change) { captures_.fetch_add(change, std::memory_order_relaxed); }
  // Some stream may be capturing.
  bool capturing() const { return captures_.load(std::memory_order_relaxed) > 0; }
  bool any() const { return any_.load(std::memory_order_relaxed); }

  uint64_t next_id() { return next_id_.fetch_add(1, std::memory_order_relaxed); }
  void add(const HostCopy& copy);
  void remove(uint64_t id);
  // nullopt: there never was such a copy.
  std::optional<HostCopy> find(uint64_t id) const;

  // Null: the graph has no copies.
  std::shared_ptr<const ExecCopies> of(rpc::HandleId exec) const;
  void set(rpc::HandleId exec, std::shared_ptr<const ExecCopies> copies);

 private:
  std::atomic<int> captures_ = 0;
  std::atomic<bool> any_ = false;
  std::atomic<uint64_t> next_id_ = 1;
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<uint64_t, HostCopy> copies_;
  std::unordered_map<rpc::HandleId, std::shared_ptr<const ExecCopies>> execs_;
};

// While capturing(): captures the copy if `stream` is one that captures, and says so in *captured.
int capture_copy(Session& session, void* memory, uint64_t device, size_t bytes, bool to_device,
                 rpc::HandleId stream, bool* captured);

// The functions of these names in both APIs; `stream` is a wire id, results are CUresults.
FARCALL_API int begin_capture(Session& session, rpc::HandleId stream, int mode);
// Of the calling thread: sets *mode, a CUstreamCaptureMode, and gives the one before.
FARCALL_API int exchange_capture_mode(Session& session, int* mode);
FARCALL_API int begin_capture_to_graph(Session& session, rpc::HandleId stream, CUgraph graph,
                                       const CUgraphNode* dependencies,
                                       const CUgraphEdgeData* edges, size_t count, int mode);
FARCALL_API int end_capture(Session& session, rpc::HandleId stream, CUgraph* graph);
// `outcome` may be null; of it, `flags` and `hUploadStream` are not looked at.
FARCALL_API int instantiate_graph(Session& session, CUgraphExec* exec, CUgraph graph,
                                  uint64_t flags, CUDA_GRAPH_INSTANTIATE_PARAMS* outcome = nullptr);
// `upload` is a wire id.
FARCALL_API int instantiate_graph_with_params(Session& session, CUgraphExec* exec, CUgraph graph,
                                              CUDA_GRAPH_INSTANTIATE_PARAMS* params,
                                              rpc::HandleId upload);
// What a server says are the copies in `exec` from now on. A CUresult.
int set_exec_copies(Session& session, rpc::HandleId exec, capnp::List<uint64_t>::Reader ids,
                    const char* function);
FARCALL_API int update_exec(Session& session, CUgraphExec exec, CUgraph graph,
                            CUgraphExecUpdateResultInfo* info);
FARCALL_API int launch_graph(Session& session, CUgraphExec exec, rpc::HandleId stream);
FARCALL_API int destroy_exec(Session& session, CUgraphExec exec);
FARCALL_API int set_node_enabled(Session& session, CUgraphExec exec, CUgraphNode node,
                                 unsigned enabled);
FARCALL_API int set_child_graph(Session& session, CUgraphExec exec, CUgraphNode node,
                                CUgraph child);
// Writes the file here. Handles in it are the server's.
FARCALL_API int print_graph(Session& session, CUgraph graph, const char* path, unsigned flags);

}  // namespace farcall::client
