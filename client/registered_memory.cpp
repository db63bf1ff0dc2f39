#include "client/registered_memory.h"

#include <cuda.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "client/twice_mapped.h"
#include "client/visible_calls.h"
#include "client/visible_memory.h"

namespace farcall::client {
namespace {

// Kernels write whole words; at the ends of a range a word may be cut.
constexpr uint64_t kWord = 4;

std::byte* at(uint64_t address) { return reinterpret_cast<std::byte*>(address); }

// Calls changed(offset, bytes) for each run of words in which a and b differ.
template <class Changed>
void compare(std::span<const std::byte> a, std::span<const std::byte> b, const Changed& changed) {
  constexpr size_t kStride = 4096;
  for (size_t block = 0; block < a.size(); block += kStride) {
    const size_t end = std::min(block + kStride, a.size());
    if (std::memcmp(a.data() + block, b.data() + block, end - block) == 0) continue;
    for (size_t i = block; i < end;) {
      const auto differs = [&](size_t word) {
        return std::memcmp(a.data() + word, b.data() + word, std::min(kWord, end - word)) != 0;
      };
      if (!differs(i)) {
        i += kWord;
        continue;
      }
      const size_t first = i;
      while (i < end && differs(i)) i += kWord;
      changed(first, std::min(i, end) - first);
    }
  }
}

}  // namespace

RegisteredMemory& registered_memory() {
  static RegisteredMemory* const instance = new RegisteredMemory;
  return *instance;
}

void RegisteredMemory::add(uint64_t address, size_t bytes) {
  const std::lock_guard lock(mutex_);
  Range& range = ranges_[address];
  range = {};
  range.address = address;
  range.bytes = bytes;
  count_.store(ranges_.size(), std::memory_order_relaxed);
}

const RegisteredMemory::Range* RegisteredMemory::find(uint64_t address) const {
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return nullptr;
  const Range& range = std::prev(after)->second;
  return address - range.address < range.bytes ? &range : nullptr;
}

RegisteredMemory::Range* RegisteredMemory::find(uint64_t address) {
  return const_cast<Range*>(std::as_const(*this).find(address));
}

bool RegisteredMemory::contains(uint64_t address) const {
  if (!any()) return false;
  const std::lock_guard lock(mutex_);
  const Range* const range = find(address);
  return range != nullptr && range->visible;
}

int RegisteredMemory::make_visible(Session& session, uint64_t address) {
  Range wanted;
  {
    const std::lock_guard lock(mutex_);
    const Range* const range = find(address);
    if (range == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (range->visible) return CUDA_SUCCESS;
    wanted.address = range->address;
    wanted.bytes = range->bytes;
  }
  const uint64_t begin = wanted.address / page_bytes() * page_bytes();
  const uint64_t end = begin + round_to_pages(wanted.address + wanted.bytes - begin);
  uint64_t mapped = 0;
  const int result = map_there(session, begin, end - begin, /*on_device=*/false, &mapped);
  const std::lock_guard lock(mutex_);
  Range* const range = find(address);
  if (range == nullptr) return CUDA_ERROR_INVALID_VALUE;  // gone meanwhile
  if (range->visible) return CUDA_SUCCESS;                // another thread was faster
  if (result != CUDA_SUCCESS) {
    log::error("kernels can't use registered memory at {:#x}: CUresult {}{}", range->address,
               result,
               result == CUDA_ERROR_MAP_FAILED
                   ? ", the server has something else there; memory of cudaHostAlloc has room"
                   : "");
    return result == CUDA_ERROR_MAP_FAILED ? int(CUDA_ERROR_NOT_SUPPORTED) : result;
  }
  range->visible = true;
  range->context = thread_state().lane.context;
  detail::memory_is_visible.store(true, std::memory_order_relaxed);
  return CUDA_SUCCESS;
}

int RegisteredMemory::make_visible(Session& session, std::span<const std::byte> parameters) {
  std::vector<uint64_t> used;
  {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i + sizeof(uint64_t) <= parameters.size(); i += sizeof(uint64_t)) {
      uint64_t value;
      std::memcpy(&value, parameters.data() + i, sizeof value);
      const Range* const range = find(value);
      if (range != nullptr && !range->visible) used.push_back(value);
    }
  }
  for (const uint64_t address : used) {
    if (const int failed = make_visible(session, address)) return failed;
  }
  return CUDA_SUCCESS;
}

void RegisteredMemory::before_work(Session& session) {
  const std::lock_guard lock(mutex_);
  for (auto& [address, range] : ranges_) {
    if (!range.visible) continue;
    ChangeSender sender(session, range.context);
    const std::span<const std::byte> now(at(range.address), range.bytes);
    if (range.agreed.empty()) {
      range.agreed.assign(now.begin(), now.end());
      sender.add(range.address, range.agreed, true);
      continue;
    }
    compare(now, range.agreed, [&, &range = range](size_t offset, size_t bytes) {
      std::memcpy(&range.agreed[offset], now.data() + offset, bytes);
      sender.add(range.address + offset, std::span(range.agreed).subspan(offset, bytes), true);
    });
  }
}

void RegisteredMemory::after_progress(Session& session) {
  before_work(session);  // what the program has written since joins what the device has
  const std::lock_guard lock(mutex_);
  for (auto& [address, range] : ranges_) {
    if (!range.visible || range.agreed.empty()) continue;
    std::vector<std::byte> there(range.bytes);
    const int result = read_there(session, range.context, range.address, there);
    if (result != CUDA_SUCCESS) {
      log::debug("registered memory at {:#x} was not read: CUresult {}", range.address, result);
      continue;  // the call that was waited for says what is wrong
    }
    compare(there, range.agreed, [&, &range = range](size_t offset, size_t bytes) {
      std::memcpy(at(range.address) + offset, &there[offset], bytes);
      std::memcpy(&range.agreed[offset], &there[offset], bytes);
    });
  }
}

bool RegisteredMemory::remove(Session& session, uint64_t address, int* result) {
  Range range;
  {
    const std::lock_guard lock(mutex_);
    const auto found = ranges_.find(address);
    if (found == ranges_.end()) return false;
    range = found->second;
  }
  *result = CUDA_SUCCESS;
  if (range.visible) {
    *result = release_there(session, 0);  // all kernels are done with it
    after_progress(session);
    const int released = release_there(session, address / page_bytes() * page_bytes());
    if (*result == CUDA_SUCCESS) *result = released;
  }
  const std::lock_guard lock(mutex_);
  ranges_.erase(address);
  count_.store(ranges_.size(), std::memory_order_relaxed);
  return true;
}

void RegisteredMemory::forget_context(uint64_t context) {
  const std::lock_guard lock(mutex_);
  for (auto& [address, range] : ranges_) {
    if (range.context != context) continue;
    range.visible = false;
    range.agreed.clear();
  }
}

}  // namespace farcall::client
