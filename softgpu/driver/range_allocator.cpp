#include "softgpu/driver/range_allocator.h"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace farcall::softgpu {

std::optional<uint64_t> RangeAllocator::take(uint64_t bytes, uint64_t alignment) {
  assert(bytes > 0 && (alignment & (alignment - 1)) == 0);
  if (std::optional<uint64_t> after = take_from(cursor_, bytes, alignment)) return after;
  return take_from(0, bytes, alignment);
}

// The first fit at or above `low`.
std::optional<uint64_t> RangeAllocator::take_from(uint64_t low, uint64_t bytes,
                                                  uint64_t alignment) {
  auto gap = free_.upper_bound(low);
  if (gap != free_.begin()) --gap;  // the one `low` may lie in
  for (; gap != free_.end(); ++gap) {
    const auto [base, size] = *gap;
    const uint64_t end = base + size;
    const uint64_t taken = (std::max(base, low) + alignment - 1) & ~(alignment - 1);
    if (taken > end || bytes > end - taken) continue;
    free_.erase(gap);
    if (taken > base) free_.emplace(base, taken - base);
    if (taken + bytes < end) free_.emplace(taken + bytes, end - taken - bytes);
    cursor_ = taken + bytes;
    return taken;
  }
  return std::nullopt;
}

bool RangeAllocator::take_at(uint64_t base, uint64_t bytes) {
  auto gap = free_.upper_bound(base);
  if (gap == free_.begin()) return false;
  --gap;
  const auto [start, size] = *gap;
  const uint64_t end = start + size;
  if (base >= end || bytes > end - base) return false;
  free_.erase(gap);
  if (base > start) free_.emplace(start, base - start);
  if (base + bytes < end) free_.emplace(base + bytes, end - base - bytes);
  return true;
}

void RangeAllocator::give(uint64_t base, uint64_t bytes) {
  auto after = free_.lower_bound(base);
  assert(after == free_.end() || base + bytes <= after->first);
  if (after != free_.end() && base + bytes == after->first) {
    bytes += after->second;
    after = free_.erase(after);
  }
  if (after != free_.begin()) {
    auto before = std::prev(after);
    assert(before->first + before->second <= base);
    if (before->first + before->second == base) {
      before->second += bytes;
      return;
    }
  }
  free_.emplace(base, bytes);
}

}  // namespace farcall::softgpu
