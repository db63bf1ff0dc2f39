#include "transport/url.h"

#include <sys/un.h>

#include <charconv>

#include "base/log.h"

namespace farcall::transport {
namespace {

// What the kernel can hold, with the final zero.
constexpr size_t kUnixPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

Status refuse(Status status, std::string_view text, std::string_view why) {
  log::error("URL '{}': {}", text, why);
  return status;
}

bool parse_port(std::string_view digits, uint16_t& port) {
  uint16_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (digits.empty() || error != std::errc() || stop != end) return false;
  port = value;
  return true;
}

Result<Url> parse_tcp(std::string_view whole, std::string_view rest) {
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@ \t\n") != std::string_view::npos) {
    return refuse(Status::kInvalid, whole, "a tcp URL is tcp://host:port and nothing more");
  }
  Url url;
  url.kind = Url::Kind::kTcp;
  url.port = kDefaultPort;
  std::string_view port;
  bool has_port = false;
  if (take_prefix(rest, "[")) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) {
      return refuse(Status::kInvalid, whole, "the ']' after the IPv6 address is missing");
    }
    url.host = rest.substr(0, close);
    rest.remove_prefix(close + 1);
    if (!rest.empty() && rest.front() != ':') {
      return refuse(Status::kInvalid, whole, "only :port may follow the ']'");
    }
    has_port = !rest.empty();
    port = rest.substr(has_port ? 1 : 0);
  } else {
    const size_t colon = rest.find(':');
    if (colon != rest.rfind(':')) {
      return refuse(Status::kInvalid, whole, "an IPv6 address needs brackets: tcp://[::1]:7117");
    }
    url.host = rest.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = rest.substr(colon + 1);
  }
  if (url.host.empty()) return refuse(Status::kInvalid, whole, "the host is missing");
  if (url.host.find_first_of("[]") != std::string::npos) {
    return refuse(Status::kInvalid, whole, "the host has a stray bracket");
  }
  if (has_port && !parse_port(port, url.port)) {
    return refuse(Status::kInvalid, whole, "the port is not a number from 0 to 65535");
  }
  return url;
}

Result<Url> parse_unix(std::string_view whole, std::string_view rest) {
  if (take_prefix(rest, "//") && !rest.starts_with('/')) {
    return refuse(
        Status::kInvalid, whole,
        "an absolute path has three slashes (unix:///path), a relative one none (unix:path)");
  }
  if (rest.empty() || rest.ends_with('/')) {
    return refuse(Status::kInvalid, whole, "the path of the socket file is missing");
  }
  if (rest.find('\0') != std::string_view::npos) {
    return refuse(Status::kInvalid, whole, "the path has a zero byte");
  }
  if (rest.size() > kUnixPathBytesMax) {
    return refuse(Status::kInvalid, whole,
                  "the path is longer than 107 bytes, the limit of Unix sockets");
  }
  Url url;
  url.kind = Url::Kind::kUnix;
  url.path = rest;
  return url;
}

}  // namespace

std::string Url::text() const {
  if (kind == Kind::kUnix) return (path.starts_with('/') ? "unix://" : "unix:") + path;
  const bool is_v6 = host.find(':') != std::string::npos;
  return "tcp://" + (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Url> parse_url(std::string_view text) {
  std::string_view rest = text;
  if (take_prefix(rest, "tcp://")) return parse_tcp(text, rest);
  if (take_prefix(rest, "unix:")) return parse_unix(text, rest);
  if (rest.starts_with("shm:") || rest.starts_with("rdma:")) {
    return refuse(Status::kUnsupported, text,
                  "this transport is not in this version; use tcp:// or unix://");
  }
  return refuse(Status::kInvalid, text,
                "it must start with tcp:// or unix://, as in tcp://gpu-host:7117");
}

}  // namespace farcall::transport
