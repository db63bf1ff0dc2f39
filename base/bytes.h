// Bytes, and reading and writing fixed structs in them. All bounds checks of the project are here:
// a Reader that meets the end too early returns zeros from then on and stays fatal, so code that
// decodes reads straight through and one place checks status() at the end. A Writer is the same for
// the other direction. Integers are little-endian, as on every host this runs on.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/status.h"

namespace farcall {

static_assert(std::endian::native == std::endian::little);

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_array_v<T>;

// The representation of one value; padding included, so only for structs without any.
template <Plain T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <Plain T>
MutableBytes writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}
inline Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class Reader {
 public:
  explicit Reader(Bytes source) : source_(source) {}

  // The next value, whatever its alignment; all zero bits after a violation.
  template <Plain T>
  T read() {
    T value;
    const Bytes bytes = take(sizeof value);
    if (bytes.empty()) {
      std::memset(static_cast<void*>(&value), 0, sizeof value);
    } else {
      std::memcpy(static_cast<void*>(&value), bytes.data(), sizeof value);
    }
    return value;
  }
  // A view of the next `count` bytes; empty after a violation. `count` may come from the bytes
  // themselves.
  Bytes take(size_t count) {
    if (count > remaining()) fail();
    if (fatal_) return {};
    const Bytes bytes = source_.subspan(position_, count);
    position_ += count;
    return bytes;
  }
  std::string_view take_text(size_t count) {
    const Bytes bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void skip(size_t count) { (void)take(count); }

  // For what the caller alone can see to be wrong: a count above its limit, an unknown kind.
  void fail() { fatal_ = true; }
  void require(bool condition) { fatal_ |= !condition; }

  bool fatal() const { return fatal_; }
  Status status() const { return fatal_ ? Status::kProtocol : Status::kOk; }
  size_t position() const { return position_; }
  size_t remaining() const { return fatal_ ? 0 : source_.size() - position_; }
  bool at_end() const { return !fatal_ && position_ == source_.size(); }

 private:
  Bytes source_;
  size_t position_ = 0;
  bool fatal_ = false;
};

class Writer {
 public:
  explicit Writer(MutableBytes target) : target_(target) {}

  template <Plain T>
  void write(const T& value) {
    write_bytes(bytes_of(value));
  }
  void write_bytes(Bytes bytes) {
    const MutableBytes room = reserve(bytes.size());
    if (!room.empty()) std::memcpy(room.data(), bytes.data(), bytes.size());
  }
  // Room to fill in place or later (a length that comes before what it counts); empty after an
  // overflow.
  MutableBytes reserve(size_t count) {
    if (count > room()) fatal_ = true;
    if (fatal_) return {};
    const MutableBytes bytes = target_.subspan(position_, count);
    position_ += count;
    return bytes;
  }

  bool fatal() const { return fatal_; }
  size_t position() const { return position_; }
  size_t room() const { return fatal_ ? 0 : target_.size() - position_; }
  // What has been written; nothing after an overflow, so that half a message is never sent.
  Bytes written() const { return fatal_ ? Bytes() : Bytes(target_.first(position_)); }

 private:
  MutableBytes target_;
  size_t position_ = 0;
  bool fatal_ = false;
};

}  // namespace farcall
