#include "client/allocations.h"

#include <mutex>

namespace farcall::client {

void Allocations::add(Allocation allocation) {
  const std::unique_lock lock(mutex_);
  allocation.id = next_id_++;
  by_address_[allocation.address] = allocation;
}

std::optional<Allocation> Allocations::remove(uint64_t address, MemoryKind kind) {
  const std::unique_lock lock(mutex_);
  const auto found = by_address_.find(address);
  if (found == by_address_.end() || found->second.kind != kind) return std::nullopt;
  const Allocation removed = found->second;
  by_address_.erase(found);
  return removed;
}

std::optional<Allocation> Allocations::find(uint64_t address) const {
  const std::shared_lock lock(mutex_);
  auto after = by_address_.upper_bound(address);
  if (after == by_address_.begin()) return std::nullopt;
  const Allocation& candidate = std::prev(after)->second;
  if (address - candidate.address >= candidate.bytes) return std::nullopt;
  return candidate;
}

void Allocations::remove_context(uint64_t context) {
  const std::unique_lock lock(mutex_);
  std::erase_if(by_address_, [&](const auto& entry) {
    return !is_pinned(entry.second.kind) && entry.second.context == context;
  });
}

uint64_t Allocations::device_bytes(int device) const {
  const std::shared_lock lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& [address, allocation] : by_address_) {
    if (allocation.kind == MemoryKind::kDevice && allocation.device == device) {
      bytes += allocation.bytes;
    }
  }
  return bytes;
}

}  // namespace farcall::client
