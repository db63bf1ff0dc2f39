// What generated stubs do with single arguments, beyond stub.h: handles, sizes, and the client's
// table of allocations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/api.h"
#include "client/session.h"
#include "rpc/convert.h"
#include "rpc/handle_id.h"

namespace farcall::client {

// Arrays beyond this do not ride in a call's message; the call is refused. Half of a message
// (rpc/wire.h).
constexpr size_t kArgumentBytesMax = 256 * 1024;

// A handle the program gave us: null, one of CUDA's special streams, or alive and of that type.
// Calls that take a function accept a kernel too, as the driver does.
inline bool usable(const Session& session, rpc::HandleId id, rpc::HandleType type) {
  if (id == 0) return true;
  if (type == rpc::HandleType::kStream && id <= rpc::kStreamPerThread) return true;
  if (session.valid(id, type)) return true;
  return type == rpc::HandleType::kFunction && session.valid(id, rpc::HandleType::kKernel);
}

// An id for an object that a call is about to make. Given back unless the call succeeds.
class Minted {
 public:
  Minted(Session& session, rpc::HandleType type) : session_(session), id_(session.mint(type)) {}
  ~Minted() {
    if (!kept_) session_.release(id_);
  }
  Minted(const Minted&) = delete;
  Minted& operator=(const Minted&) = delete;

  rpc::HandleId id() const { return id_; }
  rpc::HandleId keep() {
    kept_ = true;
    return id_;
  }

 private:
  Session& session_;
  rpc::HandleId id_;
  bool kept_ = false;
};

// Device memory that a generated call made or frees, for the table that frees, copies and pointer
// queries ask.
FARCALL_API void note_allocation(Session& session, uint64_t address, uint64_t bytes);
// The same for what another process or pool allocated: the server is asked for its bounds.
FARCALL_API void note_allocation_of_unknown_size(Session& session, uint64_t address);
FARCALL_API bool note_free(uint64_t address);  // false: not the start of a live allocation

inline uint64_t address_of(uint64_t address) { return address; }
inline uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

}  // namespace farcall::client
