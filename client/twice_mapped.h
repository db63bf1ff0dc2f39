// Host memory that is mapped twice: where the program sees it, with a protection that changes, and
// once more for us, always open. So bytes arrive in a page before the program can look at it, and
// what the program has written is read without opening anything; system calls of ours never meet a
// closed page. All of it is pieces of one file without a name, which also knows which pages were
// ever touched. A transport that shares memory with the server would hand it the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace farcall::client {

size_t page_bytes();
size_t round_to_pages(size_t bytes);

class TwiceMapped {
 public:
  // At `wanted` or nowhere; 0: anywhere. Zeros, open to the program. Null: no room there, or no
  // memory.
  static std::unique_ptr<TwiceMapped> make(uint64_t wanted, size_t bytes);
  ~TwiceMapped();
  TwiceMapped(const TwiceMapped&) = delete;
  TwiceMapped& operator=(const TwiceMapped&) = delete;

  std::byte* program() const { return program_; }
  std::byte* ours() const { return ours_; }
  size_t bytes() const { return bytes_; }  // whole pages

  // What the program may do there. False: Linux has no room for so many differences.
  bool protect(size_t offset, size_t bytes, int protection) const;
  // The first stretch from `offset` on that somebody has touched, as [begin, end).
  std::optional<std::pair<size_t, size_t>> touched(size_t offset) const;
  // Children of this process don't get it: they can't keep it coherent.
  void keep_from_children() const;

 private:
  TwiceMapped() = default;

  std::byte* program_ = nullptr;
  std::byte* ours_ = nullptr;
  size_t bytes_ = 0;
  uint64_t in_file_ = 0;
};

}  // namespace farcall::client
