// What rpc's tests share: connected channels, and frames written byte by byte, so that tests don't
// rely on the writers they test.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc::testing {

struct ChannelPair {
  std::unique_ptr<transport::Channel> client, server;
};

inline ChannelPair make_pair(SpinMode spin = SpinMode::kNever) {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const transport::ChannelOptions options{.wait = {.mode = spin}};
  ChannelPair pair;
  pair.client = transport::adopt(UniqueFd(fds[0]), options).take();
  pair.server = transport::adopt(UniqueFd(fds[1]), options).take();
  return pair;
}

// Bytes of frames, as a peer (honest or not) would send them.
class RawFrames {
 public:
  RawFrames& header(uint32_t words, uint16_t call, uint16_t flags) {
    return put(FrameHeader{.words = words, .call = call, .flags = flags});
  }
  template <class T>
  RawFrames& put(const T& value) {
    const auto* const at = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), at, at + sizeof value);
    return *this;
  }
  RawFrames& fill(size_t count, std::byte value) {
    bytes_.insert(bytes_.end(), count, value);
    return *this;
  }
  RawFrames& text(std::string_view text) {
    const auto* const at = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), at, at + text.size());
    return *this;
  }

  // A whole answer frame.
  RawFrames& answer(uint16_t call, uint16_t flags, const ReplyHeader& reply,
                    std::string_view payload = {}) {
    const size_t payload_words = (payload.size() + 7) / 8;
    const uint16_t with_payload = payload.empty() ? 0 : kHasPayload;
    header(static_cast<uint32_t>(3 + (payload.empty() ? 0 : 1 + payload_words)), call,
           flags | with_payload);
    put(reply);
    if (payload.empty()) return *this;
    put(PayloadHeader{.message_words = 0, .payload_bytes = static_cast<uint32_t>(payload.size())});
    text(payload);
    return fill(payload_words * 8 - payload.size(), std::byte{0});
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

inline std::vector<std::byte> pattern(size_t bytes, unsigned seed = 1) {
  std::vector<std::byte> out(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    seed = seed * 1664525u + 1013904223u;
    out[i] = static_cast<std::byte>(seed >> 24);
  }
  return out;
}

}  // namespace farcall::rpc::testing
