// Copies between device memory and the program's host memory inside captured graphs. The program's
// memory is not here, so the captured node copies to or from a buffer of ours, one per copy; the
// node is of the same kind and number as natively. Before every launch of an executable graph the
// client sends the current bytes for its copies to the device (farcallGraphInput), after it asks
// for what the copies to the host have brought (farcallGraphOutput); ids that the client counts
// out say which copy is meant, and its memory's address never leaves it.
//
// A buffer lives as long as a graph or an executable graph may use it. CUDA itself tells: a user
// object hangs on the graph that captured the copy, goes along into clones, child nodes and
// executable graphs, and calls us when the last of them has gone. A driver without user objects
// never does, and its buffers stay until the session ends. Any thread; one at a time for the same
// executable graph, as CUDA demands.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "rpc/handle_table.h"
#include "server/staging.h"

namespace farcall::server {

// Buffers of a session: as much as staging may have. One that asks for more gets OUT_OF_MEMORY.
constexpr size_t kCapturedBytesMax = size_t{256} << 20;
// Their ids must fit one message, twice over.
constexpr size_t kCapturedCopiesMax = 16 * 1024;
// Child graphs in child graphs.
constexpr int kGraphDepthMax = 64;

struct CapturedCopy {
  uint64_t id = 0;
  bool to_device = false;
  size_t bytes = 0;
  std::byte* buffer = nullptr;
};
using CapturedCopyRef = std::shared_ptr<const CapturedCopy>;

// The captured copies among a graph's nodes.
struct GraphCopySet {
  std::vector<CapturedCopyRef> all;  // each once
  std::unordered_map<CUgraphNode, std::vector<CapturedCopyRef>> of_node;
};

class CapturedCopies {
 public:
  CapturedCopies(const DriverTable& driver, Staging& staging, const rpc::HandleTable& handles);
  // Frees no memory: the GPU may still use it, and the process ends soon after us.
  ~CapturedCopies();
  CapturedCopies(const CapturedCopies&) = delete;
  CapturedCopies& operator=(const CapturedCopies&) = delete;

  // Something is being captured in the stream, or a spoiled capture has not ended yet.
  static bool capturing(const DriverTable& driver, CUstream stream);

  // Captures the copy in `stream`, which is capturing. *broken: kProtocol if the id is in use.
  CUresult capture(uint64_t id, CUdeviceptr device, uint64_t bytes, bool to_device, CUstream stream,
                   Status* broken);
  // A buffer for a copy that a node does, so far without one. *broken: as above. nullptr: why not
  // is in *result.
  std::byte* make_buffer(uint64_t id, uint64_t bytes, bool to_device, Status* broken,
                         CUresult* result);
  // These buffers are of `node`, which was added to `graph` or, with no graph, was changed. Those
  // it had before go when no executable graph uses them any more.
  void tie_to_node(CUgraph graph, CUgraphNode node, const std::vector<uint64_t>& ids);
  // These buffers are of `node` in `exec` alone; what the graph's copies are now. NOT_SUPPORTED: an
  // update has exchanged them, and nobody knows which was whose.
  CUresult check_exec_node(rpc::HandleId exec, bool has_buffers);
  std::vector<CapturedCopyRef> tie_to_exec(rpc::HandleId exec, CUgraphNode node,
                                           const std::vector<uint64_t>& ids);
  void drop(uint64_t id);  // the node could not be made
  // The copy whose buffer begins there; 0: none of ours.
  uint64_t id_of(const void* buffer);
  // Graphs of a conditional node, whose copies can't be followed.
  void note_conditional(CUgraphNode node, std::vector<CUgraph> bodies);
  // Ids whose buffers were freed since the last call: the client may forget them, too.
  std::vector<uint64_t> take_gone();

  // NOT_SUPPORTED: there are copies with host
  // memory that aren't ours to follow.
  CUresult find(CUgraph graph, GraphCopySet* out);

  // From now on these are the copies in `exec`.
  void set_copies(rpc::HandleId exec, GraphCopySet copies);
  bool has_copies(rpc::HandleId exec);
  // A graph with copies was launched into the stream, or couldn't be.
  CUresult note_launch(rpc::HandleId exec, CUstream stream, CUresult result);
  // nullptr: the graph has no such copy.
  CapturedCopyRef find_copy(rpc::HandleId exec, uint64_t id);
  // What became of the last launch.
  CUresult last_launch(rpc::HandleId exec);
  // Writes to the buffer of a copy to the device. Waits for launches that may still read it, unless
  // the bytes are there already, as they are when a program launches again and again with the same
  // input.
  CUresult write(const CapturedCopy& copy, size_t offset, std::span<const std::byte> bytes);

  void forget(CUcontext context);  // its events are gone

 private:
  // What CUDA calls back about; outlives us, since it can happen at any time.
  struct Released;
  struct Entry {
    std::shared_ptr<CapturedCopy> copy;
    bool in_use = true;          // by a graph or an executable graph, as far as CUDA has told
    CUuserObject tie = nullptr;  // of a node that was added, so that it can be untied again
  };
  struct Exec {
    GraphCopySet copies;
    bool updated = false;                   // of_node tells of another graph's nodes
    std::vector<CapturedCopyRef> replaced;  // by an update; the last launch may still use them
    CopyEvent launch;                       // behind the last one
    CUresult last_launch = CUDA_ERROR_NOT_READY;
  };

  static void released(void* hook);
  struct Node {
    CUgraph graph;
    std::vector<uint64_t> copies;
  };

  std::shared_ptr<CapturedCopy> add(uint64_t id, uint64_t bytes, bool to_device, Status* broken,
                                    CUresult* result);
  CUgraph graph_of(CUstream stream);
  void tie_to_graph(uint64_t id, CUgraph graph);
  CUresult walk(CUgraph graph, int depth, GraphCopySet* out);
  CUresult find_node(CUgraphNode node, GraphCopySet* out);
  bool idle(const Exec& exec);
  void collect();  // frees what nothing uses any more
  CUresult walk_bodies(CUgraphNode node, int depth);
  void forget_buffer(uint64_t id);
  void free_buffer(const CapturedCopy& copy);

  const DriverTable& driver_;
  Staging& staging_;
  const rpc::HandleTable& handles_;
  const std::shared_ptr<Released> released_;

  std::mutex mutex_;  // guards what follows
  std::map<uint64_t, Entry> copies_;
  std::unordered_map<uint64_t, uint64_t> id_of_buffer_;
  std::unordered_map<rpc::HandleId, Exec> execs_;
  std::vector<uint64_t> gone_;
  std::unordered_map<CUgraphNode, Node> nodes_;  // added with buffers
  std::unordered_map<CUgraphNode, std::vector<CUgraph>> conditionals_;
  size_t bytes_ = 0;
  bool any_ = false;  // was ever captured
};

}  // namespace farcall::server
