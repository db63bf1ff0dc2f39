// The receiving half of a client's connection: who waits for which answer, and where data goes.
//
// There is no thread that reads. Of the threads that wait, one has the reader's role: it receives
// frames, completes whoever they are for, and when its own answer has come passes the role to
// the thread that has waited longest. The role is a flag under the mutex; a thread that finds it
// free takes it, a thread that finds it taken sleeps on a word of its own Waiter. Bytes of kData
// frames are received straight into the memory that the call named, after the bounds are checked.
//
// The server is not trusted: whatever doesn't fit what was asked for ends the session. A thread
// leaves only when nobody writes to its memory any more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/api.h"
#include "base/status.h"
#include "rpc/frame.h"
#include "rpc/reply.h"
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc {

// Where the bytes of a call's kData frames go. Must stay valid until the call is answered, or, for
// a call nobody waits for, until the program may look at the bytes and Answers::close_sinks() has
// been told.
struct DataSink {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

// A stream has come to a host function of the program.
struct HostFunctionDue {
  uint64_t id = 0;        // what the client called it
  uint32_t occasion = 0;  // what the server calls this call of it
  int result = 0;
  uint16_t aux = kHostFunctionAgain;
};

// A thread's wait for one answer, or for the next host function; lives on its stack.
struct Waiter {
  uint32_t sequence = 0;
  uint16_t call = 0;
  DataSink sink;
  bool for_host_function = false;

  // The rest belongs to Answers.
  Reply reply;
  bool answered = false;
  std::atomic<uint32_t> woken{0};
  Waiter* previous = nullptr;
  Waiter* next = nullptr;
};

class FARCALL_API Answers final : private PayloadPlacer {
 public:
  using OutputHandler = std::function<void(std::string_view text, bool is_stderr)>;

  explicit Answers(transport::Channel& channel);
  ~Answers() override;

  // Before the call can leave this process: its answer may arrive before expect() returns.
  void expect(Waiter& waiter);
  // For a call nobody waits for; not when sinks_full().
  void expect_data(uint32_t sequence, uint16_t call, DataSink sink);
  bool sinks_full();
  // Bytes for this memory, of a call nobody waits for, may still be to come.
  bool expects_data(std::span<const std::byte> memory);
  // Waits until the answer is there or the session is lost.
  Reply collect(Waiter& waiter);
  // Waits for the next host function that a stream has come to; nullopt: the session is lost. One
  // thread at a time. While it waits it may be the reader, so nobody else has to wait for these.
  std::optional<HostFunctionDue> next_host_function();
  // Takes what has arrived, without waiting, if nobody reads. For threads that can't send because
  // the server can't either.
  void drain();
  // The program takes this memory back: copies to it that nobody waited for are dropped. One that
  // is being received at this moment ends the session, because an honest server has sent it before.
  void close_sinks(std::span<const std::byte> memory);

  // Set before the first call.
  void set_output_handler(OutputHandler handler) { output_handler_ = std::move(handler); }
  int take_async_error() { return async_error_.exchange(0, std::memory_order_relaxed); }

  bool lost() const { return lost_.load(std::memory_order_acquire); }
  // The first one logs the sentence, and every waiting thread returns.
  void lose(std::string_view sentence);
  // The channel refused to send: the server's last words, if there are any, tell why.
  void sending_failed();
  // From now on lost() without a word: the program ends, or this is a forked child.
  void close() { lost_.store(true, std::memory_order_release); }

 private:
  struct PostedSink {
    DataSink sink;
    uint16_t call = 0;
    size_t received = 0;
  };

  Result<std::byte*> place(const Frame& frame, size_t bytes) override;
  Result<std::byte*> place_data(const Frame& frame, size_t bytes);
  void read_until_answered(const Waiter& mine);
  void read_available();
  void leave_reader();
  void handle(const Frame& frame);
  void handle_reply(const Frame& frame);
  void handle_data(const Frame& frame);
  void handle_host_function(const Frame& frame);
  bool wait_for(Waiter& waiter, std::unique_lock<std::mutex>& lock);
  void note_async_error(uint16_t call, int result);
  void violation(std::string sentence);
  void reading_failed(Status status);
  bool written_to(uint32_t sequence) const { return reader_active_ && receiving_into_ == sequence; }
  Waiter* find(uint32_t sequence);
  void link(Waiter& waiter);
  void unlink(Waiter& waiter);

  transport::Channel& channel_;
  OutputHandler output_handler_;
  std::atomic<bool> lost_{false};
  std::atomic<int> async_error_{0};

  std::mutex mutex_;  // guards from here to the next comment
  bool reader_active_ = false;
  std::optional<uint32_t> receiving_into_;  // sequence of the sink that the reader writes to
  Waiter* oldest_ = nullptr;
  Waiter* newest_ = nullptr;
  std::unordered_map<uint32_t, PostedSink> posted_;
  std::deque<HostFunctionDue> due_;

  // The reader's.
  FrameReader reader_;
  const Waiter* reading_for_ = nullptr;
  std::shared_ptr<ReplyBody> incoming_;  // of the reply under way, when it has a payload
  std::vector<std::byte> scratch_;       // payloads that go nowhere else
  std::string violation_;
};

}  // namespace farcall::rpc
