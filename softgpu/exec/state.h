// A running grid: its blocks and warps. A Block and its Warps belong to one worker thread at a
// time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/image_cache.h"
#include "softgpu/exec/op.h"
#include "softgpu/exec/types.h"

namespace farcall::softgpu {

struct Block;
struct GridRun;
class Checker;
class RaceState;
class ChildLaunches;
class DeviceHeap;

// Lanes of a warp that share a program counter. All lanes that live are in exactly one group.
struct Group {
  enum class Wait : u8 { kReady, kWarpSync, kBarrier, kCluster };
  u32 pc;
  u32 mask;
  u32 depth;  // of calls: inner groups run first, so that callers meet again
  u32 spins;  // branches back while others were ready
  Wait wait;
  u8 barrier;
};

struct alignas(64) Warp {
  u8* base[4];  // by the upper two bits of a Slot
  u32* predicates;

  // What memory instructions check against first. `*_limit` is one past the last byte, relative to
  // the base; while a checker watches it is 0, so every access takes the slow way through
  // checked_address().
  u64 window_base, window_limit;
  u64 shared_base, shared_limit;
  u64 local_base, local_limit;
  // How long these really are.
  u64 shared_bytes, local_bytes;

  Block* block;
  u32 index;  // in the block
  u32 members, exited;
  u32 cluster_arrived;  // at barrier.cluster, in the phase that is not over
  u32 carry;            // CC.CF of each lane
  u32 group_count;
  Group groups[kLanes];

  // Set by whatever may fault; read after a signal, so never kept in a register.
  const Op* volatile current;
  volatile u32 current_mask;
  volatile int current_lane;  // -1: all of current_mask

  u64 prepared_for;  // GridRun::grid_id that special registers and frames are filled for
  Buffer registers, local;
};

// Lanes of a warp that go along in a convoy.
struct Walker {
  Warp* warp;
  u32 mask;
  u32 index;  // of the group
  Group& group() const { return warp->groups[index]; }
};

struct Barrier {
  u32 arrived = 0;
  u32 expected = 0;  // 0: all living threads
  u32 result = 0;    // of bar.red
};

// Blocks that run together and see each other's shared memory. They all belong to one worker thread
// and are kept until the last of them is done.
struct Cluster {
  static constexpr u32 kBlocksMax = 16;
  u32 count = 1;
  u32 arrived = 0;                        // living threads at barrier.cluster
  std::array<Block*, kBlocksMax> blocks;  // by rank
};

struct alignas(64) Block {
  GridRun* run;
  const Kernel* kernel;
  std::array<u32, 3> index;
  Cluster* cluster;
  u32 rank;       // in the cluster
  Cluster alone;  // of a launch without clusters
  u32 threads, living;
  std::array<Barrier, 16> barriers;
  std::vector<std::unique_ptr<Warp>> warps;
  u32 warp_count;
  Buffer shared, values;
  u64 params;            // address of the launch's parameters
  u64 prepared_for = 0;  // GridRun::grid_id that grid-wide values are computed for
  // For checkers; empty while they are off.
  std::shared_ptr<RaceState> races;
  std::vector<bool> shared_written;  // each byte of shared memory
  std::string text,
      string_argument;  // of device-side printf, here because a fault skips destructors
  u32 barriers_begun;   // a bit for each at which somebody has arrived
};

// A grid while it runs; lives on the stack of Engine::launch().
struct GridRun {
  const Launch* launch;
  const Kernel* kernel;
  AddressSpace* memory;
  DeviceHeap* heap;
  ChildLaunches* children;
  Checker* checker = nullptr;  // nullptr: nobody watches
  const std::function<void(std::string_view, bool)>* output;
  std::mutex* output_mutex;
  const std::function<bool(u64, u32)>* set_condition;  // of the engine's options; may be empty
  const u8* params;
  u64 param_bytes;
  u64 block_total;
  u64 grid_id;
  unsigned worker_count;
  u32 warp_turns_max;  // 0: no limit
  u32 stack_bytes;     // local memory of a thread

  // When to end before the end; see Launch.
  const std::atomic<bool>* stop = nullptr;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::string deadline_text;

  // What cooperative groups calls the grid workspace; %envreg1 and 2 hold its address.
  struct Workspace {
    u32 size = 4;
    u32 barrier = 0;
  } workspace;

  ImageCache images;
  // Written by all workers all the time: apart from what they only read.
  alignas(64) std::atomic<u64> next_block{0};
  alignas(64) std::atomic<bool> stopped{false};
  std::mutex fault_mutex;
  std::optional<Fault> fault;
};

}  // namespace farcall::softgpu
