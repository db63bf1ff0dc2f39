#include "softgpu/exec/image_cache.h"

namespace farcall::softgpu {

const void* ImageCache::find_slowly(const AddressSpace& memory, u64 number, int kind,
                                    std::atomic<const Entry*>& slot) {
  const std::lock_guard lock(mutex_);
  auto found = entries_.find({number, kind});
  if (found == entries_.end()) {
    std::shared_ptr<const void> image;
    if (kind == 0)
      image = memory.texture(number);
    else
      image = memory.surface(number);
    if (image == nullptr) return nullptr;
    found = entries_.emplace(std::pair(number, kind), Entry{number, kind, std::move(image)}).first;
  }
  slot.store(&found->second, std::memory_order_release);
  return found->second.image.get();
}

}  // namespace farcall::softgpu
