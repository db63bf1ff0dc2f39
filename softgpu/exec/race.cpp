#include "softgpu/exec/race.h"

#include <algorithm>

namespace farcall::softgpu {

void RaceState::start_block(u32 threads, u64 shared_bytes) {
  ++epoch_;
  threads_ = threads;
  if (cells_.size() < shared_bytes) cells_.resize(shared_bytes);
  if (states_.size() < threads) states_.resize(threads);
}

RaceState::Thread& RaceState::current(u32 thread) {
  Thread& state = states_[thread];
  if (state.epoch != epoch_) {
    state.epoch = epoch_;
    state.clock = 1;
    state.known.clear();
  }
  return state;
}

bool RaceState::ordered(const Mark& mark, u32 thread) {
  if (mark.epoch != epoch_ || mark.thread == thread) return true;
  const Clocks& known = current(thread).known;
  return !known.empty() && known[mark.thread] >= mark.clock;
}

void RaceState::learn(Clocks& into, const Clocks& from) const {
  if (from.empty()) return;
  into.resize(threads_);
  for (u32 i = 0; i < threads_; ++i) into[i] = std::max(into[i], from[i]);
}

// `into` gets what the thread has done and knows; what it does from now on is new.
void RaceState::release(Clocks& into, u32 thread) {
  Thread& state = current(thread);
  into.resize(threads_);
  learn(into, state.known);
  into[thread] = std::max(into[thread], state.clock);
  ++state.clock;
}

void RaceState::arrive(u32 barrier, u32 thread) {
  if (barriers_epoch_ != epoch_) {
    for (Clocks& clocks : barriers_) clocks.clear();
    barriers_epoch_ = epoch_;
  }
  release(barriers_[barrier], thread);
}

void RaceState::leave(u32 barrier, u32 thread) {
  if (barriers_epoch_ == epoch_) learn(current(thread).known, barriers_[barrier]);
}

void RaceState::meet(const u32* threads, u32 count) {
  Clocks together;
  for (u32 i = 0; i < count; ++i) release(together, threads[i]);
  for (u32 i = 0; i < count; ++i) learn(current(threads[i]).known, together);
}

RaceState::Conflict RaceState::access(u32 thread, u32 op, u64 offset, u64 bytes, Access access) {
  const bool atomic =
      access == Access::kAtomic || access == Access::kStrongRead || access == Access::kStrongWrite;
  const bool writes =
      access == Access::kWrite || access == Access::kAtomic || access == Access::kStrongWrite;
  const bool reads =
      access == Access::kRead || access == Access::kAtomic || access == Access::kStrongRead;
  Conflict conflict;
  auto found = [&](Hazard hazard, const Mark& mark, u64 at) {
    if (conflict.hazard != Hazard::kNone) return;
    if (ordered(mark, thread) || (atomic && mark.atomic)) return;
    conflict = {hazard, mark.thread, mark.op, at};
  };
  const u32 clock = current(thread).clock;
  if (atomic) {
    if (places_epoch_ != epoch_) {
      places_.clear();
      places_epoch_ = epoch_;
    }
    Clocks& place = places_[offset];
    if (reads) learn(current(thread).known, place);
    if (writes) release(place, thread);
  }
  const Mark mine{epoch_, clock, op, static_cast<u16>(thread), atomic};
  for (u64 i = offset; i < offset + bytes && i < cells_.size(); ++i) {
    Cell& cell = cells_[i];
    if (writes) {
      found(Hazard::kWriteAfterWrite, cell.write, i);
      found(Hazard::kWriteAfterRead, cell.read[0], i);
      found(Hazard::kWriteAfterRead, cell.read[1], i);
      cell.write = mine;
      // An atomic access is not also a read: as a write it meets everything that it would meet.
    } else if (reads) {
      found(Hazard::kReadAfterWrite, cell.write, i);
      if (cell.read[0].epoch == epoch_ && cell.read[0].thread != thread)
        cell.read[1] = cell.read[0];
      cell.read[0] = mine;
    }
  }
  return conflict;
}

}  // namespace farcall::softgpu
