#include "softgpu/exec/grid.h"

#include <pthread.h>
#include <signal.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "softgpu/exec/block.h"
#include "softgpu/exec/convoy.h"
#include "softgpu/exec/describe.h"
#include "softgpu/exec/fault.h"
#include "softgpu/exec/warp.h"

namespace farcall::softgpu {
namespace {

// Blocks that one worker keeps going at once while they wait for each other.
constexpr size_t kResidentMax = 64;
// Instructions before another warp gets its turn. Where several blocks are under way most of them
// spin, waiting for one of the others: short turns find that one soon.
constexpr u32 kQuantum = 20'000, kQuantumAmongBlocks = 1'000;

// One thread's part of a grid. Lives outside of the code that a fault jumps out of.
struct Share {
  GridRun& run;
  BlockPool& pool;
  std::vector<std::unique_ptr<Block>> resident;
  std::vector<std::unique_ptr<Block>> spare;  // finished; the next ones, without asking the pool
  Warp* volatile current_warp = nullptr;
  u32 together;      // warps of a block, see convoy.h
  bool more = true;  // blocks to start
  bool out_of_memory = false;
  u32 warp_turns = 0;
  std::vector<std::unique_ptr<Cluster>> clusters;  // of the resident blocks
};

// Who waits at a barrier, of the block or the cluster, has its pc behind the instruction.
bool is_behind(const Group& group) {
  return group.wait == Group::Wait::kBarrier || group.wait == Group::Wait::kCluster;
}

// Where the warp is: its first group's next instruction.
const Op& next_op(const Warp& warp, int* lane) {
  const Kernel& kernel = *warp.block->kernel;
  if (warp.group_count == 0) {
    *lane = -1;
    return kernel.code[0];
  }
  const Group& group = warp.groups[0];
  *lane = __builtin_ctz(group.mask);
  return kernel.code[is_behind(group) ? group.pc - 1 : group.pc];
}

// Ends the run if somebody wants that or its time is over.
void check_end(Share& share, Warp& warp) {
  GridRun& run = share.run;
  const bool stop = run.stop != nullptr && run.stop->load(std::memory_order_relaxed);
  const bool late = !stop && run.deadline != std::chrono::steady_clock::time_point::max() &&
                    std::chrono::steady_clock::now() > run.deadline;
  if (!stop && !late) return;
  share.current_warp = &warp;
  int lane = -1;
  const Op& op = next_op(warp, &lane);
  raise_fault(warp, op, lane, stop ? Fault::Kind::kStopped : Fault::Kind::kTimeout, 0,
              stop ? "its context ends" : run.deadline_text.c_str());
}

// "threads (0,0,0) to (31,0,0) at PTX line 12, a.cu:7, barrier 0: 32 of 64 have arrived; ..."
std::string describe_waits(const Block& block) {
  constexpr int kShownMax = 8;
  std::string text = "every thread of the block waits: ";
  int shown = 0;
  for (u32 k = 0; k < block.warp_count; ++k) {
    const Warp& warp = *block.warps[k];
    for (u32 i = 0; i < warp.group_count; ++i) {
      if (++shown > kShownMax) continue;
      const Group& group = warp.groups[i];
      const bool at_barrier = group.wait == Group::Wait::kBarrier;
      const u32 first = static_cast<u32>(__builtin_ctz(group.mask)),
                last = 31u - static_cast<u32>(__builtin_clz(group.mask));
      if (shown > 1) text += "; ";
      text +=
          fmt::format("{} thread{} {}", __builtin_popcount(group.mask), first == last ? "" : "s",
                      describe_thread(block, warp.index * kLanes + first));
      if (first != last) text += " to " + describe_thread(block, warp.index * kLanes + last);
      text +=
          " at " + describe_place(*block.kernel,
                                  block.kernel->code[is_behind(group) ? group.pc - 1 : group.pc]);
      if (group.wait == Group::Wait::kCluster) {
        text += " for other blocks of the cluster";
        continue;
      }
      if (!at_barrier) {
        text += " for lanes of their warp";
        continue;
      }
      const Barrier& barrier = block.barriers[group.barrier];
      text += fmt::format(" for barrier {}, where {} of {} have arrived", group.barrier,
                          barrier.arrived, barrier.expected != 0 ? barrier.expected : block.living);
    }
  }
  if (shown > kShownMax) text += fmt::format("; and {} more groups", shown - kShownMax);
  return text;
}

enum class BlockState : u8 { kFinished, kBlocked, kRunning };

// Lets `count` warps from `first` on run once. True: some could go on.
bool run_warps(Share& share, Block& block, u32 first, u32 count, u32 quantum, bool* progress) {
  if (count > 1) {
    const ConvoyOutcome outcome =
        run_convoy(block, first, count, quantum, progress, &share.current_warp);
    if (outcome != ConvoyOutcome::kDisbanded) return outcome == ConvoyOutcome::kQuantum;
  }
  bool any_quantum = false;
  for (u32 k = first; k < first + count; ++k) {
    Warp& warp = *block.warps[k];
    if (warp.group_count == 0) continue;
    share.current_warp = &warp;
    any_quantum |= run_warp(block, warp, quantum, progress) == Outcome::kQuantum;
  }
  return any_quantum;
}

// The first of some warps that is not done; nullptr: all are.
Warp* first_living(const Block& block, u32 first, u32 count) {
  for (u32 k = first; k < first + count; ++k) {
    if (block.warps[k]->group_count != 0) return block.warps[k].get();
  }
  return nullptr;
}

// Lets every warp run once, or until the block is done when nobody else wants the thread.
BlockState run_block(Share& share, Block& block, bool to_the_end, bool* progress) {
  const u32 quantum = share.resident.size() > 1 ? kQuantumAmongBlocks : kQuantum;
  for (;;) {
    bool any_progress = false, any_quantum = false;
    for (u32 first = 0; first < block.warp_count; first += share.together) {
      const u32 count = std::min(share.together, block.warp_count - first);
      if (first_living(block, first, count) == nullptr) continue;
      any_quantum |= run_warps(share, block, first, count, quantum, &any_progress);
      Warp* const living = first_living(block, first, count);
      if (living != nullptr) share.current_warp = living;
      if (++share.warp_turns == share.run.warp_turns_max && living != nullptr) {
        raise_fault(*living, *living->current, -1, Fault::Kind::kTimeout, 0,
                    "too many instructions");
      }
      if (share.run.stopped.load(std::memory_order_relaxed)) return BlockState::kRunning;
      check_end(share, living != nullptr ? *living : *block.warps[first]);
    }
    *progress |= any_progress;
    if (block.living == 0) return BlockState::kFinished;
    if (!any_progress) return BlockState::kBlocked;
    if (any_quantum && !to_the_end) return BlockState::kRunning;
  }
}

void start(Share& share, std::array<u32, 3> index, Cluster* cluster, u32 rank) {
  std::unique_ptr<Block> block;
  if (share.spare.empty()) {
    block = share.pool.take();
  } else {
    block = std::move(share.spare.back());
    share.spare.pop_back();
  }
  if (!start_block(*block, share.run, index, cluster, rank)) {
    share.out_of_memory = true;
    share.more = false;
    share.run.stopped = true;
  }
  share.resident.push_back(std::move(block));
}

u32 cluster_size(const GridRun& run) {
  const Dim3 shape = run.launch->cluster;
  return shape.x * shape.y * shape.z;
}

// Starts the next block, or all blocks of the next cluster.
void start_next(Share& share) {
  GridRun& run = share.run;
  const u32 size = cluster_size(run);
  const Dim3 shape = run.launch->cluster, grid = run.launch->grid;
  const u64 index = run.next_block.fetch_add(1, std::memory_order_relaxed);
  if (index >= run.block_total / size) {
    share.more = false;
    return;
  }
  const Dim3 clusters = {grid.x / shape.x, grid.y / shape.y, grid.z / shape.z};
  const std::array<u32, 3> first = {static_cast<u32>(index % clusters.x) * shape.x,
                                    static_cast<u32>(index / clusters.x % clusters.y) * shape.y,
                                    static_cast<u32>(index / clusters.x / clusters.y) * shape.z};
  if (size == 1) return start(share, first, nullptr, 0);
  share.clusters.push_back(std::make_unique<Cluster>());
  Cluster* const cluster = share.clusters.back().get();
  cluster->count = size;
  for (u32 rank = 0; rank < size; ++rank) {
    start(share,
          {first[0] + rank % shape.x, first[1] + rank / shape.x % shape.y,
           first[2] + rank / shape.x / shape.y},
          cluster, rank);
  }
}

// The block at `index` of the resident ones is done. True: it is gone, and others of its cluster
// with it; one whose cluster goes on is kept, for its shared memory.
bool retire(Share& share, size_t index) {
  Cluster* const cluster = share.resident[index]->cluster;
  for (u32 rank = 0; rank < cluster->count; ++rank) {
    if (cluster->blocks[rank]->living != 0) return false;
  }
  if (cluster->count == 1) {
    share.spare.push_back(std::move(share.resident[index]));
    share.resident.erase(share.resident.begin() + static_cast<std::ptrdiff_t>(index));
    return true;
  }
  std::erase_if(share.resident, [&](std::unique_ptr<Block>& block) {
    if (block->cluster != cluster) return false;
    share.spare.push_back(std::move(block));
    return true;
  });
  std::erase_if(share.clusters, [&](const auto& other) { return other.get() == cluster; });
  return true;
}

void run_share(void* argument) {
  Share& share = *static_cast<Share*>(argument);
  GridRun& run = share.run;
  const bool may_wait = run.kernel->may_wait || run.launch->cooperative;
  const size_t resident_max = run.launch->cooperative ? ~size_t{0} : kResidentMax;
  const bool to_the_end = !may_wait && cluster_size(run) == 1;
  while (!run.stopped.load(std::memory_order_relaxed)) {
    // Blocks start in the order of their indices. One that only spins may wait for one that has not
    // started.
    if (share.more &&
        (share.resident.empty() || (may_wait && share.resident.size() < resident_max))) {
      start_next(share);
      if (run.stopped.load(std::memory_order_relaxed)) break;
    }
    if (share.resident.empty()) break;
    bool progress = false;
    for (size_t k = 0; k < share.resident.size();) {
      if (share.resident[k]->living == 0) {  // waits for its cluster
        ++k;
        continue;
      }
      const BlockState state = run_block(share, *share.resident[k], to_the_end, &progress);
      if (run.stopped.load(std::memory_order_relaxed)) return;
      // Others that were before it may be gone, too: then one is passed over, until the next round.
      if (state != BlockState::kFinished || !retire(share, k)) ++k;
    }
    if (!progress && !share.resident.empty()) {
      // Only a block's own threads can release its barriers, so nothing will ever change.
      const auto stuck = std::find_if(share.resident.begin(), share.resident.end(),
                                      [](const auto& block) { return block->living != 0; });
      if (stuck == share.resident.end()) continue;
      Block& block = **stuck;
      Warp* waiting = block.warps[0].get();
      for (u32 k = 0; k < block.warp_count; ++k) {
        if (block.warps[k]->group_count == 0) continue;
        waiting = block.warps[k].get();
        break;
      }
      share.current_warp = waiting;
      int lane = -1;
      const Op& op = next_op(*waiting, &lane);
      block.text = describe_waits(block);  // lives on when the fault jumps
      raise_fault(*waiting, op, lane, Fault::Kind::kDeadlock, 0, block.text.c_str());
    }
    if (may_wait && !share.more) std::this_thread::yield();
  }
}

void work_on(GridRun& run, BlockPool& pool) {
  // A checker is told what each warp does by itself.
  const u32 together = run.checker == nullptr ? convoy_size(*run.kernel) : 1;
  Share share{run, pool, {}, {}, nullptr, together, true, false, 0, {}};
  DeviceCodeScope scope;
  Fault fault;
  const bool ok = scope.run_guarded(run_share, &share, &share.current_warp, &fault);
  if (share.out_of_memory)
    fault = {Fault::Kind::kStackOverflow,
             "out of host memory for the blocks of kernel " + run.kernel->info.name, 0};
  if (!ok || share.out_of_memory) {
    const std::lock_guard lock(run.fault_mutex);
    if (!run.fault) run.fault = std::move(fault);
    run.stopped = true;
  }
  for (auto& block : share.resident) pool.give(std::move(block));
  for (auto& block : share.spare) pool.give(std::move(block));
}

}  // namespace

std::unique_ptr<Block> BlockPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!blocks_.empty()) {
      auto block = std::move(blocks_.back());
      blocks_.pop_back();
      return block;
    }
  }
  return std::make_unique<Block>();
}

void BlockPool::give(std::unique_ptr<Block> block) {
  const std::lock_guard lock(mutex_);
  if (blocks_.size() < kKeptMax) blocks_.push_back(std::move(block));
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::start_threads(unsigned count) {
  // The program's signals are the program's threads' business.
  sigset_t all, before;
  sigfillset(&all);
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, signal);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (threads_.size() < count) {
    threads_.emplace_back([this] { help(); });
    pthread_setname_np(threads_.back().native_handle(), "softgpu-worker");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void WorkerPool::run(GridRun& run) {
  // Waking another core costs some ten microseconds: not for grids that are done by then.
  constexpr u64 kThreadsAlone = 1024;
  const Dim3 shape = run.launch->block;
  const u64 threads = run.block_total * shape.x * shape.y * shape.z;
  const auto helpers =
      static_cast<unsigned>(std::min<u64>(helpers_max_, run.block_total / cluster_size(run) - 1));
  if (helpers == 0 || threads <= kThreadsAlone) return work_on(run, blocks_);

  Job job{&run, helpers, 0};
  {
    const std::lock_guard lock(mutex_);
    start_threads(helpers_max_);
    jobs_.push_back(&job);
  }
  if (helpers == 1)
    work_.notify_one();
  else
    work_.notify_all();
  work_on(run, blocks_);
  std::unique_lock lock(mutex_);
  std::erase(jobs_, &job);
  done_.wait(lock, [&] { return job.running == 0; });
}

void WorkerPool::help() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto found =
        std::find_if(jobs_.begin(), jobs_.end(), [](const Job* job) { return job->wanted > 0; });
    if (found == jobs_.end()) {
      if (stopping_) return;
      work_.wait(lock);
      continue;
    }
    Job& job = **found;
    --job.wanted;
    ++job.running;
    lock.unlock();
    work_on(*job.run, blocks_);
    lock.lock();
    if (--job.running == 0) done_.notify_all();
  }
}

}  // namespace farcall::softgpu
