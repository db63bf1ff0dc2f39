#include "rpc/client_connection.h"

#include <cassert>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace farcall::rpc {
namespace {

// CUDA_ERROR_INVALID_VALUE: an argument larger than any message may be.
constexpr int kInvalidValue = 1;

// What a call needs in the buffer at most before it goes elsewhere: the headers, a copied payload
// and as much for the message.
constexpr size_t kRoomWords = (2 * Batch::kCopiedBytesMax + 64) / 8;
// A call borrows its payload and a message that didn't fit.
constexpr size_t kBorrowedPerCall = 2;

// For a last word to a server that may not listen any more, while the program ends.
constexpr std::chrono::milliseconds kGoodbyeWait(200);

constexpr size_t words_of(size_t bytes) { return (bytes + 7) / 8; }

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// Counters with one writer at a time need no locked instruction.
void count(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

// --- ClientConnection

ClientConnection::ClientConnection(std::unique_ptr<transport::Channel> channel,
                                   const ConnectionOptions& options)
    : channel_(std::move(channel)),
      options_(options),
      counters_at_start_(channel_->counters()),
      answers_(*channel_),
      batch_(*channel_, [this] { answers_.drain(); }),
      ticker_(std::make_unique<Ticker>(
          batch_, Ticker::Actions{.flush = [this] { (void)flush_or_lose(); },
                                  .drain = [this] { answers_.drain(); },
                                  .give_up = [this] { channel_->shutdown(); }})) {}

ClientConnection::~ClientConnection() {
  if (abandoned_) {  // the thread exists in another process, and so does the connection
    (void)ticker_.release();
    (void)channel_.release();
    return;
  }
  answers_.close();
  channel_->shutdown();  // wakes a ticker that sends
  ticker_.reset();
}

void ClientConnection::set_output_handler(Answers::OutputHandler handler) {
  answers_.set_output_handler(std::move(handler));
}

Status ClientConnection::flush() {
  if (lost()) return Status::kDisconnected;
  return flush_or_lose();
}

Status ClientConnection::flush_or_lose() {
  const Status status = batch_.flush();
  if (status != Status::kOk && !lost()) answers_.sending_failed();
  return status;
}

void ClientConnection::abandon() {
  abandoned_ = true;
  answers_.close();
}

void ClientConnection::say_goodbye() {
  if (lost()) return;
  if (!batch_.try_lock_for(kGoodbyeWait)) return answers_.close();
  {
    const std::lock_guard guard(batch_, std::adopt_lock);
    if (batch_.tail().size() > 0) {
      batch_.append(bytes_of(FrameHeader{.words = 0, .call = kGoodbye, .flags = 0}));
    }
    answers_.close();
  }
  ticker_->give_up_at(now_ns() + std::chrono::nanoseconds(kGoodbyeWait).count());
  (void)batch_.flush_within(kGoodbyeWait);
}

ConnectionStats ClientConnection::stats() const {
  const auto counters = channel_->counters();
  ConnectionStats stats;
  stats.calls_async = calls_async_.load(std::memory_order_relaxed);
  stats.calls_waiting = calls_waiting_.load(std::memory_order_relaxed);
  stats.round_trips = round_trips_.load(std::memory_order_relaxed);
  stats.bytes_up = counters.bytes_sent - counters_at_start_.bytes_sent;
  stats.bytes_down = counters.bytes_received - counters_at_start_.bytes_received;
  stats.blocked_ns = blocked_ns_.load(std::memory_order_relaxed);
  stats.flushes = batch_.flush_count();
  return stats;
}

// --- CallWriter

namespace {

// The append lock is taken here, in the order of construction, because the builder works in the
// tail.
std::span<capnp::word> open_tail(Batch& batch) {
  batch.lock_with_room(kRoomWords, kBorrowedPerCall);
  return batch.tail();
}

}  // namespace

CallWriter::CallWriter(ClientConnection& connection, Opcode op, const Lane& lane)
    : connection_(connection), op_(op), builder_([&] {
        std::span<capnp::word> tail = open_tail(connection.batch_);
        Lane& current = connection.lane_;
        if (lane.id != current.id || lane.context != current.context) {
          current = lane;
          struct {
            FrameHeader header = {.words = sizeof(LaneSwitch) / 8, .call = kLaneSwitch, .flags = 0};
            LaneSwitch body;
          } frame;
          frame.body = {.lane = lane.id, .reserved = 0, .context = lane.context};
          connection.batch_.append(bytes_of(frame));
          tail = connection.batch_.tail();
        }
        return tail.subspan(1);
      }()) {}

CallWriter::~CallWriter() noexcept(false) {
  if (state_ == Sent::kOpen) take_back();
}

void CallWriter::unlock() { connection_.batch_.unlock(); }

void CallWriter::take_back() {
  state_ = Sent::kRefused;
  connection_.batch_.wipe(1 + builder_.used_words());
  unlock();
}

// Completes the frame and commits it. Returns 0 with the lock still held, or a result with the call
// taken back.
int CallWriter::finish(uint16_t flags) {
  assert(state_ == Sent::kOpen);
  Batch& batch = connection_.batch_;
  if (connection_.lost()) {
    take_back();
    return kSessionLostResult;
  }
  MessageView message = prebuilt_.words.empty() ? encode(builder_, flat_) : prebuilt_;
  if (message.words.size() > kMessageWordsMax || payload_.size() > kPayloadBytesMax) {
    log::error("{} with arguments of {} bytes and a payload of {} bytes; {} and {} are allowed",
               opcode_name(op_), message.bytes(), payload_.size(), kMessageWordsMax * size_t{8},
               kPayloadBytesMax);
    take_back();
    return kInvalidValue;
  }
  const size_t message_words = message.words.size();
  const size_t header_words = payload_.empty() ? 1 : 2;
  bool in_place = message_words == 0 || message.words.data() == frame().data() + 1;
  if (!in_place || header_words + message_words > frame().size()) {
    // Elsewhere already, or no room for the payload's header in front of it.
    const size_t used = builder_.used_words();
    if (in_place) {
      flat_ = copy_words(message.words);
      message.words = {flat_.begin(), flat_.size()};
      in_place = false;
    }
    batch.wipe(1 + used);
  }
  const size_t payload_words = words_of(payload_.size());
  if (!payload_.empty()) flags |= kHasPayload;
  if (message.segment_table) flags |= kSegmentTable;
  const FrameHeader header = {
      .words = static_cast<uint32_t>(header_words - 1 + message_words + payload_words),
      .call = static_cast<uint16_t>(op_),
      .flags = flags};

  state_ = Sent::kCopied;
  capnp::word* const start = frame().data();
  if (!payload_.empty()) {
    if (in_place) std::memmove(static_cast<void*>(start + 2), start + 1, message_words * 8);
    const PayloadHeader sizes = {.message_words = static_cast<uint32_t>(message_words),
                                 .payload_bytes = static_cast<uint32_t>(payload_.size())};
    std::memcpy(static_cast<void*>(start + 1), &sizes, sizeof sizes);
  }
  std::memcpy(static_cast<void*>(start), &header, sizeof header);
  batch.commit(header_words + (in_place ? message_words : 0));
  if (!in_place && message_words > 0) {
    if (message_words <= frame().size() && message.bytes() <= Batch::kCopiedBytesMax) {
      batch.append(std::as_bytes(message.words));
    } else {
      batch.borrow(std::as_bytes(message.words));
      state_ = Sent::kBorrowed;
    }
  }
  if (!payload_.empty()) {
    if (payload_.size() <= Batch::kCopiedBytesMax && payload_words <= frame().size()) {
      batch.append(payload_);
    } else {
      batch.borrow(payload_);
      state_ = Sent::kBorrowed;
    }
  }
  ++connection_.number_;
  return 0;
}

int CallWriter::post() { return post(DataSink()); }

int CallWriter::post(DataSink sink) {
  if (connection_.options_.blocking) return wait(sink).result();
  if (sink.bytes > 0 && connection_.answers_.sinks_full()) return wait(sink).result();
  if (const int refused = finish(0)) return refused;
  if (sink.bytes > 0) {
    connection_.answers_.expect_data(static_cast<uint32_t>(connection_.number_),
                                     static_cast<uint16_t>(op_), sink);
  }
  count(connection_.calls_async_);
  // While another thread sends, this one needn't wait for it: there is room, and the ticker is
  // next.
  const Batch& batch = connection_.batch_;
  const bool now = state_ == Sent::kBorrowed || !connection_.options_.batching ||
                   (batch.full_enough() && !batch.sending());
  unlock();
  // Also when this thread sends: the ticker helps if the server can't take it.
  connection_.ticker_->notice();
  if (now && connection_.flush_or_lose() != Status::kOk) return kSessionLostResult;
  return 0;
}

Reply CallWriter::wait() { return wait(DataSink()); }

Reply CallWriter::wait(DataSink sink) {
  if (const int refused = finish(kWantsReply)) return Reply(refused);
  count(connection_.calls_waiting_);
  Waiter waiter;
  waiter.sequence = static_cast<uint32_t>(connection_.number_);
  waiter.call = static_cast<uint16_t>(op_);
  waiter.sink = sink;
  connection_.answers_.expect(waiter);
  unlock();

  const uint64_t start = now_ns();
  if (state_ == Sent::kBorrowed) connection_.ticker_->notice();
  (void)connection_.flush_or_lose();  // collect() finds out
  Reply reply = connection_.answers_.collect(waiter);
  connection_.round_trips_.fetch_add(1, std::memory_order_relaxed);
  connection_.blocked_ns_.fetch_add(now_ns() - start, std::memory_order_relaxed);
  return reply;
}

}  // namespace farcall::rpc
