// A connection as CUDA sees it: devices and their attributes from the hello, one ThreadState per
// application thread, minted handles, errors. One Session per process, shared by libcuda.so.1 and
// libcudart.so.N through libfarcall.so.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "rpc/client_connection.h"
#include "rpc/handle_id.h"

namespace farcall::client {

// What CUDA keeps per thread. Never destroyed before the thread; safe to touch during exit.
struct ThreadState {
  rpc::Lane lane;                       // id, and current context: top of `contexts`
  std::vector<rpc::HandleId> contexts;  // the driver's stack, without the top
  int device = 0;                       // cudaSetDevice
  bool device_chosen = false;
  int last_error = 0;                        // cudaGetLastError
  rpc::HandleId per_thread_stream[16] = {};  // by device; 0: not created yet
};
ThreadState& thread_state();

struct DeviceInfo {
  std::string name;
  unsigned char uuid[16];
  uint64_t total_memory;
  std::unordered_map<int, int> attributes;
  std::string pci_bus_id;
};

class Session {
 public:
  rpc::ClientConnection& connection();
  const std::vector<DeviceInfo>& devices() const;
  int driver_version() const;
  int runtime_version() const;  // 0: the server has no libcudart; see runtime_problem()
  const std::string& runtime_problem() const;
  bool ptx_only() const;

  // A new id; recycles indices with a new generation.
  rpc::HandleId mint(rpc::HandleType type);
  void release(rpc::HandleId id);
  // The id is one of ours, alive and of that type. Cheap: called for every handle of every call.
  bool valid(rpc::HandleId id, rpc::HandleType type) const;

  // Memoised answers of `cached` calls; key: opcode, context and argument words. Failures are kept
  // too.
  std::optional<rpc::Reply> cached(std::span<const std::byte> key) const;
  void remember(std::span<const std::byte> key, rpc::Reply reply);
  void forget_cached();  // after a setter that may change a remembered answer
};

// The process's session, connected on first use. nullptr: there is none, and why is *error (a
// CUresult; logged once, naming the URL and how to set it). After fork() the child gets an error
// and the descriptor is left alone.
Session* session(int* error);
// The one that exists already, or nullptr; never connects.
Session* session_if_connected();

}  // namespace farcall::client
