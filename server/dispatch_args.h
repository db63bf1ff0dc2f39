// What generated dispatch functions do with single arguments, beyond CallContext.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "rpc/convert.h"
#include "server/call_context.h"

namespace farcall::server {

// Arrays that a call may bring, or ask room for in its reply. Half of a message (rpc/wire.h).
constexpr size_t kArrayBytesMax = 256 * 1024;

// `count` elements for CUDA to write to, zero before that; too many make the call invalid.
template <class T>
std::vector<T> room_for(CallContext& call, uint64_t count, const char* name) {
  if (count > kArrayBytesMax / sizeof(T)) {
    call.invalidate(name);
    return {};
  }
  return std::vector<T>(size_t(count));
}

// Room for an array that the client sent; what it told of the count must be what came.
template <class T>
std::vector<T> elements(CallContext& call, uint64_t told, uint64_t sent, const char* name) {
  if (told != sent) {
    call.invalidate(name);
    return {};
  }
  return room_for<T>(call, sent, name);
}

inline std::vector<std::byte> bytes_of(CallContext& call, uint64_t told, capnp::Data::Reader data,
                                       const char* name) {
  auto bytes = elements<std::byte>(call, told, data.size(), name);
  if (!bytes.empty()) std::memcpy(bytes.data(), data.begin(), bytes.size());
  return bytes;
}

// What CUDA wrote into room for a string, which may lack its end.
inline std::string text_of(const std::vector<char>& room) {
  return {room.data(), room.empty() ? 0 : strnlen(room.data(), room.size())};
}

// Handles that CUDA hands out; null stays null.
template <class Handle>
rpc::HandleId intern(CallContext& call, rpc::HandleType type, Handle handle) {
  return handle == nullptr ? 0
                           : call.intern(type, const_cast<void*>(static_cast<const void*>(handle)));
}

}  // namespace farcall::server
