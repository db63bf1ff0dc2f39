#include "rpc/batch.h"

#include <sys/uio.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>
#include <utility>

namespace farcall::rpc {
namespace {

constexpr std::chrono::milliseconds kLookAroundEvery(1);

void zero(capnp::word* words, size_t count) {
  std::memset(static_cast<void*>(words), 0, count * 8);
}

iovec piece(const void* data, size_t bytes) {
  return {.iov_base = const_cast<void*>(data), .iov_len = bytes};
}

}  // namespace

Batch::Batch(transport::Channel& channel, std::function<void()> while_waiting)
    : channel_(channel), while_waiting_(std::move(while_waiting)), open_(&buffers_[0]) {
  for (Buffer& buffer : buffers_) {
    buffer.words = std::make_unique<capnp::word[]>(kWords);
    zero(buffer.words.get(), kWords);  // zeroed, and its pages are there
  }
}

Batch::~Batch() = default;

void Batch::lock_with_room(size_t words, size_t borrowed_pieces) {
  assert(words <= kWords && borrowed_pieces <= kBorrowedMax);
  lock();
  while (kWords - open_->used < words || kBorrowedMax - open_->borrowed_count < borrowed_pieces) {
    unlock();
    (void)flush();  // a failure also makes room, and the next flush tells
    lock();
  }
}

void Batch::wipe(size_t words) { zero(tail().data(), words); }

void Batch::borrow(std::span<const std::byte> bytes) {
  assert(open_->borrowed_count < kBorrowedMax);
  open_->borrowed[open_->borrowed_count++] = {.after_words = open_->used, .bytes = bytes};
}

Status Batch::flush() {
  if (!while_waiting_) {
    write_lock_.lock();
  } else {
    while (!write_lock_.try_lock_for(kLookAroundEvery)) while_waiting_();
  }
  const std::lock_guard guard(write_lock_, std::adopt_lock);
  return flush_locked();
}

Status Batch::flush_within(std::chrono::nanoseconds wait) {
  if (!write_lock_.try_lock_for(wait)) return Status::kTimeout;
  const std::lock_guard guard(write_lock_, std::adopt_lock);
  return flush_locked();
}

Status Batch::flush_locked() {
  Buffer* full;
  {
    const std::lock_guard guard(append_lock_);
    full = open_;
    if (full->used == 0) return failed_;
    open_ = full == &buffers_[0] ? &buffers_[1] : &buffers_[0];
    used_words_.store(0, std::memory_order_relaxed);
  }
  if (failed_ == Status::kOk) {
    flush_count_.fetch_add(1, std::memory_order_relaxed);
    failed_ = send(*full);
  }
  zero(full->words.get(), full->used);
  full->used = 0;
  full->borrowed_count = 0;
  return failed_;
}

Status Batch::send(const Buffer& buffer) {
  static constexpr std::array<std::byte, 8> kZeros = {};
  std::array<iovec, 3 * kBorrowedMax + 1> pieces;
  size_t count = 0, sent = 0;
  for (const Borrowed& borrowed : std::span(buffer.borrowed).first(buffer.borrowed_count)) {
    if (borrowed.after_words > sent) {
      pieces[count++] = piece(buffer.words.get() + sent, (borrowed.after_words - sent) * 8);
      sent = borrowed.after_words;
    }
    pieces[count++] = piece(borrowed.bytes.data(), borrowed.bytes.size());
    const size_t padding = (8 - borrowed.bytes.size() % 8) % 8;
    if (padding > 0) pieces[count++] = piece(kZeros.data(), padding);
  }
  if (buffer.used > sent) {
    pieces[count++] = piece(buffer.words.get() + sent, (buffer.used - sent) * 8);
  }
  return channel_.send(std::span(pieces).first(count));
}

}  // namespace farcall::rpc
