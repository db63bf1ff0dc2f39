// What became of each page of a range that program and device share: which side has written to it
// since they last agreed. The program's protection of the page follows:
//
//   fresh      open            nobody has looked yet; what was touched counts as written
//   same       read only       both sides hold the same bytes
//   changed    open            the program has written; a copy tells which words
//   elsewhere  closed          the device may have written
//
// A write to a page that is the same faults and makes it changed; any touch of one that is
// elsewhere faults and has it fetched. Only words that differ from the copy are sent, so kernels
// may work on one part of a page while the program writes to another. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "client/twice_mapped.h"

namespace farcall::client {

class TrackedPages {
 public:
  enum class Page : uint8_t { kFresh, kSame, kChanged, kElsewhere };
  struct Block {
    size_t offset = 0, bytes = 0;
  };

  explicit TrackedPages(std::unique_ptr<TwiceMapped> memory);

  const TwiceMapped& memory() const { return *memory_; }
  bool contains(uint64_t address) const {
    return address - reinterpret_cast<uint64_t>(memory_->program()) < memory_->bytes();
  }
  Page page(size_t offset) const { return pages_[offset / page_bytes()]; }

  // --- Towards the device
  bool has_fresh() const { return count(Page::kFresh) > 0; }
  bool has_changed() const { return count(Page::kChanged) > 0; }
  // Names what the program has written since the last time, in our view of the memory; those pages
  // are the same from then on. What another thread writes meanwhile faults, and is for the next
  // time.
  using Changes = std::function<void(size_t offset, std::span<const std::byte> bytes)>;
  void take_changes(bool fresh_ones, const Changes& changes);
  // The device may have written to all pages but those that are fresh or changed.
  void device_may_have_written();

  // --- Towards the program
  // What to fetch when the page at `offset`, which is elsewhere, is touched: all of a small range,
  // and more and more of a large one that is read in order.
  Block missing_around(size_t offset);
  // It is in our view now: opens it for reading.
  bool arrived(const Block& block);
  // The page at `offset`, which is the same, is written to. Those behind it are opened as well if
  // the program goes through them in order. False: no room; see close_all().
  bool open_for_writing(size_t offset);
  // Makes the pages fresh again, and zero.
  void renew(const Block& block);
  // Sets the page's protection again to what it should be.
  bool restore(size_t offset);
  // Everything is elsewhere: one protection for all, for when there is no room for more. Changes
  // must have been taken.
  void close_all();

 private:
  size_t count(Page page) const { return counts_[size_t(page)]; }
  void set(size_t page, Page state);
  bool protect(size_t first, size_t end, Page state);
  void take_page(size_t page, const Changes& changes);
  template <class Visit>
  void for_each_run(Page state, const Visit& visit);

  std::unique_ptr<TwiceMapped> memory_;
  std::vector<Page> pages_;
  size_t counts_[4] = {};
  std::unordered_map<size_t, std::unique_ptr<std::byte[]>> copies_;  // of changed pages
  size_t next_write_ = 0, write_pages_ = 1;
  size_t next_read_ = 0, read_pages_ = 0;
};

}  // namespace farcall::client
