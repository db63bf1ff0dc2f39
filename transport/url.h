// Where a server is: tcp://host:port, tcp://[v6]:port, unix:///path (or unix:path). shm:// and
// rdma:// are known words and refused as kUnsupported; anything else is kInvalid. What is wrong
// with a URL is logged as one sentence that quotes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace farcall::transport {

constexpr uint16_t kDefaultPort = 7117;

struct Url {
  enum class Kind : uint8_t { kTcp, kUnix };

  Kind kind = Kind::kTcp;
  std::string host;   // tcp: a name or an address, without brackets
  uint16_t port = 0;  // tcp: kDefaultPort when the text has none; 0 (any free port) means something
                      // to a Listener only
  std::string path;   // unix: of the socket file

  std::string text() const;  // parse_url() of this gives the same Url

  bool operator==(const Url&) const = default;
};

Result<Url> parse_url(std::string_view text);

}  // namespace farcall::transport
