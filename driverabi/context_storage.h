// Context local storage: (context, key) -> (value, destructor). NVIDIA's runtime, in as many copies
// as the process holds, looks its per-context state up here before almost every call: a lookup
// takes no lock and writes nothing. Puts and removals are rare and take a mutex.
//
// How: one open-addressed table under a sequence counter that is odd while a writer works; a reader
// that saw it odd or changed tries again. Tables that were outgrown are kept, because a reader
// may still look at them; they double, so all of them together are smaller than the last.
#pragma once

#include <cuda.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace farcall::driverabi {

class ContextStorage {
 public:
  using Destructor = void (*)(CUcontext context, void* key, void* value);

  ContextStorage();
  ~ContextStorage();  // only when nobody reads any more; the driver's own is never destroyed

  // Replaces what was there, without running its destructor.
  void put(CUcontext context, void* key, void* value, Destructor destructor);
  bool remove(CUcontext context, void* key);                   // false: nothing there
  bool get(CUcontext context, void* key, void** value) const;  // lock-free; false: nothing there
  // Removes all of a context's entries, then runs their destructors, which may use the storage
  // themselves.
  void destroy(CUcontext context);

 private:
  struct Slot {  // context nullptr: free
    std::atomic<CUcontext> context{nullptr};
    std::atomic<void*> key{nullptr};
    std::atomic<void*> value{nullptr};
    Destructor destructor = nullptr;  // read and written under mutex_ only
  };
  struct Table {
    Table(size_t capacity, std::unique_ptr<Table> outgrown)
        : mask(capacity - 1), slots(new Slot[capacity]), outgrown(std::move(outgrown)) {}
    const size_t mask;  // capacity - 1, a power of two minus one
    const std::unique_ptr<Slot[]> slots;
    const std::unique_ptr<Table> outgrown;
  };
  struct Entry {
    CUcontext context;
    void* key;
    void* value;
    Destructor destructor;
  };

  static size_t hash(CUcontext context, void* key);
  Slot* find(CUcontext context, void* key) const;   // under mutex_
  void rebuild(const std::vector<Entry>& entries);  // under mutex_
  std::vector<Entry> entries() const;               // under mutex_

  mutable std::mutex mutex_;
  std::atomic<uint64_t> sequence_{0};
  std::atomic<Table*> table_;
};

}  // namespace farcall::driverabi
