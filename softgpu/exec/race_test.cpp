// RaceState against the definition: full vector clocks for every thread, and every access ever
// made.
#include "softgpu/exec/race.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace farcall::softgpu {
namespace {

// Happens-before, computed in the plainest way.
class Model {
 public:
  explicit Model(u32 threads) : clocks_(threads, Clock(threads)) {
    for (u32 t = 0; t < threads; ++t) clocks_[t][t] = 1;
  }
  bool access(u32 thread, u64 offset, u64 bytes, Access access) {
    const bool atomic = access != Access::kRead && access != Access::kWrite;
    const bool writes = access != Access::kRead && access != Access::kStrongRead;
    const bool reads = access != Access::kWrite && access != Access::kStrongWrite;
    const u32 clock = clocks_[thread][thread];
    if (atomic && reads) join(clocks_[thread], places_[offset]);
    bool race = false;
    for (u64 i = offset; i < offset + bytes; ++i) {
      for (const Event& earlier : events_[i]) {
        if (!earlier.writes && !writes) continue;
        if (earlier.atomic && atomic) continue;
        race = race || clocks_[thread][earlier.thread] < earlier.clock;
      }
      events_[i].push_back({thread, clock, writes, atomic});
    }
    if (atomic && writes) release(places_[offset], thread);
    return race;
  }
  void barrier_of_all() {
    Clock all;
    for (u32 t = 0; t < clocks_.size(); ++t) release(all, t);
    for (Clock& clock : clocks_) join(clock, all);
  }
  void arrive(u32 thread) { release(barrier_, thread); }
  void leave(u32 thread) { join(clocks_[thread], barrier_); }
  void end_barrier() { barrier_.clear(); }

 private:
  using Clock = std::vector<u32>;
  struct Event {
    u32 thread, clock;
    bool writes, atomic;
  };
  static void join(Clock& into, const Clock& from) {
    if (into.size() < from.size()) into.resize(from.size());
    for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
  }
  void release(Clock& into, u32 thread) {
    join(into, clocks_[thread]);
    ++clocks_[thread][thread];
  }
  std::vector<Clock> clocks_;
  Clock barrier_;
  std::map<u64, Clock> places_;
  std::map<u64, std::vector<Event>> events_;
};

// Runs both over random events until the first race. Returns how many runs had one.
int compare(u32 threads, bool complete, unsigned seed) {
  int found = 0;
  RaceState state;
  for (unsigned run = 0; run < 2000; ++run) {
    std::mt19937 random(seed + run);
    const auto below = [&random](u32 n) { return static_cast<u32>(random() % n); };
    Model model(threads);
    state.start_block(threads, 64);
    for (int step = 0; step < 60; ++step) {
      const u32 thread = below(threads), what = below(10);
      if (what == 0) {
        model.barrier_of_all();
        state.barrier_of_all();
      } else if (what == 1) {  // some meet, and one only arrives
        const u32 other = (thread + 1 + below(threads - 1)) % threads;
        for (const u32 t : {thread, other}) {
          model.arrive(t);
          state.arrive(3, t);
        }
        model.leave(thread);
        state.leave(3, thread);
        model.end_barrier();
        state.end_barrier(3);
      } else if (what == 2) {
        const u32 pair[] = {thread, (thread + 1) % threads};
        for (const u32 t : pair) model.arrive(t);
        for (const u32 t : pair) model.leave(t);
        model.end_barrier();
        state.meet(pair, 2);
      } else {
        static constexpr Access kAtomics[] = {Access::kAtomic, Access::kStrongRead,
                                              Access::kStrongWrite};
        const bool atomic = what < 7;
        const Access access = atomic          ? kAtomics[below(3)]
                              : below(2) == 0 ? Access::kRead
                                              : Access::kWrite;
        // Atomics have words of their own, mostly: of a plain and an atomic access of one thread to
        // the same byte only the later one is remembered.
        const u64 offset = atomic && (complete || below(8) != 0) ? 32 + 4 * below(2) : below(6) * 2;
        const u64 bytes = atomic ? 4 : 1 + below(4);
        const bool expected = model.access(thread, offset, bytes, access);
        const bool got = state.access(thread, 0, offset, bytes, access).hazard != Hazard::kNone;
        if (got || complete) {
          EXPECT_EQ(got, expected) << "seed " << seed + run << " step " << step;
        }
        if (expected || got) {
          ++found;
          break;
        }
      }
    }
  }
  return found;
}

TEST(RaceState, OfTwoThreadsFindsExactlyTheFirstRace) { EXPECT_GT(compare(2, true, 1), 200); }
TEST(RaceState, OfManyThreadsMakesUpNone) { EXPECT_GT(compare(7, false, 100'000), 200); }

}  // namespace
}  // namespace farcall::softgpu
