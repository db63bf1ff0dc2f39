#include "softgpu/exec/device_heap.h"

#include <fmt/format.h>

#include <iterator>

#include "softgpu/exec/unwritten.h"

namespace farcall::softgpu {

DeviceHeap::~DeviceHeap() {
  if (arena_ != nullptr) memory_.deallocate(arena_);
}

u64 DeviceHeap::allocate(u64 bytes) {
  if (bytes > bytes_) return 0;
  const u64 size = bytes == 0 ? kAlignment : (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex_);
  if (arena_ == nullptr) {
    arena_ = memory_.allocate(bytes_, 256);
    if (arena_ == nullptr) return 0;
    free_.emplace(reinterpret_cast<u64>(arena_), bytes_);
  }
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < size) continue;
    const u64 address = it->first, rest = it->second - size;
    free_.erase(it);
    if (rest != 0) free_.emplace(address + size, rest);
    allocated_.emplace(address, Size{size, bytes});
    if (UnwrittenBytes* const unwritten = memory_.unwritten()) {
      unwritten->set_unwritten(address, bytes);
    }
    return address;
  }
  return 0;
}

bool DeviceHeap::release(u64 address) {
  const std::lock_guard lock(mutex_);
  const auto found = allocated_.find(address);
  if (found == allocated_.end()) return false;
  auto [it, added] = free_.emplace(address, found->second.rounded);
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

bool DeviceHeap::used() const {
  const std::lock_guard lock(mutex_);
  return arena_ != nullptr;
}

bool DeviceHeap::among_blocks(u64 address) const {
  const std::lock_guard lock(mutex_);
  return arena_ != nullptr && address - reinterpret_cast<u64>(arena_) < bytes_;
}

bool DeviceHeap::holds(u64 address, u64 bytes) const {
  const std::lock_guard lock(mutex_);
  auto after = allocated_.upper_bound(address);
  if (after == allocated_.begin()) return false;
  const auto& [start, size] = *std::prev(after);
  return address - start <= size.asked && bytes <= size.asked - (address - start);
}

std::string DeviceHeap::describe(u64 address) const {
  if (!among_blocks(address)) return {};
  const std::lock_guard lock(mutex_);
  auto after = allocated_.upper_bound(address);
  if (after != allocated_.begin()) {
    const auto& [start, size] = *std::prev(after);
    if (address - start < size.asked) {
      return fmt::format("byte {} of {} bytes that malloc() of a kernel gave", address - start,
                         size.asked);
    }
    const u64 slack = size.rounded == size.asked ? kAlignment : 0;
    if (address - start < size.rounded + slack) {
      return fmt::format("{} bytes past the end of {} bytes that malloc() of a kernel gave",
                         address - start - size.asked, size.asked);
    }
  }
  return "the heap of malloc() of kernels, in no block that is in use";
}

}  // namespace farcall::softgpu
