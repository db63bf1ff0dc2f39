#include "rpc/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace farcall::rpc {
namespace {

// Four full batches: one read takes whatever a busy sender has ready.
constexpr size_t kBufferBytes = 64 * 1024;

constexpr uint16_t kCallFlags = kWantsReply | kHasPayload | kSegmentTable;
constexpr uint16_t kAnswerKinds = kReply | kData | kOutput | kAsyncError | kFatal | kHostFunction;
constexpr uint16_t kAnswerFlags = kAnswerKinds | kHasPayload | kSegmentTable;

constexpr size_t padding(size_t bytes) { return (8 - bytes % 8) % 8; }

}  // namespace

FrameReader::FrameReader(transport::Channel& channel, FrameDirection direction,
                         PayloadPlacer* placer, size_t placed_bytes_min)
    : channel_(channel),
      direction_(direction),
      placer_(placer),
      placed_bytes_min_(placed_bytes_min),
      buffer_(std::make_unique<capnp::word[]>(kBufferBytes / 8)),
      capacity_bytes_(kBufferBytes) {}

FrameReader::~FrameReader() = default;

Result<const Frame*> FrameReader::next(Deadline deadline) {
  return advance([&](std::span<std::byte> into) { return channel_.receive(into, deadline); });
}

Result<const Frame*> FrameReader::try_next() {
  return advance([&](std::span<std::byte> into) -> Result<size_t> {
    auto received = channel_.try_receive(into);
    if (received.ok() && *received == 0) return Status::kBusy;
    return received;
  });
}

bool FrameReader::has_buffered_frame() const {
  if (failed_ != Status::kOk) return true;
  if (step_ == Step::kPlacedPayload) return false;
  if (available() < padding_due_ + sizeof(FrameHeader)) return false;
  FrameHeader header;
  std::memcpy(&header, bytes() + begin_ + padding_due_, sizeof header);
  if (header.words > kFrameWordsMax) return true;  // next() refuses it
  return available() >= padding_due_ + sizeof header + header.words * size_t{8};
}

template <class Receive>
Result<const Frame*> FrameReader::advance(Receive&& receive) {
  while (failed_ == Status::kOk) {
    Status status = Status::kOk;
    switch (step_) {
      case Step::kHeader:
        status = fill(padding_due_ + sizeof(FrameHeader), receive);
        if (status == Status::kOk) status = check_header();
        break;
      case Step::kPrefix:
        status = fill(prefix_bytes_, receive);
        if (status == Status::kOk) status = check_prefix();
        break;
      case Step::kBody:
        status = fill(body_bytes_, receive);
        if (status != Status::kOk) break;
        take_body();
        if (!frame_.placed) return hand_out();
        status = start_placed_payload();
        break;
      case Step::kPlacedPayload: {
        if (placed_received_ == placed_.size()) return hand_out();
        const auto received = receive(placed_.subspan(placed_received_));
        status = received.status();
        if (received.ok()) placed_received_ += *received;
        break;
      }
    }
    if (status == Status::kTimeout || status == Status::kBusy) return status;
    if (status == Status::kOk) continue;
    if (status == Status::kDisconnected && (step_ != Step::kHeader || available() > 0)) {
      problem_ = "the connection ended within a frame";
    }
    failed_ = status;
  }
  return failed_;
}

// Makes `bytes` bytes available, counted from begin_.
template <class Receive>
Status FrameReader::fill(size_t bytes, Receive& receive) {
  while (available() < bytes) {
    if (available() == 0) {
      begin_ = end_ = padding_due_ == 0 ? 0 : 8 - padding_due_;
    }
    if (begin_ + bytes > capacity_bytes_) {
      const size_t misalignment = begin_ % 8;  // not 0 only before padding
      const size_t needed = misalignment + bytes;
      auto target = std::unique_ptr<capnp::word[]>();
      if (needed > capacity_bytes_) {
        capacity_bytes_ = std::bit_ceil(needed);
        target = std::make_unique<capnp::word[]>(capacity_bytes_ / 8);
      }
      auto* const to = reinterpret_cast<std::byte*>(target ? target.get() : buffer_.get());
      std::memmove(to + misalignment, this->bytes() + begin_, available());
      end_ = misalignment + available();
      begin_ = misalignment;
      if (target) buffer_ = std::move(target);
    }
    const auto received = receive(std::span(this->bytes() + end_, capacity_bytes_ - end_));
    if (!received.ok()) return received.status();
    end_ += *received;
  }
  return Status::kOk;
}

Status FrameReader::check_header() {
  begin_ += std::exchange(padding_due_, 0);
  std::memcpy(&header_, bytes() + begin_, sizeof header_);
  frame_ = {};
  frame_.call = header_.call;
  frame_.flags = header_.flags;
  prefix_bytes_ = sizeof(FrameHeader);
  if (header_.words > kFrameWordsMax) {
    return violation(
        fmt::format("a frame of {} words; at most {} are allowed", header_.words, kFrameWordsMax));
  }
  if (direction_ == FrameDirection::kAnswers) {
    if ((header_.flags & ~kAnswerFlags) != 0 ||
        std::popcount(static_cast<unsigned>(header_.flags & kAnswerKinds)) != 1) {
      return violation(fmt::format("an answer with flags {:#06x}", header_.flags));
    }
    prefix_bytes_ += sizeof(ReplyHeader);
  } else if (header_.call < kFirstOpcode) {
    const size_t expected = header_.call == kLaneSwitch ? sizeof(LaneSwitch) / 8 : 0;
    if (header_.call != kLaneSwitch && header_.call != kGoodbye) {
      return violation(fmt::format("an unknown control frame {}", header_.call));
    }
    if (header_.flags != 0 || header_.words != expected) {
      return violation(fmt::format("control frame {} with {} words and flags {:#06x}", header_.call,
                                   header_.words, header_.flags));
    }
    prefix_bytes_ += expected * 8;
  } else if ((header_.flags & ~kCallFlags) != 0) {
    return violation(fmt::format("call {} with flags {:#06x}", header_.call, header_.flags));
  }
  if (frame_.has(kHasPayload)) prefix_bytes_ += sizeof(PayloadHeader);
  if (prefix_bytes_ > sizeof(FrameHeader) + header_.words * size_t{8}) {
    return violation(fmt::format("a frame of call {} whose {} words are too few for its headers",
                                 header_.call, header_.words));
  }
  step_ = Step::kPrefix;
  return Status::kOk;
}

Status FrameReader::check_prefix() {
  const std::byte* at = bytes() + begin_ + sizeof(FrameHeader);
  payload_header_ = {};
  if (direction_ == FrameDirection::kAnswers) {
    std::memcpy(&frame_.reply, at, sizeof frame_.reply);
    at += sizeof frame_.reply;
  } else if (header_.call == kLaneSwitch) {
    std::memcpy(&frame_.lane, at, sizeof frame_.lane);
  }
  const size_t rest_words = header_.words - (prefix_bytes_ - sizeof(FrameHeader)) / 8;
  if (frame_.has(kHasPayload)) {
    std::memcpy(&payload_header_, at, sizeof payload_header_);
    const uint64_t words =
        payload_header_.message_words + (uint64_t{payload_header_.payload_bytes} + 7) / 8;
    if (payload_header_.payload_bytes > kPayloadBytesMax || words != rest_words) {
      return violation(
          fmt::format("a frame of call {} whose message of {} words and payload of {} bytes don't "
                      "fit its {} words",
                      header_.call, payload_header_.message_words, payload_header_.payload_bytes,
                      header_.words));
    }
  } else {
    payload_header_.message_words = static_cast<uint32_t>(rest_words);
  }
  if (payload_header_.message_words > kMessageWordsMax) {
    return violation(fmt::format("a message of {} words for call {}; at most {} are allowed",
                                 payload_header_.message_words, header_.call, kMessageWordsMax));
  }
  const size_t payload_bytes = payload_header_.payload_bytes;
  frame_.placed = placer_ != nullptr && payload_bytes > 0 && payload_bytes >= placed_bytes_min_;
  body_bytes_ = prefix_bytes_ + payload_header_.message_words * size_t{8};
  if (!frame_.placed) body_bytes_ += payload_bytes + padding(payload_bytes);
  step_ = Step::kBody;
  return Status::kOk;
}

void FrameReader::take_body() {
  const std::byte* const message = bytes() + begin_ + prefix_bytes_;
  frame_.message.words = {reinterpret_cast<const capnp::word*>(message),
                          payload_header_.message_words};
  frame_.message.segment_table = frame_.has(kSegmentTable);
  if (direction_ == FrameDirection::kCalls && header_.call >= kFirstOpcode) {
    frame_.number = ++number_;
  }
  if (!frame_.placed) {
    frame_.payload = {message + frame_.message.bytes(), payload_header_.payload_bytes};
  }
  begin_ += body_bytes_;
}

Status FrameReader::start_placed_payload() {
  const size_t size = payload_header_.payload_bytes;
  const auto memory = placer_->place(frame_, size);
  if (!memory.ok()) return memory.status();
  placed_ = {*memory, size};
  frame_.payload = placed_;
  // What came along with the headers; the rest is received in place.
  placed_received_ = std::min(size, available());
  std::memcpy(placed_.data(), bytes() + begin_, placed_received_);
  begin_ += placed_received_;
  padding_due_ = padding(size);
  step_ = Step::kPlacedPayload;
  return Status::kOk;
}

const Frame* FrameReader::hand_out() {
  step_ = Step::kHeader;
  return &frame_;
}

Status FrameReader::violation(std::string sentence) {
  problem_ = std::move(sentence);
  return Status::kProtocol;
}

}  // namespace farcall::rpc
