// Host memory that kernels can see: managed memory, and pinned memory that a kernel uses. It has
// one address in this process and in the worker, each of which has its own copy of the bytes
// (client/tracked_pages.h says which one of a page is good; server/visible_memory.h is the other
// side). A transport that shares memory would make the two copies one and need none of the rest.
//
// What the program has written is sent ahead of every call that may make the device look at it, in
// the same batch. When a call has been waited for that says something about the device's progress,
// whatever the device may have written is closed to the program, and fetched when touched. So
// programs see what CUDA promises for devices without concurrentManagedAccess, and for mapped
// memory: kernels see what was written before their launch, the program sees what kernels have
// written before it last synchronized.
//
// A program without such memory pays one relaxed load per call. Results are CUresults.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "client/api.h"
#include "client/session.h"
#include "client/tracked_pages.h"

namespace farcall::client {

namespace detail {
// There is memory to keep coherent.
extern FARCALL_API std::atomic<bool> memory_is_visible;
// Around calls: see below.
FARCALL_API void before_call(Session& session, rpc::Opcode op);
FARCALL_API void work_is_ordered(ThreadState& thread);
FARCALL_API void after_wait(Session& session, rpc::Opcode op);
}  // namespace detail

inline bool memory_is_visible() {
  return detail::memory_is_visible.load(std::memory_order_relaxed);
}

class FARCALL_API VisibleMemory {
 public:
  // --- Memory that kernels may see, should they get to know of it
  // Pinned memory at an address that the server is likely to have free. Null: no such memory.
  void* add_pinned(size_t bytes);
  // From now on they see it. Any address within it. Waits for the server, the first time.
  int make_visible(Session& session, uint64_t address);
  // Of a kernel's parameters: whatever pinned memory they point to.
  int make_visible(Session& session, std::span<const std::byte> parameters);
  bool has_pinned() const { return pinned_count_.load(std::memory_order_relaxed) > 0; }
  // Nothing uses it any more, here or there. False: none of ours starts there.
  bool remove(Session& session, uint64_t address, int* result);

  // --- Memory that kernels see from the start
  // Whole blocks of 2 MiB, in the device's memory if it fits.
  int add_block(Session& session, size_t bytes, uint64_t* address);
  // Where the server's driver has put it: managed variables, several of which may share a page.
  struct Extent {
    uint64_t address = 0, bytes = 0;
  };
  int adopt(Session& session, std::vector<Extent> variables);
  // The program sees zeros there, and so will kernels.
  void renew(uint64_t address, size_t bytes);

  // Kernels see it now.
  bool contains(uint64_t address) const;
  // Work that may write to it was sent since the device was last known to be idle.
  bool busy() const { return busy_.load(std::memory_order_relaxed); }

  // --- Coherence
  void before_work(Session& session);
  void work_is_ordered() { ++work_ordered_; }
  // What is done when a call that is about to be made says that the device is idle: the number of
  // calls, or 0 if that can't be told because another thread is just making one.
  uint64_t work_so_far() const;
  // `idle_after`: all work up to this number is done; 0: some of it.
  void after_progress(Session& session, uint64_t idle_after);
  // Of the program, at an address that is closed to it. False: not ours.
  bool answer_fault(uint64_t address, bool write);
  // The context is gone, and what was visible in it.
  void forget_context(uint64_t context);

 private:
  struct Range {
    Range(std::unique_ptr<TwiceMapped> memory, uint64_t context)
        : pages(std::move(memory)), context(context) {}
    TrackedPages pages;
    uint64_t context;
    std::vector<Extent> variables;  // all there is in these pages; empty: they are one piece
  };
  class Sender;

  Range* find(uint64_t address) const;  // mutex_ is held
  Range& insert(std::unique_ptr<TwiceMapped> memory, uint64_t context);
  bool fetch(Session& session, Range& range, const TrackedPages::Block& block);
  void send_changes(Session& session, Range& range, bool fresh_ones);

  std::atomic<bool> busy_ = false;
  std::atomic<uint64_t> work_begun_ = 0, work_ordered_ = 0;
  std::atomic<size_t> pinned_count_ = 0;
  mutable std::mutex mutex_;  // guards what follows; held over a fetch
  std::map<uint64_t, std::unique_ptr<Range>> ranges_;
  std::map<uint64_t, std::unique_ptr<TwiceMapped>> pinned_;  // that no kernel has used yet
  uint64_t next_pinned_ = 0;
  uint64_t busy_context_ = 0;  // whose the work is; 0: of several
  bool fetch_failed_ = false;
};

}  // namespace farcall::client
