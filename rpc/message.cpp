#include "rpc/message.h"

#include <algorithm>
#include <cstring>

namespace farcall::rpc {
namespace {

// An honest reader looks at every word about once. Eight times that ends the tricks in which a
// small message points to itself many times; the floor lets a small one be opened for
// every field anew.
constexpr uint64_t kTraversalsMax = 8;
constexpr uint64_t kTraversalWordsMin = 1024;
// Our structs nest two or three levels deep.
constexpr int kNestingMax = 16;

capnp::ReaderOptions limits(size_t words) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = std::max(kTraversalsMax * words, kTraversalWordsMin);
  options.nestingLimit = kNestingMax;
  return options;
}

// A null root pointer.
constexpr uint64_t kEmptyMessage = 0;

}  // namespace

capnp::MessageReader& MessageDecoder::reader() {
  if (message_.segment_table) {
    if (!several_) {
      several_.emplace(kj::arrayPtr(message_.words.data(), message_.words.size()),
                       limits(message_.words.size()));
    }
    return *several_;
  }
  if (!single_) {
    segment_ = message_.words.empty()
                   ? kj::arrayPtr(reinterpret_cast<const capnp::word*>(&kEmptyMessage), 1)
                   : kj::arrayPtr(message_.words.data(), message_.words.size());
    single_.emplace(kj::arrayPtr(&segment_, 1), limits(segment_.size()));
  }
  return *single_;
}

InPlaceBuilder::~InPlaceBuilder() noexcept(false) = default;

kj::ArrayPtr<capnp::word> InPlaceBuilder::allocateSegment(unsigned int words_min) {
  if (!started_ && words_min <= space_.size()) {
    started_ = true;
    return kj::arrayPtr(space_.data(), space_.size());
  }
  constexpr size_t kHeapSegmentWordsMin = 1024;
  more_.push_back(kj::heapArray<capnp::word>(std::max<size_t>(words_min, kHeapSegmentWordsMin)));
  std::memset(static_cast<void*>(more_.back().begin()), 0, more_.back().asBytes().size());
  return more_.back().asPtr();
}

size_t InPlaceBuilder::used_words() {
  if (!started_) return 0;
  for (const auto& segment : getSegmentsForOutput()) {
    if (segment.begin() == space_.data()) return segment.size();
  }
  return 0;
}

kj::Array<capnp::word> copy_words(std::span<const capnp::word> words) {
  auto copy = kj::heapArray<capnp::word>(words.size());
  if (!words.empty()) std::memcpy(copy.begin(), words.data(), words.size_bytes());
  return copy;
}

MessageView encode(capnp::MessageBuilder& builder, kj::Array<capnp::word>& flat) {
  const auto segments = builder.getSegmentsForOutput();
  if (segments.size() == 0) return {};
  if (segments.size() == 1) {
    return {.words = {segments[0].begin(), segments[0].size()}, .segment_table = false};
  }
  flat = capnp::messageToFlatArray(segments);
  return {.words = {flat.begin(), flat.size()}, .segment_table = true};
}

}  // namespace farcall::rpc
