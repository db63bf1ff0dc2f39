#include "softgpu/exec/device_heap.h"

#include <iterator>

namespace farcall::softgpu {

DeviceHeap::~DeviceHeap() {
  if (arena_ != nullptr) memory_.deallocate(arena_);
}

u64 DeviceHeap::allocate(u64 bytes) {
  if (bytes > kHeapBytes) return 0;
  const u64 size = bytes == 0 ? kAlignment : (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex_);
  if (arena_ == nullptr) {
    arena_ = memory_.allocate(kHeapBytes, 256);
    if (arena_ == nullptr) return 0;
    free_.emplace(reinterpret_cast<u64>(arena_), kHeapBytes);
  }
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < size) continue;
    const u64 address = it->first, rest = it->second - size;
    free_.erase(it);
    if (rest != 0) free_.emplace(address + size, rest);
    allocated_.emplace(address, size);
    return address;
  }
  return 0;
}

bool DeviceHeap::release(u64 address) {
  const std::lock_guard lock(mutex_);
  const auto found = allocated_.find(address);
  if (found == allocated_.end()) return false;
  auto [it, added] = free_.emplace(address, found->second);
  allocated_.erase(found);
  if (const auto next = std::next(it);
      next != free_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it != free_.begin()) {
    if (const auto previous = std::prev(it); previous->first + previous->second == it->first) {
      previous->second += it->second;
      free_.erase(it);
    }
  }
  return true;
}

}  // namespace farcall::softgpu
