// What lies where: every range of memory CUDA knows of in this process, of all devices. Pointer
// queries, the checks of copies and the engine's question "may a kernel touch this host address?"
// are answered from here.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

namespace farcall::softgpu {

class Context;

struct Region {
  enum class Kind : uint8_t {
    kDevice,      // cuMemAlloc and its kin
    kPool,        // stream-ordered; freed by cuMemFreeAsync or cuMemFree
    kGraph,       // of an allocation node: freed with its graphs
    kVariable,    // of a module
    kArray,       // of a CUarray: not addressable by programs
    kMapped,      // by cuMemMap: a piece of a reserved range, for whom cuMemSetAccess said
    kImported,    // another process's, by cuIpcOpenMemHandle or cuMemPoolImportPointer
    kManaged,     // host and devices
    kHost,        // pinned by cuMemHostAlloc
    kRegistered,  // the program's own, pinned by cuMemHostRegister
  };
  uint64_t base = 0;
  size_t bytes = 0;
  Kind kind = Kind::kDevice;
  int device = 0;
  Context* context = nullptr;  // who made it, and whose end ends it
  unsigned flags = 0;          // those of the call that made it
  uint64_t id = 0;             // CU_POINTER_ATTRIBUTE_BUFFER_ID: never used twice
  // Bit n: device n may use it. Pools: beside their own device (cuMemPoolSetAccess). Mapped memory:
  // only those (cuMemSetAccess), and those of `readable_by` may read.
  uint32_t shared_with = 0, readable_by = 0;
  bool sync_memops = false;  // CU_POINTER_ATTRIBUTE_SYNC_MEMOPS
  // Advice about managed memory: without effect, but it can be asked for. Devices as in
  // cuMemAdvise.
  bool read_mostly = false;
  uint32_t accessed_by = 0;  // bit n: device n; the last bit: the host
  static constexpr uint32_t kHostBit = uint32_t{1} << 31;
  int preferred = kNoDevice, last_prefetch = kNoDevice;
  static constexpr int kNoDevice = -2;  // CU_DEVICE_INVALID

  uint64_t end() const { return base + bytes; }
  bool on_host() const { return kind >= Kind::kManaged; }  // the program may touch it
};

class MemoryMap {
 public:
  bool insert(Region region);  // gives it an id; false: overlaps one that is there
  std::optional<Region> remove(uint64_t base);
  std::optional<Region> find(uint64_t address) const;
  std::optional<Region> find_overlap(uint64_t base, size_t bytes) const;
  // False unless there is a region at exactly this base.
  template <class Change>
  bool update(uint64_t base, Change change) {
    std::unique_lock lock(mutex_);
    auto found = regions_.find(base);
    if (found == regions_.end()) return false;
    change(found->second);
    ++changes_;
    return true;
  }
  std::vector<Region> of_context(const Context* context) const;
  // Is all of the range mapped memory that some device may write, or at least read? It may consist
  // of several regions without gaps.
  bool mapped(uint64_t address, size_t bytes, bool write) const;
  std::vector<Region> all() const;

  // May kernels of the device read and write there? For the engine's inner loop: the last answer is
  // kept per thread until the map changes.
  bool kernel_visible(int device, uint64_t address, size_t bytes) const;
  void enable_peer(int device, int peer, bool enabled);

  // What lies at an address or near it, as seen by kernels of a device: "4 bytes past the end of a
  // 1024-byte allocation at 0x...".
  std::string describe(int device, uint64_t address) const;

 private:
  bool allows(int device, const Region& region) const;

  mutable std::shared_mutex mutex_;
  std::map<uint64_t, Region> regions_;  // guarded by mutex_
  // What was freed lately, for messages only; the oldest is overwritten.
  static constexpr size_t kFreedMax = 1024;
  std::vector<Region> freed_;  // guarded by mutex_
  size_t freed_next_ = 0;      // guarded by mutex_
  uint64_t next_id_ = 1;       // guarded by mutex_
  std::map<std::pair<int, int>, int>
      peers_;  // guarded by mutex_: how many contexts of a device may see the other
  std::atomic<uint64_t> changes_ = 1;
};

}  // namespace farcall::softgpu
