// Cap'n Proto messages as they lie in frames: one segment without a table, built in place and read
// in place; several segments behind the standard table only when an odd large argument didn't fit
// (rpc/wire.h, kSegmentTable). Reading uses tight limits, because messages come from the other
// side.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/api.h"

namespace farcall::rpc {

// Borrowed words of a message. No words at all is the message without content: every field reads as
// its default.
struct MessageView {
  std::span<const capnp::word> words;
  bool segment_table = false;

  size_t bytes() const { return words.size_bytes(); }
};

// Reads one message in place. The words outlive the decoder. capnp validates on access and throws
// kj::Exception from root() and from the readers it gives.
class FARCALL_API MessageDecoder {
 public:
  explicit MessageDecoder(MessageView message) : message_(message) {}
  MessageDecoder(const MessageDecoder&) = delete;
  MessageDecoder& operator=(const MessageDecoder&) = delete;

  template <class T>
  typename T::Reader root() {
    return reader().template getRoot<T>();
  }

 private:
  capnp::MessageReader& reader();

  MessageView message_;
  kj::ArrayPtr<const capnp::word> segment_;
  std::optional<capnp::SegmentArrayMessageReader> single_;
  std::optional<capnp::FlatArrayMessageReader> several_;
};

// Builds a message in words that the caller has: the tail of a batch, or scratch on the stack. What
// doesn't fit goes to heap segments, and encode() then makes one flat copy.
class FARCALL_API InPlaceBuilder final : public capnp::MessageBuilder {
 public:
  // `space` is zeroed and outlives the builder.
  explicit InPlaceBuilder(std::span<capnp::word> space) : space_(space) {}
  ~InPlaceBuilder() noexcept(false) override;

  kj::ArrayPtr<capnp::word> allocateSegment(unsigned int words_min) override;

  // The words of `space` that the message used, also when it went on elsewhere: what a caller who
  // keeps its space zeroed has to clear.
  size_t used_words();

 private:
  std::span<capnp::word> space_;
  bool started_ = false;
  std::vector<kj::Array<capnp::word>> more_;
};

// An InPlaceBuilder with room for a typical call or result of its own.
template <size_t kWords = 64>
class ScratchMessage {
 public:
  ScratchMessage() : builder_(std::span(words_, kWords)) {}
  ScratchMessage(const ScratchMessage&) = delete;
  ScratchMessage& operator=(const ScratchMessage&) = delete;

  capnp::MessageBuilder& builder() { return builder_; }

 private:
  capnp::word words_[kWords] = {};
  InPlaceBuilder builder_;
};

// capnp::word may not be copied as a value (clang says so, g++ is lenient): these copy memory.
kj::Array<capnp::word> copy_words(std::span<const capnp::word> words);
inline std::span<const capnp::word> view_words(const kj::Array<capnp::word>& words) {
  return {words.begin(), words.size()};
}

// The finished message: a view of the builder's own words or, for several segments, of `flat`.
// Nothing for a builder whose root was never set.
MessageView encode(capnp::MessageBuilder& builder, kj::Array<capnp::word>& flat);

}  // namespace farcall::rpc
