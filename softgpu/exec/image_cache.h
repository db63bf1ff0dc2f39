// The textures and surfaces that a grid uses. Each is asked for once and then held until the grid
// is done, so one that the program destroys meanwhile stays what it was, and finding it costs no
// lock.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/types.h"

namespace farcall::softgpu {

class ImageCache {
 public:
  // nullptr: there is no such thing.
  const Texture* texture(const AddressSpace& memory, u64 number) {
    return static_cast<const Texture*>(find(memory, number, 0));
  }
  const Surface* surface(const AddressSpace& memory, u64 number) {
    return static_cast<const Surface*>(find(memory, number, 1));
  }

 private:
  struct Entry {
    u64 number;
    int kind;
    std::shared_ptr<const void> image;
  };
  static constexpr size_t kSlots = 16;

  const void* find(const AddressSpace& memory, u64 number, int kind) {
    std::atomic<const Entry*>& slot =
        slots_[(number >> 4 ^ number >> 12 ^ static_cast<u64>(kind)) % kSlots];
    const Entry* const entry = slot.load(std::memory_order_acquire);
    if (entry != nullptr && entry->number == number && entry->kind == kind)
      return entry->image.get();
    return find_slowly(memory, number, kind, slot);
  }
  const void* find_slowly(const AddressSpace& memory, u64 number, int kind,
                          std::atomic<const Entry*>& slot);

  std::array<std::atomic<const Entry*>, kSlots> slots_ = {};
  std::mutex mutex_;
  // By number and kind; guarded by mutex_, but entries never move or change.
  std::map<std::pair<u64, int>, Entry> entries_;
};

}  // namespace farcall::softgpu
