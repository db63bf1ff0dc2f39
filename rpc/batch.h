// The open batch of one direction of a channel: frames are appended in place to a buffer that is
// sent as a whole, so a frame costs no system call and no copy of its own. There are two buffers:
// one is appended to while the other is being sent.
//
// Two locks. The append lock (lock(), unlock()) is held for some ten nanoseconds and makes the
// total order of frames. The write lock, inside flush(), is held while the channel sends; it is
// taken before the append lock, never after it. A flush swaps the buffers under both, so frames
// leave in the order in which they were appended, and whoever comes out of flush() knows that
// everything appended before it is sent. Memory is bounded: when both buffers are in use, appenders
// wait for the sender.
#pragma once

#include <capnp/common.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>

#include "base/spin_futex_lock.h"
#include "base/status.h"
#include "transport/channel.h"

namespace farcall::rpc {

class Batch {
 public:
  // A batch of this size is worth a send: it gives three quarters of the throughput of 64 KiB with
  // a quarter of its lateness, and stays in the cache (docs/decisions/0002).
  static constexpr size_t kFlushBytes = 16 * 1024;
  // What others may append while a batch is being sent.
  static constexpr size_t kCapacityBytes = 64 * 1024;
  // Up to here copying a payload is cheaper than the extra iovec and the send at once that
  // borrowing means (bench/append_bench.cpp).
  static constexpr size_t kCopiedBytesMax = 4096;

  // `while_waiting`, if given, is called about every millisecond, without locks, in a thread that
  // waits for another thread's send: the way out when both sides only send and nobody reads.
  explicit Batch(transport::Channel& channel, std::function<void()> while_waiting = {});
  ~Batch();

  // --- Appending: only between lock() and unlock() ---
  void lock() { append_lock_.lock(); }
  bool try_lock_for(std::chrono::nanoseconds wait) { return append_lock_.try_lock_for(wait); }
  void unlock() { append_lock_.unlock(); }
  // Returns with the lock held and this much room; flushes if there is less.
  void lock_with_room(size_t words, size_t borrowed_pieces = 0);
  // The free, zeroed end of the buffer.
  std::span<capnp::word> tail() {
    return std::span(open_->words.get() + open_->used, kWords - open_->used);
  }
  // The first `words` words of the tail are frames, or a part of one, from now on.
  void commit(size_t words) {
    open_->used += words;
    used_words_.store(open_->used, std::memory_order_relaxed);
  }
  // Copies whole or padded words to the tail and commits them.
  void append(std::span<const std::byte> bytes) {
    std::memcpy(static_cast<void*>(tail().data()), bytes.data(), bytes.size());
    commit((bytes.size() + 7) / 8);
  }
  // The first `words` words of the tail were written to and aren't wanted.
  void wipe(size_t words);
  // What follows the committed words: borrowed until a flush() that starts after this has returned,
  // and padded with zeros to a whole word. Room for it was asked of lock_with_room().
  void borrow(std::span<const std::byte> bytes);

  // --- Sending ---
  // kOk: everything appended before is sent. Else the channel is gone, and what was appended with
  // it.
  Status flush();
  // The same, giving up when another thread has been sending for that long: kTimeout.
  Status flush_within(std::chrono::nanoseconds wait);

  // Glances, without lock.
  bool empty() const { return used_words_.load(std::memory_order_relaxed) == 0; }
  bool full_enough() const {
    return used_words_.load(std::memory_order_relaxed) * 8 >= kFlushBytes;
  }
  bool sending() const { return write_lock_.held(); }
  uint64_t flush_count() const { return flush_count_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kWords = kCapacityBytes / 8;
  // As many threads at most have a borrowed payload in one buffer; the next one waits for a send.
  static constexpr size_t kBorrowedMax = 32;

  struct Borrowed {
    size_t after_words;  // position in the buffer
    std::span<const std::byte> bytes;
  };
  struct Buffer {
    std::unique_ptr<capnp::word[]> words;  // zero beyond `used`
    size_t used = 0;
    std::array<Borrowed, kBorrowedMax> borrowed;
    size_t borrowed_count = 0;
  };

  Status flush_locked();
  Status send(const Buffer& buffer);

  transport::Channel& channel_;
  const std::function<void()> while_waiting_;

  SpinFutexLock write_lock_;   // before append_lock_
  SpinFutexLock append_lock_;  // guards open_ and the buffer it points to
  std::array<Buffer, 2> buffers_;
  Buffer* open_;
  std::atomic<size_t> used_words_{0};  // of *open_
  Status failed_ = Status::kOk;        // guarded by write_lock_
  std::atomic<uint64_t> flush_count_{0};
};

}  // namespace farcall::rpc
