#include "softgpu/exec/convoy.h"

#include <algorithm>

#include "softgpu/exec/control.h"
#include "softgpu/exec/groups.h"
#include "softgpu/exec/warp_sync.h"

namespace farcall::softgpu {
namespace {

// Register bytes of the warps that go together, about half of a first-level cache.
constexpr u32 kBytesMax = 24u << 10;
// Branches back, while somebody waits ahead, before all shall have their turn.
constexpr u32 kSpinsMax = 256;

class Convoy {
 public:
  Convoy(Block& block, u32 first, u32 count, Warp* volatile* current)
      : block_(block),
        code_(block.kernel->code.data()),
        convoy_code_(block.kernel->convoy_code.data()),
        current_(current),
        warp_count_(count) {
    for (u32 k = 0; k < count; ++k) warps_[k] = block.warps[first + k].get();
  }

  ConvoyOutcome run(u32 quantum, bool* progress);

 private:
  enum class Step : u8 { kGoOn, kChoose, kStop };

  bool choose();
  void gather();
  void park();
  template <bool TakenGoOn>
  void split(const u32* taken, u32 elsewhere);
  void run_handlers();
  void run_skipped(const Op& op, const u32* taken);
  Step branch(const Op& op);
  Step control(const Op& op);
  bool all_wait_here(const Op& op);
  bool let_strays_go();

  Block& block_;
  const Op* const code_;
  const ConvoyHandler* const convoy_code_;
  Warp* volatile* const current_;
  Warp* warps_[kConvoyMax];
  u32 warp_count_;

  // Groups that are at pc_. Their pc in the warp is not kept up to date, their mask is.
  Walker walkers_[kConvoyMax];
  u32 walker_count_ = 0;
  u32 threads_ = 0;  // of the walkers; 0: not counted
  u32 pc_ = 0, depth_ = 0;
  u32 limit_ = 0;       // the next place where ready groups of this depth wait
  bool alone_ = false;  // nobody else is ready
  u32 spins_ = 0;       // branches back while others were ready
  u64 executed_ = 0;    // instructions, of each warp
};

// Finds the lowest pc of the deepest call. False: nobody is ready.
bool Convoy::choose() {
  bool any = false;
  for (u32 k = 0; k < warp_count_; ++k) {
    const Warp& warp = *warps_[k];
    for (u32 i = 0; i < warp.group_count; ++i) {
      const Group& group = warp.groups[i];
      if (group.wait != Wait::kReady || (any && group.depth < depth_)) continue;
      pc_ = any && group.depth == depth_ ? std::min(pc_, group.pc) : group.pc;
      depth_ = group.depth;
      any = true;
    }
  }
  return any;
}

// Takes in all groups at pc_.
void Convoy::gather() {
  limit_ = ~u32{0};
  alone_ = true;
  u32 count = 0;
  for (u32 k = 0; k < warp_count_; ++k) {
    Warp& warp = *warps_[k];
    Walker* walker = nullptr;
    for (u32 i = 0; i < warp.group_count; ++i) {
      Group& group = warp.groups[i];
      if (group.wait != Wait::kReady) continue;
      if (group.pc != pc_ || group.depth != depth_) {
        if (group.depth == depth_) limit_ = std::min(limit_, group.pc);
        alone_ = false;
      } else if (walker == nullptr) {
        walker = &walkers_[count++];
        *walker = {&warp, group.mask, i};
      } else {
        walker->group().mask = walker->mask |= group.mask;
        drop_group(warp, i--);
      }
    }
  }
  walker_count_ = count;
  threads_ = 0;
}

// Groups are where the convoy is.
void Convoy::park() {
  for (u32 j = 0; j < walker_count_; ++j) walkers_[j].group().pc = pc_;
}

// Of each walker the lanes in taken[j] go on, or all but these; the others wait at `elsewhere`.
template <bool TakenGoOn>
void Convoy::split(const u32* taken, u32 elsewhere) {
  u32 count = 0;
  for (u32 j = 0; j < walker_count_; ++j) {
    Walker walker = walkers_[j];
    const u32 leaving = TakenGoOn ? walker.mask & ~taken[j] : taken[j];
    if (leaving == walker.mask) {
      walker.group().pc = elsewhere;
      continue;
    }
    if (leaving != 0) {
      Group& group = walker.group();
      group.mask = walker.mask &= ~leaving;
      group.pc = pc_;  // or the others could join it where it was last
      move_lanes(*walker.warp, elsewhere, leaving, group.depth, group.spins);
    }
    walkers_[count++] = walker;
  }
  walker_count_ = count;
  threads_ = 0;
  alone_ = false;
}

// Up to what is more than a handler, or to where somebody waits.
[[gnu::always_inline]] inline void Convoy::run_handlers() {
  const u32 begin = pc_, limit = limit_, count = walker_count_;
  const Walker* const end = walkers_ + count;
  u32 pc = begin;
  for (const Op* op = code_ + begin; pc != limit && op->control == Control::kPlain; ++op, ++pc)
    convoy_code_[pc](walkers_, end, *op, current_);
  pc_ = pc;
  executed_ += u64{count} * (pc - begin);
}

// What a branch jumps over, for the lanes that do not jump.
void Convoy::run_skipped(const Op& op, const u32* taken) {
  Walker staying[kConvoyMax];
  u32 count = 0;
  for (u32 j = 0; j < walker_count_; ++j) {
    const u32 mask = walkers_[j].mask & ~taken[j];
    staying[count] = {walkers_[j].warp, mask, 0};
    count += mask != 0 ? 1 : 0;
  }
  executed_ += u64{count} * (op.target - pc_);
  while (++pc_ < op.target) convoy_code_[pc_](staying, staying + count, code_[pc_], current_);
}

Convoy::Step Convoy::branch(const Op& op) {
  const u32 count = walker_count_, guard = op.guard, negation = op.guard_negated ? kAllLanes : 0;
  u32 taken[kConvoyMax], any = 0, left = 0;
  for (u32 j = 0; j < count; ++j) {
    const u32 mask = walkers_[j].mask;
    const u32 lanes = (walkers_[j].warp->predicates[guard] ^ negation) & mask;
    taken[j] = lanes;
    any |= lanes;
    left |= lanes ^ mask;
  }
  const u32 next = pc_ + 1;
  if (any == 0) {
    pc_ = next;
    return Step::kGoOn;
  }
  if (op.target > pc_) {
    if (left == 0) {
      pc_ = op.target;
      return pc_ <= limit_ ? Step::kGoOn : Step::kChoose;
    }
    if ((op.flags & kSkipsPlain) != 0 && op.target <= limit_) {
      run_skipped(op, taken);
      return Step::kGoOn;
    }
    split<false>(taken, op.target);
    limit_ = std::min(limit_, op.target);
    pc_ = next;
    return Step::kGoOn;
  }
  if (left != 0) {  // those that leave a loop wait behind it
    split<true>(taken, next);
    limit_ = std::min(limit_, next);
  }
  pc_ = op.target;
  return alone_ || ++spins_ < kSpinsMax ? Step::kGoOn : Step::kStop;
}

// Everybody who lives arrives at the same barrier at once, so nobody has to wait.
bool Convoy::all_wait_here(const Op& op) {
  const bool same = op.a >> 30 == kConstantSlot >> 30;
  if (op.flags != kBarrierSync || op.b != kNoSlot || op.guard != 0 || !same || block_.races)
    return false;
  if (threads_ == 0) {
    for (u32 j = 0; j < walker_count_; ++j) {
      const u32 mask = walkers_[j].mask;  // to count bits is a call here
      threads_ += mask == kAllLanes ? kLanes : static_cast<u32>(__builtin_popcount(mask));
    }
  }
  if (threads_ != block_.living) return false;
  const u32 id = lanes32(*walkers_[0].warp, op.a)[0];
  return id < block_.barriers.size() && block_.barriers[id].arrived == 0;
}

Convoy::Step Convoy::control(const Op& op) {
  if (op.control == Control::kYield) return Step::kStop;
  if (op.control == Control::kBarrier && all_wait_here(op)) return ++pc_, Step::kGoOn;
  if (op.control == Control::kWarpSync && !block_.races) {
    // Whoever is meant is here where a warp is in one piece.
    bool whole = true;
    for (u32 j = 0; j < walker_count_; ++j) whole &= walkers_[j].warp->group_count == 1;
    if (whole && op.guard == 0) {
      for (u32 j = 0; op.handler != nullptr && j < walker_count_; ++j) {
        *current_ = walkers_[j].warp;
        walkers_[j].warp->current = &op;
        op.handler(*walkers_[j].warp, op, walkers_[j].mask);
      }
      return ++pc_, Step::kGoOn;
    }
  }
  park();
  for (u32 j = 0; j < walker_count_; ++j) {
    Warp& warp = *walkers_[j].warp;
    const u32 active = guarded(warp, op, walkers_[j].mask);
    *current_ = &warp;
    if (active != 0)
      carry_out(block_, warp, walkers_[j].index, op, active);
    else
      ++walkers_[j].group().pc;
  }
  walker_count_ = 0;  // they are wherever that took them
  return Step::kChoose;
}

bool Convoy::let_strays_go() {
  bool any = false;
  for (u32 k = 0; k < warp_count_; ++k) {
    *current_ = warps_[k];
    any |= warps_[k]->group_count > 1 && let_stray_groups_go(*warps_[k]);
  }
  return any;
}

ConvoyOutcome Convoy::run(u32 quantum, bool* progress) {
  const u64 budget = u64{quantum} * warp_count_;
  for (;;) {
    if (!choose()) {
      if (!let_strays_go()) return ConvoyOutcome::kBlocked;
      continue;
    }
    *progress = true;
    gather();
    Step step = Step::kGoOn;
    while (step == Step::kGoOn) {
      run_handlers();
      if (pc_ == limit_) {
        // Who waits here is next in any case: all others of this depth wait ahead.
        park();
        gather();
        continue;
      }
      const Op& op = code_[pc_];
      executed_ += walker_count_;
      if (op.control == Control::kBranch) {
        step = branch(op);
        if (executed_ >= budget) step = Step::kStop;
      } else {
        step = control(op);
      }
    }
    park();
    if (step == Step::kStop)
      return executed_ >= budget ? ConvoyOutcome::kQuantum : ConvoyOutcome::kDisbanded;
  }
}

}  // namespace

u32 convoy_size(const Kernel& kernel) {
  const u32 bytes = kernel.register_bytes + kernel.predicates * u32{sizeof(u32)};
  return std::clamp(kBytesMax / std::max(bytes, 1u), 1u, kConvoyMax);
}

ConvoyOutcome run_convoy(Block& block, u32 first, u32 count, u32 quantum, bool* progress,
                         Warp* volatile* current) {
  return Convoy(block, first, count, current).run(quantum, progress);
}

}  // namespace farcall::softgpu
