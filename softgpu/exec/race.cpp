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
    state.known_version = 0;
    state.place = kNoPlace;
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

void RaceState::acquire_place(u64 offset, Place& place, u32 thread) {
  Thread& state = current(thread);
  if (state.place == offset && state.place_version == place.version) return;
  const bool given = state.place == offset && state.given_version == state.known_version;
  if (!place.clocks.empty()) {
    learn(state.known, place.clocks);
    ++state.known_version;
  }
  // What it has just learned the place has already.
  state.given_version = given ? state.known_version : ~u32{0};
  state.place = offset;
  state.place_version = place.version;
}

void RaceState::release_place(u64 offset, Place& place, u32 thread) {
  Thread& state = current(thread);
  const bool up_to_date = state.place == offset && state.place_version == place.version;
  if (state.place == offset && state.given_version == state.known_version) {
    place.clocks.resize(threads_);
    place.clocks[thread] = std::max(place.clocks[thread], state.clock);
    ++state.clock;
  } else {
    release(place.clocks, thread);
  }
  ++place.version;
  if (state.place == offset) state.given_version = state.known_version;
  if (up_to_date) state.place_version = place.version;  // nothing but its own is new
}

void RaceState::arrive(u32 barrier, u32 thread) {
  if (barriers_epoch_ != epoch_) {
    for (Clocks& clocks : barriers_) clocks.clear();
    barriers_epoch_ = epoch_;
  }
  release(barriers_[barrier], thread);
}

void RaceState::leave(u32 barrier, u32 thread) {
  if (barriers_epoch_ != epoch_) return;
  Thread& state = current(thread);
  learn(state.known, barriers_[barrier]);
  ++state.known_version;
}

void RaceState::meet(const u32* threads, u32 count) {
  Clocks together;
  for (u32 i = 0; i < count; ++i) release(together, threads[i]);
  for (u32 i = 0; i < count; ++i) {
    Thread& state = current(threads[i]);
    learn(state.known, together);
    ++state.known_version;
  }
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
    Place& place = places_[offset];
    if (reads) acquire_place(offset, place, thread);
    if (writes) release_place(offset, place, thread);
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
