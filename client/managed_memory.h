// Managed memory of both APIs: where it lies, and what the program has advised about it. Large
// allocations have blocks of their own; small ones share a block, whole pages each. How it is kept
// coherent: client/visible_memory.h.
//
// Advice moves nothing here: memory is on the device, and what the program touches comes. It is
// kept, and told again. Results are CUresults.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "client/allocations.h"
#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

class FARCALL_API ManagedMemory {
 public:
  int allocate(Session& session, size_t bytes, unsigned flags, uint64_t* address);
  int free(Session& session, const Allocation& allocation);
  void forget_context(uint64_t context);

  // CU_DEVICE_CPU and CU_DEVICE_INVALID are devices, too.
  struct Advice {
    bool read_mostly = false;
    int preferred = CU_DEVICE_INVALID;
    int last_prefetch = CU_DEVICE_INVALID;
    uint64_t accessed_by = 0;  // a bit for each device
    bool accessed_by_host = false;
  };
  // Of the allocation that begins there.
  Advice advice(uint64_t address) const;
  template <class Change>
  void advise(uint64_t address, const Change& change) {
    const std::lock_guard lock(mutex_);
    change(advice_[address]);
  }

 private:
  struct Block {
    uint64_t context = 0;
    std::vector<bool> taken, used;  // by page; used: was given out before
  };

  mutable std::mutex mutex_;  // guards what follows
  std::map<uint64_t, Block> shared_;
  std::map<uint64_t, Advice> advice_;
};

// The managed allocation that contains all of it, or nullopt.
FARCALL_API std::optional<Allocation> managed_range(uint64_t address, size_t bytes);

// The functions of these names; a runtime API's cudaMemLocation is a CUmemLocation, its advice and
// attributes have the same numbers. `stream` is a wire id.
FARCALL_API int attach_memory(Session& session, rpc::HandleId stream, uint64_t address,
                              size_t bytes, unsigned flags);
FARCALL_API int prefetch_memory(Session& session, uint64_t address, size_t bytes,
                                CUmemLocation location, unsigned flags, rpc::HandleId stream);
// `locations` null: discards without prefetching.
FARCALL_API int prefetch_or_discard(Session& session, const uint64_t* addresses,
                                    const size_t* sizes, size_t count,
                                    const CUmemLocation* locations, const size_t* first,
                                    size_t location_count, unsigned long long flags,
                                    rpc::HandleId stream);
FARCALL_API int advise_memory(Session& session, uint64_t address, size_t bytes, CUmem_advise advice,
                              CUmemLocation location);
FARCALL_API int range_attribute(Session& session, void* data, size_t data_bytes,
                                CUmem_range_attribute attribute, uint64_t address, size_t bytes);
// A device of the functions without locations.
inline CUmemLocation location_of_device(int device) {
  CUmemLocation location = {};
  location.type = device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
  location.id = device == CU_DEVICE_CPU ? 0 : device;
  return location;
}

}  // namespace farcall::client
