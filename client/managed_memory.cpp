#include "client/managed_memory.h"

#include <algorithm>
#include <cstring>

#include "client/program.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

// What devices map by.
constexpr size_t kBlockBytes = size_t{2} << 20;
constexpr size_t kSharedBytesMax = kBlockBytes / 2;

// The first `count` pages side by side that are free.
std::optional<size_t> find_free(const std::vector<bool>& taken, size_t count) {
  size_t run = 0;
  for (size_t i = 0; i < taken.size(); ++i) {
    run = taken[i] ? 0 : run + 1;
    if (run == count) return i + 1 - count;
  }
  return std::nullopt;
}

}  // namespace

int ManagedMemory::allocate(Session& session, size_t bytes, unsigned flags, uint64_t* address) {
  if (bytes == 0 || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (bytes > SIZE_MAX - kBlockBytes) return CUDA_ERROR_OUT_OF_MEMORY;
  Allocation made;
  made.bytes = bytes;
  made.kind = MemoryKind::kManaged;
  made.flags = flags;
  made.device = thread_state().device;
  made.context = thread_state().lane.context;
  const size_t whole = round_to_pages(bytes), count = whole / page_bytes();
  if (whole > kSharedBytesMax) {
    const size_t blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
    const int result = program().visible.add_block(session, blocks * kBlockBytes, &made.address);
    if (result != CUDA_SUCCESS) return result;
  } else {
    const std::lock_guard lock(mutex_);
    std::optional<size_t> page;
    auto block = shared_.begin();
    for (; block != shared_.end() && !page; ++block) {
      if (block->second.context == made.context) page = find_free(block->second.taken, count);
      if (page) break;
    }
    if (!page) {
      uint64_t base = 0;
      const int result = program().visible.add_block(session, kBlockBytes, &base);
      if (result != CUDA_SUCCESS) return result;
      block = shared_.try_emplace(base).first;
      block->second.context = made.context;
      block->second.taken.resize(kBlockBytes / page_bytes());
      block->second.used = block->second.taken;
      page = 0;
    }
    made.address = block->first + *page * page_bytes();
    const auto begin = block->second.used.begin() + ptrdiff_t(*page);
    if (std::find(begin, begin + ptrdiff_t(count), true) != begin + ptrdiff_t(count)) {
      program().visible.renew(made.address, whole);
    }
    for (size_t i = *page; i < *page + count; ++i) {
      block->second.taken[i] = block->second.used[i] = true;
    }
  }
  program().allocations.add(made);
  *address = made.address;
  return CUDA_SUCCESS;
}

int ManagedMemory::free(Session& session, const Allocation& allocation) {
  int result = CUDA_SUCCESS;
  const size_t whole = round_to_pages(allocation.bytes);
  if (whole > kSharedBytesMax) {
    if (!program().visible.remove(session, allocation.address, &result)) {
      result = CUDA_ERROR_INVALID_VALUE;
    }
  } else {
    // As above: work that still uses it must not see it used again.
    Call call(session, rpc::Opcode::k_farcallVisibleRelease);
    call.args<rpc::schema::FarcallVisibleRelease>();
    result = call.post_blocking();
  }
  const std::lock_guard lock(mutex_);
  advice_.erase(allocation.address);
  if (whole > kSharedBytesMax) return result;
  auto block = shared_.upper_bound(allocation.address);
  if (block == shared_.begin()) return result;
  --block;
  const size_t first = (allocation.address - block->first) / page_bytes();
  for (size_t i = first; i < first + whole / page_bytes() && i < block->second.taken.size(); ++i) {
    block->second.taken[i] = false;
  }
  if (std::ranges::count(block->second.taken, true) == 0 && shared_.size() > 1) {
    (void)program().visible.remove(session, block->first, &result);
    shared_.erase(block);
  }
  return result;
}

void ManagedMemory::forget_context(uint64_t context) {
  const std::lock_guard lock(mutex_);
  std::erase_if(shared_, [context](const auto& entry) { return entry.second.context == context; });
}

ManagedMemory::Advice ManagedMemory::advice(uint64_t address) const {
  const std::lock_guard lock(mutex_);
  const auto found = advice_.find(address);
  return found == advice_.end() ? Advice() : found->second;
}

std::optional<Allocation> managed_range(uint64_t address, size_t bytes) {
  const auto known = program().allocations.find(address);
  if (!known || known->kind != MemoryKind::kManaged || bytes == 0 ||
      bytes > known->bytes - (address - known->address)) {
    return std::nullopt;
  }
  return known;
}

// --- Attaching, prefetching, advice

namespace {

bool is_location(Session& session, const CUmemLocation& location) {
  switch (location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
      return location.id >= 0 && size_t(location.id) < session.devices().size();
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
      return true;
    default:
      return false;
  }
}

int device_of(const CUmemLocation& location) {
  return location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : CU_DEVICE_CPU;
}

}  // namespace

int attach_memory(Session& session, rpc::HandleId stream, uint64_t address, size_t bytes,
                  unsigned flags) {
  if (!usable(session, stream, rpc::HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  const auto known = program().allocations.find(address);
  if (!known || known->kind != MemoryKind::kManaged ||
      (bytes != 0 && (address != known->address || bytes != known->bytes)) ||
      (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
       flags != CU_MEM_ATTACH_SINGLE)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

int prefetch_memory(Session& session, uint64_t address, size_t bytes, CUmemLocation location,
                    unsigned flags, rpc::HandleId stream) {
  if (!usable(session, stream, rpc::HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  const auto known = managed_range(address, bytes);
  if (!known || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (!is_location(session, location)) return CUDA_ERROR_INVALID_DEVICE;
  program().managed.advise(known->address,
                           [&](auto& advice) { advice.last_prefetch = device_of(location); });
  return CUDA_SUCCESS;
}

int prefetch_or_discard(Session& session, const uint64_t* addresses, const size_t* sizes,
                        size_t count, const CUmemLocation* locations, const size_t* first,
                        size_t location_count, unsigned long long flags, rpc::HandleId stream) {
  if (!usable(session, stream, rpc::HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  // As CUDA documents: not in the legacy stream.
  if (addresses == nullptr || sizes == nullptr || count == 0 || flags != 0 ||
      stream == rpc::kStreamDefault || stream == rpc::kStreamLegacy) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < count; ++i) {
    if (!managed_range(addresses[i], sizes[i])) return CUDA_ERROR_INVALID_VALUE;
  }
  if (locations == nullptr) return CUDA_SUCCESS;
  if (first == nullptr || location_count == 0 || location_count > count) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < location_count; ++i) {
    if (first[i] >= count || (i == 0 ? first[i] != 0 : first[i] <= first[i - 1])) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (!is_location(session, locations[i])) return CUDA_ERROR_INVALID_DEVICE;
  }
  size_t location = 0;
  for (size_t i = 0; i < count; ++i) {
    if (location + 1 < location_count && first[location + 1] == i) ++location;
    const int result =
        prefetch_memory(session, addresses[i], sizes[i], locations[location], 0, stream);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

int advise_memory(Session& session, uint64_t address, size_t bytes, CUmem_advise advice,
                  CUmemLocation location) {
  const auto known = managed_range(address, bytes);
  if (!known) return CUDA_ERROR_INVALID_VALUE;
  const int device = device_of(location);
  const bool needs_location = advice != CU_MEM_ADVISE_SET_READ_MOSTLY &&
                              advice != CU_MEM_ADVISE_UNSET_READ_MOSTLY &&
                              advice != CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION;
  if (needs_location && !is_location(session, location)) return CUDA_ERROR_INVALID_DEVICE;
  int result = CUDA_SUCCESS;
  program().managed.advise(known->address, [&](ManagedMemory::Advice& kept) {
    switch (advice) {
      case CU_MEM_ADVISE_SET_READ_MOSTLY:
      case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
        kept.read_mostly = advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
        break;
      case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        kept.preferred = device;
        break;
      case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        kept.preferred = CU_DEVICE_INVALID;
        break;
      case CU_MEM_ADVISE_SET_ACCESSED_BY:
      case CU_MEM_ADVISE_UNSET_ACCESSED_BY: {
        const bool on = advice == CU_MEM_ADVISE_SET_ACCESSED_BY;
        if (device == CU_DEVICE_CPU) {
          kept.accessed_by_host = on;
        } else {
          const uint64_t bit = uint64_t{1} << device;
          kept.accessed_by = on ? kept.accessed_by | bit : kept.accessed_by & ~bit;
        }
        break;
      }
      default:
        result = CUDA_ERROR_INVALID_VALUE;
    }
  });
  return result;
}

int range_attribute(Session& session, void* data, size_t data_bytes,
                    CUmem_range_attribute attribute, uint64_t address, size_t bytes) {
  const auto known = managed_range(address, bytes);
  if (data == nullptr || !known) return CUDA_ERROR_INVALID_VALUE;
  const ManagedMemory::Advice advice = program().managed.advice(known->address);
  if (attribute == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY) {  // a list, as much as there is room for
    if (data_bytes == 0 || data_bytes % sizeof(int) != 0) return CUDA_ERROR_INVALID_VALUE;
    std::vector<int> list;
    for (size_t i = 0; i < session.devices().size(); ++i) {
      if ((advice.accessed_by >> i & 1) != 0) list.push_back(int(i));
    }
    if (advice.accessed_by_host) list.push_back(CU_DEVICE_CPU);
    list.resize(data_bytes / sizeof(int), int{CU_DEVICE_INVALID});
    std::memcpy(data, list.data(), data_bytes);
    return CUDA_SUCCESS;
  }
  if (data_bytes != sizeof(int)) return CUDA_ERROR_INVALID_VALUE;
  const auto put = [data](int value) {
    std::memcpy(data, &value, sizeof value);
    return int(CUDA_SUCCESS);
  };
  const auto type_of = [](int device) -> int {
    if (device == CU_DEVICE_INVALID) return CU_MEM_LOCATION_TYPE_INVALID;
    return device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
  };
  switch (int(attribute)) {  // some have names in CUDA 13 only
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
      return put(advice.read_mostly ? 1 : 0);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
      return put(advice.preferred);
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
      return put(advice.last_prefetch);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
      return put(type_of(advice.preferred));
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
      return put(type_of(advice.last_prefetch));
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

}  // namespace farcall::client
