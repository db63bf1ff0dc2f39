// Device code on its way to the server: small images ride along with the call that needs them, the
// server's store is asked for large ones by their SHA-256, and sent those that it lacks.
#pragma once

#include <capnp/blob.h>

#include <array>
#include <cstddef>
#include <span>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

// Where the server finds an image: in its store, or in the payload of the call.
class StoredImage {
 public:
  capnp::Data::Reader sha256() const {  // empty: the payload
    return {reinterpret_cast<const kj::byte*>(digest_.data()), stored_ ? digest_.size() : 0};
  }
  std::span<const std::byte> payload() const {
    return stored_ ? std::span<const std::byte>() : bytes_;
  }

 private:
  friend int store_image(Session&, std::span<const std::byte>, StoredImage*);
  std::span<const std::byte> bytes_;
  std::array<std::byte, 32> digest_{};
  bool stored_ = false;
};

// Before the call that needs it. `bytes` must outlive `out`. A CUresult.
FARCALL_API int store_image(Session& session, std::span<const std::byte> bytes, StoredImage* out);

}  // namespace farcall::client
