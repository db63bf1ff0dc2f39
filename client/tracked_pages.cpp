#include "client/tracked_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace farcall::client {
namespace {

// A fetch is a round trip: small ranges come whole, large ones begin with what takes as long as the
// round trip itself and double while they are read in order.
constexpr size_t kWholeBytesMax = size_t{2} << 20;
constexpr size_t kFirstReadBytes = size_t{256} << 10;
constexpr size_t kReadBytesMax = size_t{16} << 20;
// A write fault costs about as much as copying and comparing a few pages.
constexpr size_t kWritePagesMax = 256;
// Kernels write whole words; finer than that nobody shares.
constexpr size_t kWord = 4;

int protection_of(TrackedPages::Page state) {
  switch (state) {
    case TrackedPages::Page::kFresh:
    case TrackedPages::Page::kChanged:
      return PROT_READ | PROT_WRITE;
    case TrackedPages::Page::kSame:
      return PROT_READ;
    case TrackedPages::Page::kElsewhere:
      return PROT_NONE;
  }
  return PROT_NONE;
}

}  // namespace

TrackedPages::TrackedPages(std::unique_ptr<TwiceMapped> memory)
    : memory_(std::move(memory)), pages_(memory_->bytes() / page_bytes(), Page::kFresh) {
  counts_[size_t(Page::kFresh)] = pages_.size();
}

void TrackedPages::set(size_t page, Page state) {
  --counts_[size_t(pages_[page])];
  pages_[page] = state;
  ++counts_[size_t(state)];
}

bool TrackedPages::protect(size_t first, size_t end, Page state) {
  return memory_->protect(first * page_bytes(), (end - first) * page_bytes(), protection_of(state));
}

template <class Visit>
void TrackedPages::for_each_run(Page state, const Visit& visit) {
  for (size_t first = 0; first < pages_.size();) {
    if (pages_[first] != state) {
      ++first;
      continue;
    }
    size_t end = first + 1;
    while (end < pages_.size() && pages_[end] == state) ++end;
    visit(first, end);
    first = end;
  }
}

// --- Towards the device

void TrackedPages::take_changes(bool fresh_ones, const Changes& changes) {
  const size_t page = page_bytes();
  // Closed to writing first, looked at then.
  bool all_closed = false;
  const auto close = [&](size_t first, size_t end) {
    if (all_closed || protect(first, end, Page::kSame)) return;
    all_closed = protect(0, pages_.size(), Page::kElsewhere);
  };
  if (fresh_ones && has_fresh()) {
    for_each_run(Page::kFresh, [&](size_t first, size_t end) {
      close(first, end);
      for (size_t at = first * page; at < end * page;) {
        const auto touched = memory_->touched(at);
        if (!touched || touched->first >= end * page) break;
        const size_t stop = std::min(touched->second, end * page);
        changes(touched->first, {memory_->ours() + touched->first, stop - touched->first});
        at = stop;
      }
      for (size_t i = first; i < end; ++i) set(i, Page::kSame);
    });
  }
  if (has_changed()) {
    for_each_run(Page::kChanged, [&](size_t first, size_t end) {
      close(first, end);
      for (size_t i = first; i < end; ++i) {
        take_page(i, changes);
        set(i, Page::kSame);
      }
    });
    copies_.clear();
  }
  if (all_closed) close_all();
}

// The words of a changed page that differ from its copy.
void TrackedPages::take_page(size_t page, const Changes& changes) {
  const size_t offset = page * page_bytes();
  const std::byte* const now = memory_->ours() + offset;
  const auto copy = copies_.find(page);
  if (copy == copies_.end()) return changes(offset, {now, page_bytes()});
  const std::byte* const before = copy->second.get();
  for (size_t at = 0; at < page_bytes();) {
    if (std::memcmp(now + at, before + at, kWord) == 0) {
      at += kWord;
      continue;
    }
    size_t end = at + kWord;
    while (end < page_bytes() && std::memcmp(now + end, before + end, kWord) != 0) end += kWord;
    changes(offset + at, {now + at, end - at});
    at = end;
  }
}

void TrackedPages::device_may_have_written() {
  if (count(Page::kSame) == 0) return;
  if (!has_fresh() && !has_changed()) return close_all();
  for_each_run(Page::kSame, [&](size_t first, size_t end) {
    if (!protect(first, end, Page::kElsewhere)) return;  // no room: it is read as it was
    for (size_t i = first; i < end; ++i) set(i, Page::kElsewhere);
  });
}

void TrackedPages::close_all() {
  (void)protect(0, pages_.size(), Page::kElsewhere);
  std::fill(pages_.begin(), pages_.end(), Page::kElsewhere);
  std::fill(std::begin(counts_), std::end(counts_), 0);
  counts_[size_t(Page::kElsewhere)] = pages_.size();
  copies_.clear();
}

// --- Towards the program

TrackedPages::Block TrackedPages::missing_around(size_t offset) {
  const size_t page = offset / page_bytes();
  size_t first = page, end = page + 1, limit = pages_.size();
  if (memory_->bytes() <= kWholeBytesMax) {
    while (first > 0 && pages_[first - 1] == Page::kElsewhere) --first;
  } else {
    const size_t start = kFirstReadBytes / page_bytes();
    const bool in_order = page == next_read_ && read_pages_ > 0;
    read_pages_ = in_order ? std::min(2 * read_pages_, kReadBytesMax / page_bytes()) : start;
    limit = std::min(limit, page + read_pages_);
  }
  while (end < limit && pages_[end] == Page::kElsewhere) ++end;
  next_read_ = end;
  return {first * page_bytes(), (end - first) * page_bytes()};
}

bool TrackedPages::arrived(const Block& block) {
  const size_t first = block.offset / page_bytes();
  const size_t end = first + block.bytes / page_bytes();
  if (!protect(first, end, Page::kSame)) return false;
  for (size_t i = first; i < end; ++i) set(i, Page::kSame);
  return true;
}

bool TrackedPages::open_for_writing(size_t offset) {
  const size_t first = offset / page_bytes();
  assert(pages_[first] == Page::kSame);
  write_pages_ = first == next_write_ ? std::min(2 * write_pages_, kWritePagesMax) : 1;
  size_t end = first + 1;
  while (end < pages_.size() && end < first + write_pages_ && pages_[end] == Page::kSame) ++end;
  next_write_ = end;
  for (size_t i = first; i < end; ++i) {
    auto copy = std::make_unique<std::byte[]>(page_bytes());
    std::memcpy(copy.get(), memory_->ours() + i * page_bytes(), page_bytes());
    copies_[i] = std::move(copy);
  }
  if (!protect(first, end, Page::kChanged)) {
    for (size_t i = first; i < end; ++i) copies_.erase(i);
    return false;
  }
  for (size_t i = first; i < end; ++i) set(i, Page::kChanged);
  return true;
}

void TrackedPages::renew(const Block& block) {
  const size_t first = block.offset / page_bytes();
  const size_t end = first + block.bytes / page_bytes();
  std::memset(memory_->ours() + block.offset, 0, block.bytes);
  if (!protect(first, end, Page::kFresh)) return;
  for (size_t i = first; i < end; ++i) {
    copies_.erase(i);
    set(i, Page::kFresh);
  }
}

bool TrackedPages::restore(size_t offset) {
  const size_t page = offset / page_bytes();
  return protect(page, page + 1, pages_[page]);
}

}  // namespace farcall::client
