// The opaque handles that programs hold: a number, never a pointer, so that a stale or invented one
// is an error and not a crash. A number is used once. Bits 40-47 say what kind of object it is
// (CUfunction and CUkernel may stand for each other), the low bits count in steps of 16, above the
// small values with a meaning of their own such as CU_STREAM_LEGACY.
//
// The table owns its objects together with whoever else needs them (work in flight, a parent):
// find() gives a reference that stays good when another thread destroys the handle meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace farcall::softgpu {

enum class HandleKind : uint8_t {
  kContext = 0x11,
  kStream,
  kEvent,
  kModule,
  kFunction,
  kLibrary,
  kKernel,
  kArray,
  kMipmappedArray,
  kPool,
  kGraph,
  kGraphNode,
  kGraphExec,
  kLinkState,
  kUserObject,
  kPhysicalMemory,
  kCondition,
  kTexture,
  kSurface,
  kExternalMemory,
};

template <class Object, class Handle, HandleKind kKind>
class HandleTable {
 public:
  static bool is_kind(const void* handle) {
    return reinterpret_cast<uintptr_t>(handle) >> 40 == static_cast<uintptr_t>(kKind);
  }

  Handle insert(std::shared_ptr<Object> object) {
    std::unique_lock lock(mutex_);
    const uintptr_t number = static_cast<uintptr_t>(kKind) << 40 | next_;
    next_ += 16;
    objects_.emplace(number, std::move(object));
    return reinterpret_cast<Handle>(number);
  }
  std::shared_ptr<Object> find(const void* handle) const {
    std::shared_lock lock(mutex_);
    auto found = objects_.find(reinterpret_cast<uintptr_t>(handle));
    return found == objects_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Object> remove(const void* handle) {
    std::unique_lock lock(mutex_);
    auto found = objects_.find(reinterpret_cast<uintptr_t>(handle));
    if (found == objects_.end()) return nullptr;
    std::shared_ptr<Object> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }
  // The removed objects are destroyed after the lock is released: their destructors may use the
  // tables.
  template <class Predicate>
  void remove_if(Predicate predicate) {
    std::vector<std::shared_ptr<Object>> removed;
    std::unique_lock lock(mutex_);
    for (auto entry = objects_.begin(); entry != objects_.end();) {
      if (predicate(*entry->second)) {
        removed.push_back(std::move(entry->second));
        entry = objects_.erase(entry);
      } else {
        ++entry;
      }
    }
    lock.unlock();
  }
  std::vector<std::shared_ptr<Object>> all() const {
    std::shared_lock lock(mutex_);
    std::vector<std::shared_ptr<Object>> objects;
    for (const auto& [number, object] : objects_) objects.push_back(object);
    return objects;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<uintptr_t, std::shared_ptr<Object>> objects_;  // guarded by mutex_
  uintptr_t next_ = 16;                                             // guarded by mutex_
};

}  // namespace farcall::softgpu
