// What generated dispatch functions do with single arguments, beyond CallContext.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "rpc/convert.h"
#include "server/call_context.h"

namespace farcall::server {

// Room that a call may ask for in one reply. Half of a message (rpc/wire.h).
constexpr size_t kReplyBytesMax = 256 * 1024;

// `count` elements for CUDA to write to, zero before that; too many make the call invalid.
template <class T>
std::vector<T> room_for(CallContext& call, uint64_t count, const char* name) {
  if (count > kReplyBytesMax / sizeof(T)) {
    call.invalidate(name);
    return {};
  }
  return std::vector<T>(size_t(count));
}

// The client said how many there are and sent some; both must agree.
inline void expect_count(CallContext& call, uint64_t told, uint64_t sent, const char* name) {
  if (told != sent) call.invalidate(name);
}

inline std::vector<std::byte> bytes_of(capnp::Data::Reader data) {
  std::vector<std::byte> bytes(data.size());
  if (!bytes.empty()) std::memcpy(bytes.data(), data.begin(), bytes.size());
  return bytes;
}

// Handles that CUDA hands out; null stays null.
template <class Handle>
rpc::HandleId intern(CallContext& call, rpc::HandleType type, Handle handle) {
  return handle == nullptr ? 0 : call.intern(type, const_cast<void*>(static_cast<const void*>(handle)));
}

}  // namespace farcall::server
