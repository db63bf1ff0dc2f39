#include "rpc/handle_table.h"

#include <cassert>
#include <mutex>

namespace farcall::rpc {
namespace {

constexpr size_t kTypeCount = static_cast<size_t>(HandleType::kCount);
// 16 KiB of slots: what a session with one object of a type pays for it.
constexpr uint32_t kPageSlots = 1024;
constexpr uint32_t kPages = kHandleIndexMax / kPageSlots;
static_assert(kHandleIndexMax % kPageSlots == 0);
// A server's devices; CUDA itself allows fewer.
constexpr uint32_t kPrimaryContextsMax = 256;

struct Slot {
  void* object = nullptr;  // nullptr: free
  uint32_t generation = 0;
};

// Slots by index, in pages made on first use.
class Slots {
 public:
  Slot* find(uint32_t index) {
    if (index >= kHandleIndexMax || index / kPageSlots >= pages_.size()) return nullptr;
    const auto& page = pages_[index / kPageSlots];
    return page ? &page[index % kPageSlots] : nullptr;
  }
  // index < kHandleIndexMax
  Slot& at(uint32_t index) {
    if (pages_.size() <= index / kPageSlots) pages_.resize(index / kPageSlots + 1);
    auto& page = pages_[index / kPageSlots];
    if (!page) page = std::make_unique<Slot[]>(kPageSlots);
    return page[index % kPageSlots];
  }
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& page : pages_) {
      for (uint32_t i = 0; page && i < kPageSlots; ++i) {
        if (page[i].object != nullptr) visit(page[i]);
      }
    }
  }

 private:
  std::vector<std::unique_ptr<Slot[]>> pages_;
};

}  // namespace

// --- HandleTable ---------------------------------------------------------------------------------

struct HandleTable::Type {
  // Three spaces of indices that don't meet: whose id it is shows in the id.
  Slots client, server, primary;
  std::unordered_map<const void*, HandleId> ids;
  std::vector<uint32_t> server_free;
  uint32_t server_next = 0;

  // The space of an id and the index there; nullptr if the index is out of bounds.
  Slots* space(HandleId id, uint32_t* index) {
    *index = handle_index(id);
    if (handle_generation(id) == kPrimaryContextGeneration) {
      return *index < kPrimaryContextsMax ? &primary : nullptr;
    }
    Slots* const slots = (*index & kServerMinted) != 0 ? &server : &client;
    *index &= ~kServerMinted;
    return *index < kHandleIndexMax ? slots : nullptr;
  }
  Slot* live(HandleId id) {
    uint32_t index;
    Slots* const slots = space(id, &index);
    Slot* const slot = slots != nullptr ? slots->find(index) : nullptr;
    const bool alive =
        slot != nullptr && slot->object != nullptr && slot->generation == handle_generation(id);
    return alive ? slot : nullptr;
  }
};

HandleTable::HandleTable() : types_(std::make_unique<Type[]>(kTypeCount)) {}
HandleTable::~HandleTable() = default;

HandleTable::Type* HandleTable::type_of(HandleType type) const {
  const auto index = static_cast<size_t>(type);
  return index > 0 && index < kTypeCount ? &types_[index] : nullptr;
}

Status HandleTable::bind(HandleId id, HandleType type, void* object) {
  assert(object != nullptr);
  Type* const of = type_of(type);
  if (of == nullptr || handle_type(id) != type) return Status::kProtocol;
  if ((handle_index(id) & kServerMinted) != 0) return Status::kProtocol;
  const std::lock_guard guard(lock_);
  uint32_t index;
  Slots* const slots = of->space(id, &index);
  if (slots == nullptr) return Status::kProtocol;
  Slot& slot = slots->at(index);
  if (slot.object != nullptr) return Status::kProtocol;
  slot = {.object = object, .generation = handle_generation(id)};
  of->ids[object] = id;
  return Status::kOk;
}

void* HandleTable::find(HandleId id, HandleType type) const {
  Type* const of = type_of(type);
  if (of == nullptr || handle_type(id) != type) return nullptr;
  const std::lock_guard guard(lock_);
  Slot* const slot = of->live(id);
  return slot != nullptr ? slot->object : nullptr;
}

void* HandleTable::unbind(HandleId id, HandleType type) {
  Type* const of = type_of(type);
  if (of == nullptr || handle_type(id) != type) return nullptr;
  const std::lock_guard guard(lock_);
  Slot* const slot = of->live(id);
  if (slot == nullptr) return nullptr;
  void* const object = slot->object;
  slot->object = nullptr;
  const auto known = of->ids.find(object);
  if (known != of->ids.end() && known->second == id) of->ids.erase(known);
  if ((handle_index(id) & kServerMinted) != 0) {
    of->server_free.push_back(handle_index(id) & ~kServerMinted);
  }
  return object;
}

HandleId HandleTable::id_of(HandleType type, const void* object) const {
  Type* const of = type_of(type);
  if (of == nullptr) return 0;
  const std::lock_guard guard(lock_);
  const auto known = of->ids.find(object);
  return known != of->ids.end() ? known->second : 0;
}

HandleId HandleTable::intern(HandleType type, void* object) {
  assert(object != nullptr);
  Type* const of = type_of(type);
  if (of == nullptr) return 0;
  const std::lock_guard guard(lock_);
  const auto known = of->ids.find(object);
  if (known != of->ids.end()) return known->second;
  uint32_t index;
  if (!of->server_free.empty()) {
    index = of->server_free.back();
    of->server_free.pop_back();
  } else if (of->server_next < kHandleIndexMax) {
    index = of->server_next++;
  } else {
    return 0;
  }
  Slot& slot = of->server.at(index);
  const uint32_t generation = slot.generation % (kPrimaryContextGeneration - 1) + 1;
  slot = {.object = object, .generation = generation};
  const HandleId id = make_handle_id(type, generation, index | kServerMinted);
  of->ids[object] = id;
  return id;
}

size_t HandleTable::count(HandleType type) const { return objects(type).size(); }

std::vector<void*> HandleTable::objects(HandleType type) const {
  std::vector<void*> found;
  Type* const of = type_of(type);
  if (of == nullptr) return found;
  const std::lock_guard guard(lock_);
  for (const Slots* slots : {&of->client, &of->server, &of->primary}) {
    slots->each([&](const Slot& slot) { found.push_back(slot.object); });
  }
  return found;
}

// --- HandleMinter --------------------------------------------------------------------------------

namespace {

// A slot's word is its generation, and this bit while an object has it.
constexpr uint32_t kAlive = 1u << 31;

using MinterPage = std::array<std::atomic<uint32_t>, kPageSlots>;

}  // namespace

struct HandleMinter::Type {
  std::atomic<MinterPage*> pages[kPages] = {};  // owned; never freed before the minter is
  std::vector<uint32_t> free;                   // guarded by the minter's lock, as `next`
  uint32_t next = 0;

  ~Type() {
    for (auto& page : pages) delete page.load(std::memory_order_relaxed);
  }
  // index < kHandleIndexMax
  std::atomic<uint32_t>* slot(uint32_t index) const {
    MinterPage* const page = pages[index / kPageSlots].load(std::memory_order_acquire);
    return page != nullptr ? &(*page)[index % kPageSlots] : nullptr;
  }
};

HandleMinter::HandleMinter() : types_(std::make_unique<Type[]>(kTypeCount)) {}
HandleMinter::~HandleMinter() = default;

HandleId HandleMinter::mint(HandleType type) {
  assert(type > HandleType::kNone && type < HandleType::kCount);
  Type& of = types_[static_cast<size_t>(type)];
  const std::lock_guard guard(lock_);
  uint32_t index;
  if (!of.free.empty()) {
    index = of.free.back();
    of.free.pop_back();
  } else if (of.next < kHandleIndexMax) {
    index = of.next++;
    if (index % kPageSlots == 0) {
      of.pages[index / kPageSlots].store(new MinterPage(), std::memory_order_release);
    }
  } else {
    return 0;
  }
  std::atomic<uint32_t>& slot = *of.slot(index);
  // From 1, and never the primary contexts' own.
  const uint32_t generation =
      slot.load(std::memory_order_relaxed) % (kPrimaryContextGeneration - 1) + 1;
  slot.store(generation | kAlive, std::memory_order_relaxed);
  return make_handle_id(type, generation, index);
}

void HandleMinter::release(HandleId id) {
  const HandleType type = handle_type(id);
  const std::lock_guard guard(lock_);
  if ((handle_index(id) & kServerMinted) != 0 || !alive(id, type)) return;
  Type& of = types_[static_cast<size_t>(type)];
  of.slot(handle_index(id))->store(handle_generation(id), std::memory_order_relaxed);
  of.free.push_back(handle_index(id));
}

bool HandleMinter::alive(HandleId id, HandleType type) const {
  if (handle_type(id) != type || type == HandleType::kNone || type >= HandleType::kCount) {
    return false;
  }
  const uint32_t index = handle_index(id);
  if ((index & kServerMinted) != 0) return true;
  if (index >= kHandleIndexMax) return false;
  const auto* const slot = types_[static_cast<size_t>(type)].slot(index);
  return slot != nullptr &&
         slot->load(std::memory_order_relaxed) == (handle_generation(id) | kAlive);
}

size_t HandleMinter::count(HandleType type) const {
  const std::lock_guard guard(lock_);
  const Type& of = types_[static_cast<size_t>(type)];
  return of.next - of.free.size();
}

}  // namespace farcall::rpc
