// Hands out address ranges: first fit after the last range handed out, so that an address is not
// used again soon after it was freed and a stale pointer hits nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace farcall::softgpu {

class RangeAllocator {
 public:
  // give() says what there is.
  RangeAllocator() = default;

  // `alignment` is a power of two. nullopt: no gap is large enough.
  std::optional<uint64_t> take(uint64_t bytes, uint64_t alignment);
  // Exactly this range; false: some of it is taken.
  bool take_at(uint64_t base, uint64_t bytes);
  void give(uint64_t base, uint64_t bytes);

 private:
  std::optional<uint64_t> take_from(uint64_t low, uint64_t bytes, uint64_t alignment);

  std::map<uint64_t, uint64_t> free_;  // base -> bytes; neighbours are merged
  uint64_t cursor_ = 0;
};

}  // namespace farcall::softgpu
