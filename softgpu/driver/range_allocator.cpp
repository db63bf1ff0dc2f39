#include "softgpu/driver/range_allocator.h"

#include <cassert>
#include <iterator>

namespace farcall::softgpu {

std::optional<uint64_t> RangeAllocator::take(uint64_t bytes, uint64_t alignment) {
  assert(bytes > 0 && (alignment & (alignment - 1)) == 0);
  const auto start = free_.lower_bound(cursor_);
  auto gap = start == free_.end() ? free_.begin() : start;
  for (size_t tried = 0; tried < free_.size(); ++tried) {
    const auto [base, size] = *gap;
    const uint64_t taken = (base + alignment - 1) & ~(alignment - 1);
    const uint64_t skipped = taken - base;
    if (skipped <= size && bytes <= size - skipped) {
      free_.erase(gap);
      if (skipped > 0) free_.emplace(base, skipped);
      if (skipped + bytes < size) free_.emplace(taken + bytes, size - skipped - bytes);
      cursor_ = taken + bytes;
      return taken;
    }
    if (++gap == free_.end()) gap = free_.begin();
  }
  return std::nullopt;
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
