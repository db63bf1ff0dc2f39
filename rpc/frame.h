// Untrusted bytes -> frames that have been checked against wire.h. The worker reads calls with it
// and the client answers. It owns the receive buffer: a read takes what has arrived, usually
// many frames, and messages are handed out where they lie. Payloads above a size the owner chooses
// are received straight into memory that the owner names, so bulk data is never copied on the way.
//
// A FrameReader belongs to one thread at a time. After any failure but kTimeout and kBusy the
// stream is over.
#pragma once

#include <capnp/common.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "rpc/message.h"
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc {

// One frame. Valid until the reader is asked for the next one.
struct Frame {
  uint16_t call = 0;  // Opcode or ControlFrame
  uint16_t flags = 0;
  uint64_t number = 0;     // of call frames: from 1; the sequence is its low half
  LaneSwitch lane = {};    // kLaneSwitch
  ReplyHeader reply = {};  // answers
  MessageView message;
  std::span<const std::byte> payload;  // `placed` says where
  bool placed = false;                 // the payload lies in the memory that PayloadPlacer gave

  uint32_t sequence() const { return static_cast<uint32_t>(number); }
  bool is_control() const { return call < kFirstOpcode && !is_answer(); }
  bool is_answer() const { return (flags & 0xff00) != 0; }
  bool has(FrameFlags flag) const { return (flags & flag) != 0; }
};

// Where large payloads go.
class PayloadPlacer {
 public:
  virtual ~PayloadPlacer() = default;
  // Memory for `bytes` bytes that stays valid until the frame has been handed out, or the stream
  // has failed; everything but `payload` of the frame is known. A Status ends the stream with it;
  // who decides logs.
  virtual Result<std::byte*> place(const Frame& frame, size_t bytes) = 0;
};

enum class FrameDirection : uint8_t { kCalls, kAnswers };

class FrameReader {
 public:
  // Payloads of at least `placed_bytes_min` go to the placer, smaller ones stay in the buffer.
  // Without a placer all do, and the buffer grows to what a frame needs.
  FrameReader(transport::Channel& channel, FrameDirection direction,
              PayloadPlacer* placer = nullptr, size_t placed_bytes_min = 0);
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // Waits for the next frame. kTimeout: nothing is lost, ask again. kDisconnected: the stream ended
  // between two frames or, logged by nobody, within one (see problem()). kProtocol: see problem().
  Result<const Frame*> next(Deadline deadline = Deadline::never());
  // The same without waiting: kBusy when no whole frame has arrived.
  Result<const Frame*> try_next();
  // next() will give a frame without touching the channel: who answers in batches can wait a
  // little.
  bool has_buffered_frame() const;
  // After kProtocol, and after a disconnect in mid-frame: what is wrong, as a sentence for the log.
  const std::string& problem() const { return problem_; }

 private:
  enum class Step : uint8_t { kHeader, kPrefix, kBody, kPlacedPayload };

  template <class Receive>
  Result<const Frame*> advance(Receive&& receive);
  template <class Receive>
  Status fill(size_t bytes, Receive& receive);
  Status check_header();
  Status check_prefix();
  void take_body();
  Status start_placed_payload();
  const Frame* hand_out();
  Status violation(std::string sentence);
  size_t available() const { return end_ - begin_; }
  std::byte* bytes() const { return reinterpret_cast<std::byte*>(buffer_.get()); }

  transport::Channel& channel_;
  const FrameDirection direction_;
  PayloadPlacer* const placer_;
  const size_t placed_bytes_min_;

  // Bytes begin_ to end_ have arrived and belong to nothing yet. begin_ is a multiple of 8 wherever
  // a frame starts, so messages are aligned.
  std::unique_ptr<capnp::word[]> buffer_;
  size_t capacity_bytes_;
  size_t begin_ = 0, end_ = 0;
  size_t padding_due_ = 0;  // padding of a placed payload that comes before the next frame

  // The frame under way.
  Step step_ = Step::kHeader;
  FrameHeader header_ = {};
  PayloadHeader payload_header_ = {};
  size_t prefix_bytes_ = 0;  // header, reply header, payload header
  size_t body_bytes_ = 0;    // the prefix and what follows it in the buffer
  std::span<std::byte> placed_;
  size_t placed_received_ = 0;
  Frame frame_;

  uint64_t number_ = 0;
  Status failed_ = Status::kOk;
  std::string problem_;
};

}  // namespace farcall::rpc
