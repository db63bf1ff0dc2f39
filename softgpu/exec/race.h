// Races between the threads of one block in its shared memory: two accesses to a byte by different
// threads, at least one of them a write, with nothing that orders them.
//
// What orders: barriers of the block, bar.warp.sync, and atomic (relaxed, acquire, release)
// accesses to the same place, which are no races themselves. A full barrier begins a new epoch,
// before which everything is ordered; only what orders some of the threads needs vector clocks, and
// those exist from the first such event of an epoch on. Of the reads of a byte the last two by
// different threads are remembered, so a race is missed now and then, but none is made up.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "softgpu/exec/op.h"

namespace farcall::softgpu {

enum class Hazard : u8 { kNone, kReadAfterWrite, kWriteAfterRead, kWriteAfterWrite };

class RaceState {
 public:
  struct Conflict {
    Hazard hazard = Hazard::kNone;
    u32 thread = 0;  // of the earlier access
    u32 op = 0;      // index of its instruction
    u64 offset = 0;  // of the byte
  };

  void start_block(u32 threads, u64 shared_bytes);

  // Records the access; the first conflict with an earlier one, if any.
  Conflict access(u32 thread, u32 op, u64 offset, u64 bytes, Access access);

  void barrier_of_all() { ++epoch_; }
  // A barrier of some: who arrives, and who may go on because all have.
  void arrive(u32 barrier, u32 thread);
  void leave(u32 barrier, u32 thread);
  void end_barrier(u32 barrier) { barriers_[barrier].clear(); }
  // These threads have met.
  void meet(const u32* threads, u32 count);

 private:
  struct Mark {
    u32 epoch = 0, clock = 0, op = 0;
    u16 thread = 0;
    bool atomic = false;
  };
  struct Cell {
    Mark write, read[2];
  };
  // For each thread of the block, up to which of its clocks everything is known; empty: nothing.
  using Clocks = std::vector<u32>;
  struct Thread {
    u32 epoch = 0;  // that what follows is of
    u32 clock = 1;
    Clocks known;
    u32 known_version = 0;  // counts its changes
    // The place it has learned from last, when that was so old, and what it knew when it has last
    // given all that to the place. Threads that spin come to one place again and again.
    u64 place = kNoPlace;
    u32 place_version = 0, given_version = 0;
  };
  static constexpr u64 kNoPlace = ~u64{0};
  // What atomic accesses to a place hand on.
  struct Place {
    Clocks clocks;
    u32 version = 0;
  };

  Thread& current(u32 thread);
  bool ordered(const Mark& mark, u32 thread);
  void learn(Clocks& into, const Clocks& from) const;
  void release(Clocks& into, u32 thread);
  void acquire_place(u64 offset, Place& place, u32 thread);
  void release_place(u64 offset, Place& place, u32 thread);

  u32 epoch_ = 1, threads_ = 0;
  std::vector<Cell> cells_;
  std::vector<Thread> states_;
  Clocks barriers_[16];
  u32 barriers_epoch_ = 0, places_epoch_ = 0;
  std::unordered_map<u64, Place> places_;  // by offset
};

}  // namespace farcall::softgpu
