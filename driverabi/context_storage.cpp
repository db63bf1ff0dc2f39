#include "driverabi/context_storage.h"

#include <algorithm>
#include <cassert>

namespace farcall::driverabi {
namespace {

constexpr size_t kCapacityMin = 64;  // a process has a handful of runtime copies and contexts

}  // namespace

ContextStorage::ContextStorage() : table_(new Table(kCapacityMin, nullptr)) {}

ContextStorage::~ContextStorage() { delete table_.load(); }

size_t ContextStorage::hash(CUcontext context, void* key) {
  const auto a = reinterpret_cast<uintptr_t>(context), b = reinterpret_cast<uintptr_t>(key);
  const uint64_t mixed = (a ^ (b << 1 | b >> 63)) * 0x9e3779b97f4a7c15;  // 2^64 / golden ratio
  return static_cast<size_t>(mixed >> 32);
}

bool ContextStorage::get(CUcontext context, void* key, void** value) const {
  for (;;) {
    const uint64_t before = sequence_.load(std::memory_order_acquire);
    if (before & 1) continue;
    const Table* table = table_.load(std::memory_order_acquire);
    void* found = nullptr;
    bool hit = false;
    // Bounded: while a writer works, no free slot may be in sight.
    for (size_t step = 0; step <= table->mask; ++step) {
      const Slot& slot = table->slots[(hash(context, key) + step) & table->mask];
      const CUcontext owner = slot.context.load(std::memory_order_acquire);
      if (owner == nullptr) break;
      if (owner != context || slot.key.load(std::memory_order_acquire) != key) continue;
      found = slot.value.load(std::memory_order_acquire);
      hit = true;
      break;
    }
    // The acquire loads above keep this one behind them; writers publish an odd number before they
    // touch a slot.
    if (sequence_.load(std::memory_order_relaxed) != before) continue;
    if (hit) *value = found;
    return hit;
  }
}

ContextStorage::Slot* ContextStorage::find(CUcontext context, void* key) const {
  const Table* table = table_.load(std::memory_order_relaxed);
  for (size_t at = hash(context, key);; ++at) {
    Slot& slot = table->slots[at & table->mask];
    if (slot.context == nullptr) return nullptr;
    if (slot.context == context && slot.key == key) return &slot;
  }
}

std::vector<ContextStorage::Entry> ContextStorage::entries() const {
  std::vector<Entry> out;
  const Table* table = table_.load(std::memory_order_relaxed);
  for (size_t i = 0; i <= table->mask; ++i) {
    const Slot& slot = table->slots[i];
    if (slot.context != nullptr)
      out.push_back({slot.context, slot.key, slot.value, slot.destructor});
  }
  return out;
}

// Writes everything anew: with a few entries that is cheaper to get right than moving slots about.
void ContextStorage::rebuild(const std::vector<Entry>& entries) {
  Table* table = table_.load(std::memory_order_relaxed);
  size_t capacity = table->mask + 1;
  while (entries.size() * 2 > capacity) capacity *= 2;

  sequence_.fetch_add(1);  // odd: readers wait
  if (capacity != table->mask + 1) {
    table = new Table(capacity, std::unique_ptr<Table>(table));
  } else {
    for (size_t i = 0; i < capacity; ++i) {
      table->slots[i].context.store(nullptr, std::memory_order_release);
    }
  }
  for (const Entry& entry : entries) {
    size_t at = hash(entry.context, entry.key);
    while (table->slots[at & table->mask].context.load(std::memory_order_relaxed) != nullptr) ++at;
    Slot& slot = table->slots[at & table->mask];
    slot.key.store(entry.key, std::memory_order_release);
    slot.value.store(entry.value, std::memory_order_release);
    slot.destructor = entry.destructor;
    slot.context.store(entry.context, std::memory_order_release);
  }
  table_.store(table, std::memory_order_release);
  sequence_.fetch_add(1, std::memory_order_release);
}

void ContextStorage::put(CUcontext context, void* key, void* value, Destructor destructor) {
  assert(context != nullptr);
  const std::lock_guard lock(mutex_);
  if (Slot* slot = find(context, key)) {
    slot->value.store(value,
                      std::memory_order_release);  // one word: readers see the old or the new
    slot->destructor = destructor;
    return;
  }
  std::vector<Entry> all = entries();
  all.push_back({context, key, value, destructor});
  rebuild(all);
}

bool ContextStorage::remove(CUcontext context, void* key) {
  const std::lock_guard lock(mutex_);
  if (find(context, key) == nullptr) return false;
  std::vector<Entry> all = entries();
  std::erase_if(all, [&](const Entry& e) { return e.context == context && e.key == key; });
  rebuild(all);
  return true;
}

void ContextStorage::destroy(CUcontext context) {
  std::vector<Entry> gone;
  {
    const std::lock_guard lock(mutex_);
    std::vector<Entry> all = entries();
    const auto kept = std::stable_partition(all.begin(), all.end(),
                                            [&](const Entry& e) { return e.context != context; });
    gone.assign(kept, all.end());
    if (gone.empty()) return;
    all.erase(kept, all.end());
    rebuild(all);
  }
  for (const Entry& entry : gone) {
    if (entry.destructor != nullptr) entry.destructor(entry.context, entry.key, entry.value);
  }
}

}  // namespace farcall::driverabi
