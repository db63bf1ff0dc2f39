#include "rpc/answers.h"

#include <fmt/format.h>

#include <chrono>
#include <climits>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "rpc/opcodes.h"

namespace farcall::rpc {
namespace {

// Copies to pinned memory that a program may have under way; the next one waits for its answer.
constexpr size_t kPostedSinksMax = 1 << 16;

// A stream has at most one host function under way, so an honest server is far from this.
constexpr size_t kHostFunctionsDueMax = 1 << 16;

// A broken connection is found by the reader at once; this is for one that is broken in one
// direction.
constexpr std::chrono::seconds kLastWordsWait(1);

const char* name_of(uint16_t call) { return opcode_name(static_cast<Opcode>(call)); }

}  // namespace

Answers::Answers(transport::Channel& channel)
    : channel_(channel), reader_(channel, FrameDirection::kAnswers, this, 1) {}

Answers::~Answers() = default;

void Answers::expect(Waiter& waiter) {
  const std::lock_guard guard(mutex_);
  link(waiter);
}

void Answers::link(Waiter& waiter) {
  waiter.previous = newest_;
  (newest_ != nullptr ? newest_->next : oldest_) = &waiter;
  newest_ = &waiter;
}

void Answers::expect_data(uint32_t sequence, uint16_t call, DataSink sink) {
  const std::lock_guard guard(mutex_);
  posted_[sequence] = {.sink = sink, .call = call};
}

bool Answers::sinks_full() {
  const std::lock_guard guard(mutex_);
  return posted_.size() >= kPostedSinksMax;
}

Waiter* Answers::find(uint32_t sequence) {
  for (Waiter* waiter = oldest_; waiter != nullptr; waiter = waiter->next) {
    if (waiter->sequence == sequence && !waiter->for_host_function) return waiter;
  }
  return nullptr;
}

void Answers::unlink(Waiter& waiter) {
  (waiter.previous != nullptr ? waiter.previous->next : oldest_) = waiter.next;
  (waiter.next != nullptr ? waiter.next->previous : newest_) = waiter.previous;
}

// --- Waiting

Reply Answers::collect(Waiter& waiter) {
  std::unique_lock lock(mutex_);
  if (!wait_for(waiter, lock)) return Reply(kSessionLostResult);
  lock.unlock();
  Reply reply = std::move(waiter.reply);
  if (reply.result_ == 0) reply.result_ = take_async_error();
  return reply;
}

std::optional<HostFunctionDue> Answers::next_host_function() {
  std::unique_lock lock(mutex_);
  if (due_.empty()) {
    Waiter waiter;
    waiter.for_host_function = true;
    link(waiter);
    if (!wait_for(waiter, lock)) return std::nullopt;
  }
  const HostFunctionDue due = due_.front();
  due_.pop_front();
  return due;
}

// True when answered; false, and unlinked, when the session is lost.
bool Answers::wait_for(Waiter& waiter, std::unique_lock<std::mutex>& lock) {
  while (!waiter.answered) {
    if (lost()) {
      if (!written_to(waiter.sequence)) {
        unlink(waiter);
        return false;
      }
    } else if (!reader_active_) {
      reader_active_ = true;
      lock.unlock();
      read_until_answered(waiter);
      leave_reader();
      lock.lock();
      continue;
    }
    waiter.woken.store(0, std::memory_order_relaxed);
    lock.unlock();
    futex_wait(waiter.woken, 0);
    lock.lock();
  }
  return true;
}

void Answers::drain() {
  {
    const std::lock_guard guard(mutex_);
    if (reader_active_ || lost()) return;
    reader_active_ = true;
  }
  read_available();
  leave_reader();
}

void Answers::leave_reader() {
  std::atomic<uint32_t>* successor = nullptr;
  {
    const std::lock_guard guard(mutex_);
    reader_active_ = false;
    if (lost()) {
      for (Waiter* waiter = oldest_; waiter != nullptr; waiter = waiter->next) {
        waiter->woken.store(1, std::memory_order_relaxed);
        futex_wake(&waiter->woken, 1);
      }
    } else if (oldest_ != nullptr) {
      oldest_->woken.store(1, std::memory_order_relaxed);
      successor = &oldest_->woken;
    }
  }
  if (successor != nullptr) futex_wake(successor, 1);
}

namespace {

bool overlap(const DataSink& sink, std::span<const std::byte> memory) {
  return sink.data < memory.data() + memory.size() && memory.data() < sink.data + sink.bytes;
}

}  // namespace

bool Answers::expects_data(std::span<const std::byte> memory) {
  const std::lock_guard guard(mutex_);
  return std::ranges::any_of(
      posted_, [&](const auto& posted) { return overlap(posted.second.sink, memory); });
}

void Answers::close_sinks(std::span<const std::byte> memory) {
  std::unique_lock lock(mutex_);
  for (auto posted = posted_.begin(); posted != posted_.end();) {
    if (!overlap(posted->second.sink, memory)) {
      ++posted;
      continue;
    }
    if (receiving_into_ == posted->first) {
      lock.unlock();
      lose("the server sent bytes of a copy after the program was told that it had ended");
      lock.lock();
      while (reader_active_) {  // it finds the channel shut down
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        lock.lock();
      }
      posted_.clear();  // nobody reads any more
      return;
    }
    posted = posted_.erase(posted);
  }
}

// --- Reading: whoever has the reader's role

void Answers::read_until_answered(const Waiter& mine) {
  reading_for_ = &mine;
  // Frames that have arrived with the answer are done at once: their waiters needn't wake up to
  // read.
  while (!lost() && (!mine.answered || reader_.has_buffered_frame())) {
    const auto frame = reader_.next();
    if (!frame.ok()) {
      reading_failed(frame.status());
      break;
    }
    handle(**frame);
  }
  reading_for_ = nullptr;
}

void Answers::read_available() {
  while (!lost()) {
    const auto frame = reader_.try_next();
    if (!frame.ok()) {
      if (frame.status() != Status::kBusy) reading_failed(frame.status());
      return;
    }
    handle(**frame);
  }
}

Result<std::byte*> Answers::place(const Frame& frame, size_t bytes) {
  if (frame.has(kData)) return place_data(frame, bytes);
  if (frame.has(kReply)) {
    incoming_ = std::make_shared<ReplyBody>();
    incoming_->payload.resize(bytes);
    return incoming_->payload.data();
  }
  scratch_.resize(bytes);
  return scratch_.data();
}

Result<std::byte*> Answers::place_data(const Frame& frame, size_t bytes) {
  const uint32_t sequence = frame.reply.sequence;
  const uint64_t offset = frame.reply.offset;
  const std::lock_guard guard(mutex_);
  DataSink sink;
  uint16_t call = 0;
  if (const Waiter* const waiter = find(sequence)) {
    sink = waiter->sink;
    call = waiter->call;
  } else if (const auto posted = posted_.find(sequence); posted != posted_.end()) {
    sink = posted->second.sink;
    call = posted->second.call;
  }
  if (sink.data == nullptr) {
    violation_ = fmt::format("data for call {}, which expects none", sequence);
    return Status::kProtocol;
  }
  if (offset > sink.bytes || bytes > sink.bytes - offset) {
    violation_ = fmt::format("{} bytes at offset {} for the {} bytes that {} asked for", bytes,
                             offset, sink.bytes, name_of(call));
    return Status::kProtocol;
  }
  receiving_into_ = sequence;
  return sink.data + offset;
}

void Answers::handle(const Frame& frame) {
  if (frame.has(kReply)) {
    handle_reply(frame);
  } else if (frame.has(kData)) {
    handle_data(frame);
  } else if (frame.has(kOutput)) {
    const auto* const text = reinterpret_cast<const char*>(frame.payload.data());
    if (output_handler_) output_handler_({text, frame.payload.size()}, frame.reply.aux == 2);
  } else if (frame.has(kAsyncError)) {
    note_async_error(frame.reply.async_call, frame.reply.async_result);
    const std::lock_guard guard(mutex_);
    posted_.erase(frame.reply.sequence);
  } else if (frame.has(kHostFunction)) {
    handle_host_function(frame);
  } else {
    const auto* const text = reinterpret_cast<const char*>(frame.payload.data());
    lose(fmt::format("the server ended it: {}", std::string_view(text, frame.payload.size())));
  }
}

void Answers::handle_reply(const Frame& frame) {
  auto body = std::exchange(incoming_, nullptr);
  if (!frame.message.words.empty()) {
    if (!body) body = std::make_shared<ReplyBody>();
    body->message = copy_words(frame.message.words);
    body->segment_table = frame.message.segment_table;
  }
  const ReplyHeader& header = frame.reply;
  if (header.async_result != 0 && header.async_result != header.result) {
    note_async_error(header.async_call, header.async_result);
  }
  std::atomic<uint32_t>* woken = nullptr;
  std::string problem = "for which nobody waits";
  {
    const std::lock_guard guard(mutex_);
    Waiter* const waiter = find(header.sequence);
    const bool known = waiter != nullptr && waiter->call == frame.call;
    if (known && header.result == 0 && waiter->reply.data_bytes_ < waiter->sink.bytes) {
      problem = fmt::format("which says success after {} of {} bytes", waiter->reply.data_bytes_,
                            waiter->sink.bytes);
    } else if (known) {
      unlink(*waiter);
      waiter->reply.result_ = waiter->reply.own_result_ = header.result;
      waiter->reply.body_ = std::move(body);
      waiter->answered = true;
      if (waiter == reading_for_) return;
      waiter->woken.store(1, std::memory_order_relaxed);
      woken = &waiter->woken;
    }
  }
  if (woken != nullptr) return futex_wake(woken, 1);
  violation(
      fmt::format("an answer to call {} ({}), {}", header.sequence, name_of(frame.call), problem));
}

void Answers::handle_data(const Frame& frame) {
  const std::lock_guard guard(mutex_);
  receiving_into_.reset();
  if (Waiter* const waiter = find(frame.reply.sequence)) {
    waiter->reply.data_bytes_ += frame.payload.size();
    return;
  }
  const auto posted = posted_.find(frame.reply.sequence);
  if (posted == posted_.end()) return;
  posted->second.received += frame.payload.size();
  if (posted->second.received >= posted->second.sink.bytes) posted_.erase(posted);
}

void Answers::handle_host_function(const Frame& frame) {
  std::atomic<uint32_t>* woken = nullptr;
  bool flood = false;
  {
    const std::lock_guard guard(mutex_);
    flood = due_.size() >= kHostFunctionsDueMax;
    if (!flood) {
      due_.push_back({.id = frame.reply.offset,
                      .occasion = frame.reply.sequence,
                      .result = frame.reply.result,
                      .aux = frame.reply.aux});
    }
    Waiter* waiter = oldest_;
    while (waiter != nullptr && !waiter->for_host_function) waiter = waiter->next;
    if (waiter != nullptr) {
      unlink(*waiter);
      waiter->answered = true;
      waiter->woken.store(1, std::memory_order_relaxed);
      if (waiter != reading_for_) woken = &waiter->woken;
    }
  }
  if (woken != nullptr) futex_wake(woken, 1);
  if (flood) violation(fmt::format("{} host functions at once", kHostFunctionsDueMax));
}

// --- Failing

void Answers::note_async_error(uint16_t call, int result) {
  log::debug("{} failed with {} after it had returned", name_of(call), result);
  int none = 0;
  async_error_.compare_exchange_strong(none, result, std::memory_order_relaxed);
}

void Answers::violation(std::string sentence) {
  violation_ = std::move(sentence);
  reading_failed(Status::kProtocol);
}

void Answers::reading_failed(Status status) {
  if (status == Status::kProtocol) {
    lose(fmt::format("the server broke the protocol: {}",
                     violation_.empty() ? reader_.problem() : violation_));
  } else if (!reader_.problem().empty()) {
    lose(reader_.problem());
  } else {
    lose("the server closed the connection");
  }
}

void Answers::sending_failed() {
  // Whoever reads meets the end after the last words; if nobody does, drain() is the reader.
  const Deadline deadline = Deadline::after(kLastWordsWait);
  do {
    drain();
    if (lost()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (!deadline.expired());
  lose("the connection broke while sending");
}

void Answers::lose(std::string_view sentence) {
  {
    const std::lock_guard guard(mutex_);
    if (lost_.exchange(true, std::memory_order_acq_rel)) return;
    for (Waiter* waiter = oldest_; waiter != nullptr; waiter = waiter->next) {
      waiter->woken.store(1, std::memory_order_relaxed);
      futex_wake(&waiter->woken, 1);
    }
  }
  log::error("the session with {} is lost, CUDA calls fail from now on: {}", channel_.peer(),
             sentence);
  channel_.shutdown();
}

}  // namespace farcall::rpc
