// Device code that a call brings: in its payload, or uploaded before and named by its hash.
#pragma once

#include <capnp/blob.h>

#include <memory>
#include <optional>
#include <span>

#include "base/log.h"
#include "server/call_context.h"
#include "server/worker.h"

namespace farcall::server::handlers {

struct Input {
  std::span<const std::byte> bytes;
  std::shared_ptr<const Image> stored;  // what the bytes lie in, unless it is the payload
};

// nullopt: its upload failed, which the client hears of as an asynchronous error.
inline std::optional<Input> input_of(CallContext& call, capnp::Data::Reader sha256) {
  if (sha256.size() == 0) return Input{call.payload(), nullptr};
  Input input;
  const auto hash = parse_hash({reinterpret_cast<const std::byte*>(sha256.begin()), sha256.size()});
  if (hash) input.stored = call.worker().images().find(*hash);
  if (!input.stored) {
    log::warning("device code that a call names is not in the store");
    return std::nullopt;
  }
  input.bytes = input.stored->bytes();
  return input;
}

}  // namespace farcall::server::handlers
