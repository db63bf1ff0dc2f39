#include "client/visible_memory.h"

#include <cuda.h>
#include <sys/mman.h>

#include <algorithm>
#include <bitset>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "client/copy.h"
#include "client/fault_handler.h"
#include "client/program.h"
#include "client/registered_memory.h"
#include "client/stub.h"
#include "client/visible_calls.h"

namespace farcall::client {
namespace {

using rpc::Opcode;

// Addresses for pinned memory: where neither programs, nor libraries, nor drivers put anything by
// themselves, so that the worker has them free when a kernel turns out to use the memory.
constexpr uint64_t kPinnedBegin = uint64_t{0x2000} << 32;
constexpr uint64_t kPinnedEnd = uint64_t{0x3000} << 32;
constexpr uint64_t kPinnedStep = uint64_t{64} << 20;  // over what is taken already
constexpr int kPinnedTries = 64;
// The server proposes an address for a block; this process may have something else there.
constexpr int kBlockTries = 4;
bool answer(uint64_t address, bool write) { return program().visible.answer_fault(address, write); }

bool contains_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(parts,
                             [&](auto part) { return name.find(part) != std::string_view::npos; });
}

// What calls mean for coherence follows from their names. New ones count as work: the safe side.
struct CallKinds {
  std::bitset<rpc::kOpcodeCount> work;      // the device may look at memory
  std::bitset<rpc::kOpcodeCount> progress;  // waited for, it says what the device has done
  std::bitset<rpc::kOpcodeCount> idle;      // and that it has done everything
};

const CallKinds& call_kinds() {
  static const CallKinds* const kinds = [] {
    auto* const made = new CallKinds;
    for (size_t i = rpc::kFirstOpcode; i < rpc::kOpcodeCount; ++i) {
      const std::string_view name = rpc::opcode_name(Opcode(i));
      made->idle[i] = contains_any(
          name, {"CtxSynchronize", "DeviceSynchronize", "ContextSynchronize", "VisibleRelease"});
      made->progress[i] =
          made->idle[i] || contains_any(name, {"Synchronize", "Query", "Memcpy", "MemFree", "Free",
                                               "Unmap", "Reset", "Unload", "GraphOutput"});
      made->work[i] = !contains_any(
          name, {"Synchronize", "Query", "Visible", "Get", "Create", "Destroy", "Image", "Module",
                 "Alloc", "Occupancy", "Attribute", "Capture", "Event", "Free", "Reset"});
    }
    return made;
  }();
  return *kinds;
}

}  // namespace

// --- Around calls

namespace detail {

std::atomic<bool> memory_is_visible{false};

void before_call(Session& session, Opcode op) {
  const CallKinds& kinds = call_kinds();
  if (kinds.work[size_t(op)]) {
    program().visible.before_work(session);
    thread_state().work_open = true;
  } else if (kinds.idle[size_t(op)]) {
    thread_state().work_before_wait = program().visible.work_so_far();
  }
}

void work_is_ordered(ThreadState& thread) {
  thread.work_open = false;
  program().visible.work_is_ordered();
}

void after_wait(Session& session, Opcode op) {
  const CallKinds& kinds = call_kinds();
  if (kinds.progress[size_t(op)]) {
    program().visible.after_progress(session,
                                     kinds.idle[size_t(op)] ? thread_state().work_before_wait : 0);
  }
}

}  // namespace detail

// --- Sending

// Changes of a range, by address.
class VisibleMemory::Sender {
 public:
  Sender(Session& session, const Range& range)
      : sender_(session, range.context),
        range_(range),
        base_(reinterpret_cast<uint64_t>(range.pages.memory().program())) {}

  void add(size_t offset, std::span<const std::byte> bytes) {
    if (range_.variables.empty()) return sender_.add(base_ + offset, bytes, true);
    for (const Extent& variable : range_.variables) {
      const uint64_t begin = std::max(variable.address, base_ + offset);
      const uint64_t end =
          std::min(variable.address + variable.bytes, base_ + offset + bytes.size());
      if (begin >= end) continue;
      // The server knows each variable by itself.
      sender_.add(begin, bytes.subspan(begin - base_ - offset, end - begin),
                  begin > variable.address);
    }
  }

 private:
  ChangeSender sender_;
  const Range& range_;
  const uint64_t base_;
};

void VisibleMemory::send_changes(Session& session, Range& range, bool fresh_ones) {
  Sender sender(session, range);
  range.pages.take_changes(fresh_ones, [&](size_t offset, std::span<const std::byte> bytes) {
    sender.add(offset, bytes);
  });
}

// --- Coherence

uint64_t VisibleMemory::work_so_far() const {
  const uint64_t ordered = work_ordered_;
  return ordered == work_begun_ ? ordered : 0;
}

void VisibleMemory::before_work(Session& session) {
  ++work_begun_;
  registered_memory().before_work(session);
  const std::lock_guard lock(mutex_);
  // A thread without a context only says that a host function has returned.
  if (const uint64_t context = thread_state().lane.context; context != 0) {
    if (!busy()) {
      busy_context_ = context;
    } else if (busy_context_ != context) {
      busy_context_ = 0;
    }
    busy_.store(true, std::memory_order_relaxed);
  }
  for (const auto& [address, range] : ranges_) {
    if (range->pages.has_fresh() || range->pages.has_changed()) {
      handle_faults(answer);  // what is sent is closed to writes
      send_changes(session, *range, /*fresh_ones=*/true);
    }
  }
}

void VisibleMemory::after_progress(Session& session, uint64_t idle_after) {
  if (!busy()) return;
  registered_memory().after_progress(session);
  const std::lock_guard lock(mutex_);
  if (!ranges_.empty()) handle_faults(answer);
  for (const auto& [address, range] : ranges_) {
    // What the program has written since the launch joins what the device has.
    if (range->pages.has_changed()) send_changes(session, *range, /*fresh_ones=*/false);
    range->pages.device_may_have_written();
  }
  if (idle_after != 0 && idle_after == work_begun_ &&
      busy_context_ == thread_state().lane.context) {
    busy_.store(false, std::memory_order_relaxed);
  }
}

bool VisibleMemory::fetch(Session& session, Range& range, const TrackedPages::Block& block) {
  const TwiceMapped& memory = range.pages.memory();
  const uint64_t base = reinterpret_cast<uint64_t>(memory.program());
  const auto read = [&](uint64_t address, uint64_t bytes) {
    return read_there(session, range.context, address, {memory.ours() + (address - base), bytes});
  };
  int result = CUDA_SUCCESS;
  const uint64_t first = base + block.offset, stop = first + block.bytes;
  if (range.variables.empty()) result = read(first, block.bytes);
  for (const Extent& variable : range.variables) {
    const uint64_t begin = std::max(variable.address, first);
    const uint64_t end = std::min(variable.address + variable.bytes, stop);
    if (begin < end && result == CUDA_SUCCESS) result = read(begin, end - begin);
  }
  if (result == CUDA_SUCCESS) return true;
  if (!fetch_failed_) {
    log::error(
        "memory at {:#x} that kernels have written cannot be fetched from the server (CUresult "
        "{}); the program sees it as it was",
        first, result);
  }
  fetch_failed_ = true;
  return false;
}

bool VisibleMemory::answer_fault(uint64_t address, bool write) {
  Session* const session = session_if_connected();
  ThreadState& thread = thread_state();
  if (thread.call_open) {
    // In the middle of a call's arguments, which lie in such memory: nothing can be sent now, and
    // mutex_ may be held by a thread that waits for this one.
    const uint64_t page = address / page_bytes() * page_bytes();
    if (mutex_.try_lock()) {
      const bool mine = find(address) != nullptr;
      mutex_.unlock();
      if (!mine) return false;
    }
    log::error("arguments of a CUDA call lie in managed memory at {:#x} that was not fetched yet",
               address);
    return ::mprotect(reinterpret_cast<void*>(page), page_bytes(), PROT_READ | PROT_WRITE) == 0;
  }
  const std::lock_guard lock(mutex_);
  Range* const range = find(address);
  if (range == nullptr) return false;
  TrackedPages& pages = range->pages;
  const size_t offset = address - reinterpret_cast<uint64_t>(pages.memory().program());
  const auto make_room = [&] {
    if (session != nullptr) send_changes(*session, *range, /*fresh_ones=*/true);
    pages.close_all();
  };
  for (int tries = 0; tries < 2; ++tries) {
    if (pages.page(offset) == TrackedPages::Page::kElsewhere) {
      const TrackedPages::Block block = pages.missing_around(offset);
      // Without a server the program goes on with what is there.
      if (session != nullptr) (void)fetch(*session, *range, block);
      if (!pages.arrived(block)) {
        make_room();
        continue;
      }
      if (!write) return true;
    }
    if (pages.page(offset) == TrackedPages::Page::kSame && write) {
      if (pages.open_for_writing(offset)) return true;
      make_room();
      continue;
    }
    return pages.restore(offset);  // another thread was faster
  }
  return false;
}

// --- Which memory

VisibleMemory::Range* VisibleMemory::find(uint64_t address) const {
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return nullptr;
  Range* const range = std::prev(after)->second.get();
  return range->pages.contains(address) ? range : nullptr;
}

bool VisibleMemory::contains(uint64_t address) const {
  if (!memory_is_visible()) return false;
  if (registered_memory().contains(address)) return true;
  const std::lock_guard lock(mutex_);
  return find(address) != nullptr;
}

VisibleMemory::Range& VisibleMemory::insert(std::unique_ptr<TwiceMapped> memory, uint64_t context) {
  memory->keep_from_children();
  const uint64_t address = reinterpret_cast<uint64_t>(memory->program());
  auto& range = ranges_[address];
  range = std::make_unique<Range>(std::move(memory), context);
  detail::memory_is_visible.store(true, std::memory_order_relaxed);
  return *range;
}

int VisibleMemory::add_block(Session& session, size_t bytes, uint64_t* address) {
  std::vector<uint64_t> in_the_way;
  int result = CUDA_SUCCESS;
  std::unique_ptr<TwiceMapped> memory;
  for (int tries = 0; tries < kBlockTries && memory == nullptr; ++tries) {
    uint64_t proposed = 0;
    result = map_there(session, 0, bytes, /*on_device=*/true, &proposed);
    if (result != CUDA_SUCCESS) break;
    memory = TwiceMapped::make(proposed, bytes);
    if (memory == nullptr) in_the_way.push_back(proposed);  // kept, so that it isn't proposed again
  }
  for (const uint64_t taken : in_the_way) (void)release_there(session, taken);
  if (memory == nullptr && result == CUDA_SUCCESS) {
    log::error("no address for {} bytes of managed memory is free both here and in the server",
               bytes);
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (result != CUDA_SUCCESS) return result;
  *address = reinterpret_cast<uint64_t>(memory->program());
  const std::lock_guard lock(mutex_);
  insert(std::move(memory), thread_state().lane.context);
  return CUDA_SUCCESS;
}

void VisibleMemory::renew(uint64_t address, size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (Range* const range = find(address)) {
    const auto base = reinterpret_cast<uint64_t>(range->pages.memory().program());
    range->pages.renew({address - base, bytes});
  }
}

void* VisibleMemory::add_pinned(size_t bytes) {
  const std::lock_guard lock(mutex_);
  const size_t whole = round_to_pages(bytes);
  if (whole < bytes || whole > kPinnedEnd - kPinnedBegin) return nullptr;
  for (int tries = 0; tries < kPinnedTries; ++tries) {
    if (next_pinned_ < kPinnedBegin || whole > kPinnedEnd - next_pinned_) {
      next_pinned_ = kPinnedBegin;
    }
    auto memory = TwiceMapped::make(next_pinned_, bytes);
    // A page stays free behind each: who runs past the end hits nothing.
    next_pinned_ += memory != nullptr ? whole + page_bytes() : kPinnedStep;
    if (memory == nullptr) continue;
    std::byte* const address = memory->program();
    pinned_[reinterpret_cast<uint64_t>(address)] = std::move(memory);
    pinned_count_.store(pinned_.size(), std::memory_order_relaxed);
    return address;
  }
  return nullptr;
}

int VisibleMemory::make_visible(Session& session, uint64_t address) {
  uint64_t base = 0;
  size_t bytes = 0;
  {
    const std::lock_guard lock(mutex_);
    if (find(address) != nullptr) return CUDA_SUCCESS;
    auto after = pinned_.upper_bound(address);
    if (after == pinned_.begin()) return CUDA_ERROR_INVALID_VALUE;
    const auto& [start, memory] = *std::prev(after);
    if (address - start >= memory->bytes()) return CUDA_ERROR_INVALID_VALUE;
    base = start;
    bytes = memory->bytes();
  }
  // What is on its way into it must have arrived before its pages close.
  if (const int failed = finish_copies_to_host(session)) return failed;
  uint64_t mapped = 0;
  const int result = map_there(session, base, bytes, /*on_device=*/false, &mapped);
  const std::lock_guard lock(mutex_);
  if (find(base) != nullptr) return CUDA_SUCCESS;  // another thread was faster
  if (result != CUDA_SUCCESS) {
    log::error("kernels can't use pinned memory at {:#x}: CUresult {}{}", base, result,
               result == CUDA_ERROR_MAP_FAILED ? ", the server has something else there" : "");
    return result == CUDA_ERROR_MAP_FAILED ? int(CUDA_ERROR_NOT_SUPPORTED) : result;
  }
  const auto found = pinned_.find(base);
  if (found == pinned_.end()) return CUDA_ERROR_INVALID_VALUE;  // freed meanwhile
  insert(std::move(found->second), thread_state().lane.context);
  pinned_.erase(found);
  pinned_count_.store(pinned_.size(), std::memory_order_relaxed);
  return CUDA_SUCCESS;
}

int VisibleMemory::make_visible(Session& session, std::span<const std::byte> parameters) {
  if (registered_memory().any()) {
    const int failed = registered_memory().make_visible(session, parameters);
    if (failed != CUDA_SUCCESS) return failed;
  }
  std::vector<uint64_t> used;
  {
    const std::lock_guard lock(mutex_);
    if (pinned_.empty()) return CUDA_SUCCESS;
    const uint64_t low = pinned_.begin()->first;
    const uint64_t high = pinned_.rbegin()->first + pinned_.rbegin()->second->bytes();
    for (size_t at = 0; at + sizeof(uint64_t) <= parameters.size(); at += sizeof(uint64_t)) {
      uint64_t value;
      std::memcpy(&value, parameters.data() + at, sizeof value);
      if (value < low || value >= high) continue;
      const auto& [start, memory] = *std::prev(pinned_.upper_bound(value));
      if (value - start < memory->bytes()) used.push_back(value);
    }
  }
  for (const uint64_t address : used) {
    if (const int failed = make_visible(session, address)) return failed;
  }
  return CUDA_SUCCESS;
}

bool VisibleMemory::remove(Session& session, uint64_t address, int* result) {
  {
    const std::lock_guard lock(mutex_);
    if (pinned_.erase(address) != 0) {
      pinned_count_.store(pinned_.size(), std::memory_order_relaxed);
      *result = CUDA_SUCCESS;
      return true;
    }
    if (!ranges_.contains(address)) return false;
  }
  // First there: kernels that still run may not find the program's next memory at this address.
  *result = release_there(session, address);
  const std::lock_guard lock(mutex_);
  ranges_.erase(address);
  return true;
}

void VisibleMemory::forget_context(uint64_t context) {
  registered_memory().forget_context(context);
  const std::lock_guard lock(mutex_);
  std::erase_if(ranges_, [context](const auto& entry) {
    // Variables are their library's.
    if (entry.second->context != context || !entry.second->variables.empty()) return false;
    (void)program().allocations.remove(entry.first, MemoryKind::kHostPinned);  // freed as well
    return true;
  });
}

// --- Managed variables

int VisibleMemory::adopt(Session&, std::vector<Extent> variables) {
  std::ranges::sort(variables, {}, &Extent::address);
  // Libraries belong to no context.
  const ThreadState& thread = thread_state();
  const uint64_t context =
      thread.lane.context != 0 ? thread.lane.context : rpc::primary_context_id(thread.device);
  const std::lock_guard lock(mutex_);
  for (size_t first = 0; first < variables.size();) {
    // All that share pages, one after the other.
    const uint64_t begin = variables[first].address / page_bytes() * page_bytes();
    uint64_t end = begin;
    size_t next = first;
    while (next < variables.size() && (next == first || variables[next].address < end)) {
      const uint64_t stop = variables[next].address + variables[next].bytes;
      end = std::max(end, begin + round_to_pages(stop - begin));
      ++next;
    }
    if (find(variables[first].address) == nullptr) {
      auto memory = TwiceMapped::make(begin, end - begin);
      if (memory == nullptr) {
        log::error("the server has managed variables at {:#x}, where this process has no room",
                   begin);
        return CUDA_ERROR_NOT_SUPPORTED;
      }
      Range& range = insert(std::move(memory), context);
      range.variables.assign(variables.begin() + ptrdiff_t(first),
                             variables.begin() + ptrdiff_t(next));
      handle_faults(answer);
      range.pages.close_all();  // they have their initial values there
    }
    first = next;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::client
