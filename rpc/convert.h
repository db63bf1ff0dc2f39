// Small pieces that generated code uses to move arrays between C and Cap'n Proto. Lengths are the
// caller's business: nothing here trusts a message's length to be the array's.
#pragma once

#include <capnp/blob.h>
#include <capnp/list.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

namespace farcall::rpc {

inline capnp::Data::Reader to_data(const void* bytes, size_t count) {
  return {static_cast<const kj::byte*>(bytes), count};
}

// Fills all `count` bytes; what the message lacks is zero.
inline void from_data(capnp::Data::Reader data, void* bytes, size_t count) {
  const size_t known = std::min(count, data.size());
  if (known != 0) std::memcpy(bytes, data.begin(), known);
  if (known < count) std::memset(static_cast<std::byte*>(bytes) + known, 0, count - known);
}

// A NUL-terminated copy into a C buffer, cut if it must be; an empty buffer stays as it is.
inline void from_text(capnp::Text::Reader text, char* buffer, size_t bytes) {
  if (bytes == 0) return;
  const size_t known = std::min(bytes - 1, text.size());
  if (known != 0) std::memcpy(buffer, text.begin(), known);
  buffer[known] = 0;
}

// Numbers and enums.
template <class List, class Value>
void to_list(List list, const Value* values, size_t count) {
  using Element = std::remove_cvref_t<decltype(list[0])>;
  for (size_t i = 0; i < count; ++i) list.set(unsigned(i), static_cast<Element>(values[i]));
}

template <class List, class Value>
void from_list(List list, Value* values, size_t count) {
  const size_t known = std::min<size_t>(count, list.size());
  for (size_t i = 0; i < known; ++i) values[i] = static_cast<Value>(list[unsigned(i)]);
  for (size_t i = known; i < count; ++i) values[i] = Value{};
}

}  // namespace farcall::rpc
