#include "softgpu/driver/memory_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <mutex>

namespace farcall::softgpu {

bool MemoryMap::insert(Region region) {
  std::unique_lock lock(mutex_);
  auto after = regions_.lower_bound(region.base);
  if (after != regions_.end() && after->first < region.end()) return false;
  if (after != regions_.begin() && std::prev(after)->second.end() > region.base) return false;
  region.id = next_id_++;
  regions_.emplace_hint(after, region.base, region);
  ++changes_;
  return true;
}

std::optional<Region> MemoryMap::remove(uint64_t base) {
  std::unique_lock lock(mutex_);
  auto found = regions_.find(base);
  if (found == regions_.end()) return std::nullopt;
  Region region = found->second;
  regions_.erase(found);
  ++changes_;
  if (freed_.size() < kFreedMax) {
    freed_.push_back(region);
  } else {
    freed_[freed_next_] = region;
  }
  freed_next_ = (freed_next_ + 1) % kFreedMax;
  return region;
}

std::optional<Region> MemoryMap::find(uint64_t address) const {
  std::shared_lock lock(mutex_);
  auto after = regions_.upper_bound(address);
  if (after == regions_.begin()) return std::nullopt;
  const Region& region = std::prev(after)->second;
  if (address >= region.end()) return std::nullopt;
  return region;
}

std::optional<Region> MemoryMap::find_overlap(uint64_t base, size_t bytes) const {
  if (std::optional<Region> region = find(base)) return region;
  std::shared_lock lock(mutex_);
  auto after = regions_.upper_bound(base);
  if (after == regions_.end() || after->first - base >= bytes) return std::nullopt;
  return after->second;
}

std::vector<Region> MemoryMap::of_context(const Context* context) const {
  std::shared_lock lock(mutex_);
  std::vector<Region> found;
  for (const auto& [base, region] : regions_) {
    if (region.context == context) found.push_back(region);
  }
  return found;
}

bool MemoryMap::mapped(uint64_t address, size_t bytes, bool write) const {
  std::shared_lock lock(mutex_);
  auto region = regions_.upper_bound(address);
  if (region == regions_.begin() || bytes > UINT64_MAX - address) return false;
  const uint64_t end = address + bytes;
  for (--region; region != regions_.end(); ++region) {
    const Region& piece = region->second;
    const uint32_t may = piece.shared_with | (write ? 0 : piece.readable_by);
    if (piece.base > address || piece.end() <= address || piece.kind != Region::Kind::kMapped ||
        may == 0) {
      return false;
    }
    if (end <= piece.end()) return true;
    address = piece.end();
  }
  return false;
}

std::vector<Region> MemoryMap::all() const {
  std::shared_lock lock(mutex_);
  std::vector<Region> found;
  for (const auto& [base, region] : regions_) found.push_back(region);
  return found;
}

bool MemoryMap::allows(int device, const Region& region) const {
  if (region.kind == Region::Kind::kArray) return false;
  if (region.kind == Region::Kind::kMapped) {
    return ((region.shared_with | region.readable_by) >> device & 1) != 0;
  }
  if (region.on_host() || region.device == device) return true;
  if ((region.shared_with >> device & 1) != 0) return true;
  auto peers = peers_.find({device, region.device});
  return peers != peers_.end() && peers->second > 0;
}

bool MemoryMap::kernel_visible(int device, uint64_t address, size_t bytes) const {
  struct Last {
    uint64_t changes = 0, begin = 0, end = 0;
    int device = -1;
  };
  static thread_local Last last;
  const uint64_t changes = changes_.load(std::memory_order_acquire);
  if (last.changes == changes && last.device == device && address >= last.begin &&
      address < last.end && bytes <= last.end - address) {
    return true;
  }
  std::shared_lock lock(mutex_);
  auto after = regions_.upper_bound(address);
  if (after == regions_.begin()) return false;
  const Region& region = std::prev(after)->second;
  if (address >= region.end() || !allows(device, region)) return false;
  if (const uint64_t here = region.end() - address; bytes > here) {
    if (region.kind != Region::Kind::kMapped) return false;
    // The pieces of a reserved range lie side by side.
    const uint64_t end = region.end();
    lock.unlock();
    return kernel_visible(device, end, bytes - here);
  }
  last = {changes, region.base, region.end(), device};
  return true;
}

namespace {

// "a 1024-byte allocation at 0x..."
std::string name_of(const Region& region) {
  const char* kind = "allocation";
  switch (region.kind) {
    case Region::Kind::kVariable:
      kind = "block of module variables";
      break;
    case Region::Kind::kArray:
      kind = "array";
      break;
    case Region::Kind::kManaged:
      kind = "managed allocation";
      break;
    case Region::Kind::kHost:
      kind = "pinned host allocation";
      break;
    case Region::Kind::kRegistered:
      kind = "registered range of host memory";
      break;
    default:
      break;
  }
  return fmt::format("a {}-byte {} at {:#x}", region.bytes, kind, region.base);
}

}  // namespace

std::string MemoryMap::describe(int device, uint64_t address) const {
  constexpr uint64_t kNullEnd = 1 << 16;
  constexpr uint64_t kNear = uint64_t{1} << 20;  // farther away nobody meant that allocation
  if (address == 0) return "a null pointer";
  if (address < kNullEnd) return fmt::format("{} bytes from a null pointer", address);
  std::shared_lock lock(mutex_);
  const auto after = regions_.upper_bound(address);
  const Region* below = after == regions_.begin() ? nullptr : &std::prev(after)->second;
  if (below != nullptr && address < below->end()) {
    const uint64_t offset = address - below->base;
    if (below->kind == Region::Kind::kArray) {
      return fmt::format("inside {}, which only textures and surfaces may name", name_of(*below));
    }
    if (!allows(device, *below)) {
      return fmt::format("byte {} of {} of device {}, to which device {} has no access", offset,
                         name_of(*below), below->device, device);
    }
    return fmt::format("byte {} of {}", offset, name_of(*below));
  }
  for (size_t i = freed_.size(); i-- > 0;) {  // the youngest first
    const Region& region = freed_[(freed_next_ + i) % freed_.size()];
    if (address - region.base < region.bytes) {
      return fmt::format("byte {} of {}, which was freed", address - region.base, name_of(region));
    }
  }
  const uint64_t past = below == nullptr ? kNear : address - below->end();
  const uint64_t before = after == regions_.end() ? kNear : after->first - address;
  if (past < kNear && past <= before) {
    return fmt::format("{} bytes past the end of {}", past, name_of(*below));
  }
  if (before < kNear) return fmt::format("{} bytes before {}", before, name_of(after->second));
  return "near no allocation; of the host's memory, kernels may use what is pinned, registered or "
         "managed";
}

void MemoryMap::enable_peer(int device, int peer, bool enabled) {
  std::unique_lock lock(mutex_);
  peers_[{device, peer}] += enabled ? 1 : -1;
  ++changes_;
}

}  // namespace farcall::softgpu
