// A connection as CUDA sees it: devices and their attributes from the hello, one ThreadState per
// application thread, minted handles, errors. One Session per process, shared by libcuda.so.1 and
// libcudart.so.N through libfarcall.so.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/api.h"
#include "rpc/client_connection.h"
#include "rpc/handle_id.h"
#include "rpc/handle_table.h"
#include "rpc/hello.h"

namespace farcall::client {

// What CUDA keeps per thread. Never destroyed before the thread; safe to touch during exit.
struct ThreadState {
  rpc::Lane lane;                       // id, and current context: top of `contexts`
  std::vector<rpc::HandleId> contexts;  // the driver's stack, without the top
  int device = 0;                       // cudaSetDevice
  bool device_chosen = false;
  int last_error = 0;                        // cudaGetLastError
  rpc::HandleId per_thread_stream[16] = {};  // by device; 0: not created yet
  // The same for contexts that are no device's primary one: {context, stream}.
  std::vector<std::pair<rpc::HandleId, rpc::HandleId>> per_thread_stream_of_context;
  int capture_mode = 0;                           // CU_STREAM_CAPTURE_MODE_GLOBAL
  bool in_host_function = false;                  // may not call CUDA
  bool call_open = false;                         // a Call of this thread holds the batch
  bool work_open = false;                         // and is work that VisibleMemory counts
  uint64_t work_before_wait = 0;                  // what it counted before this thread's last wait
  uint64_t remote_calls = 0, cached_answers = 0;  // for statistics
};
FARCALL_API ThreadState& thread_state();
// What threads use that have not begun yet and choose none: cudaSetValidDevices.
FARCALL_API std::atomic<int>& default_device();

struct DeviceInfo {
  std::string name;
  unsigned char uuid[16];
  uint64_t total_memory;
  std::unordered_map<int, int> attributes;
  std::string pci_bus_id;
};

class FARCALL_API Session {
 public:
  // What the server said in its hello; may throw kj::Exception. Entry makes the one Session there
  // is.
  Session(std::unique_ptr<transport::Channel> channel, rpc::schema::Accepted::Reader accepted,
          const rpc::ConnectionOptions& options);

  rpc::ClientConnection& connection() { return *connection_; }
  const std::vector<DeviceInfo>& devices() const { return devices_; }
  int driver_version() const { return driver_version_; }
  int runtime_version() const { return runtime_version_; }  // 0: the server has no libcudart; see
  const std::string& runtime_problem() const { return runtime_problem_; }  // this
  bool ptx_only() const { return ptx_only_; }

  // A new id; recycles indices with a new generation. Throws std::bad_alloc when too many objects
  // are alive, which a stub returns as out of memory.
  rpc::HandleId mint(rpc::HandleType type);
  void release(rpc::HandleId id) { handles_.release(id); }
  // The id is one of ours, alive and of that type. Cheap: called for every handle of every call.
  bool valid(rpc::HandleId id, rpc::HandleType type) const;

  // Memoised answers of `cached` calls; key: opcode, context and argument words. Failures are kept
  // too, if they say something about the arguments and not about the moment.
  std::optional<rpc::Reply> cached(std::span<const std::byte> key) const;
  void remember(std::span<const std::byte> key, rpc::Reply reply);
  void forget_cached();  // after a setter that may change a remembered answer

  // What a faulted kernel leaves in its context: from the call that reported it on, every call
  // there gives this error, until the context goes. 0: the context is sound.
  int sticky_error(rpc::HandleId context) const {
    return any_sticky_.load(std::memory_order_relaxed) ? find_sticky_error(context) : 0;
  }
  void note_result(rpc::HandleId context, int result);  // of a call that was waited for
  void forget_sticky_error(rpc::HandleId context);      // it was reset or destroyed

 private:
  int find_sticky_error(rpc::HandleId context) const;

  struct KeyHash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::vector<DeviceInfo> devices_;
  int driver_version_ = 0, runtime_version_ = 0;
  std::string runtime_problem_;
  bool ptx_only_ = false;
  rpc::HandleMinter handles_;
  std::atomic<bool> any_sticky_{false};
  mutable std::mutex sticky_mutex_;
  std::unordered_map<rpc::HandleId, int> sticky_errors_;  // by context
  mutable std::shared_mutex cache_mutex_;
  std::unordered_map<std::string, rpc::Reply, KeyHash, std::equal_to<>> cache_;
  std::unique_ptr<rpc::ClientConnection> connection_;
};

// The process's session, connected on first use. nullptr: there is none, and why is *error (a
// CUresult; logged once, naming the URL and how to set it). After fork() the child gets an error
// and the descriptor is left alone.
FARCALL_API Session* session(int* error);
// The one that exists already, or nullptr; never connects.
FARCALL_API Session* session_if_connected();

}  // namespace farcall::client
