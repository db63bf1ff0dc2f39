// Kernels that a running kernel launches (dynamic parallelism). They are begun when the grid that
// launched them has ended: CUDA promises no more, since nothing in a kernel can wait for its
// children. One after the other, each with what it launches itself, in the order in which they were
// launched: so every order that streams and events ask for holds. What was launched into the tail
// stream comes last.
//
// One object goes with each launch by the host; the blocks of a grid use it from all workers.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/types.h"

namespace farcall::softgpu {

// A kernel as device code names it, with its shape.
struct ChildLaunch {
  Program* program = nullptr;
  u64 kernel_address = 0;
  Dim3 grid, block, cluster;
  u32 dynamic_shared_bytes = 0;
  std::vector<std::byte> params;
};

// Of CUDA's runtime, as device code gets them.
enum class DeviceError : u32 {
  kNone = 0,
  kInvalidValue = 1,
  kInvalidConfiguration = 9,
  kLaunchPendingCountExceeded = 69,
  kInvalidDeviceFunction = 98,
  kInvalidResourceHandle = 400,
};

class ChildLaunches {
 public:
  explicit ChildLaunches(AddressSpace& memory) : memory_(memory) {}
  ~ChildLaunches();
  ChildLaunches(const ChildLaunches&) = delete;
  ChildLaunches& operator=(const ChildLaunches&) = delete;

  // ---- for device code ----
  // Memory for the kernel's parameters; 0: *error says why.
  u64 prepare(ChildLaunch launch, DeviceError* error);
  // Takes the parameters as they are in the buffer now, which is then no longer the caller's.
  DeviceError launch(u64 buffer, u64 stream);
  // Streams and events order nothing that the order of launches does not; they are only known.
  u64 create_handle();
  bool destroy_handle(u64 handle);
  bool knows(u64 handle) const;  // 0, too: the block's own stream
  // Of one thread of the grid that runs.
  void set_error(u64 thread, DeviceError error);
  DeviceError error(u64 thread) const;

  // ---- for the engine, while no grid runs ----
  void grid_ended();
  bool next(ChildLaunch* out);  // false: all are done

 private:
  struct Prepared {
    ChildLaunch launch;
    u64 buffer_bytes;
  };
  u64 take_buffer(u64 bytes);

  AddressSpace& memory_;
  mutable std::mutex mutex_;
  std::map<u64, Prepared> prepared_;              // by buffer
  std::map<u64, std::vector<u64>> free_buffers_;  // by size
  std::vector<void*> slabs_;
  std::vector<ChildLaunch> launched_, tail_;  // by the grid that runs
  std::vector<ChildLaunch> waiting_;          // the next one at the end
  std::set<u64> handles_;
  u64 next_handle_ = 0x100;  // behind those with a meaning of their own
  std::unordered_map<u64, DeviceError> errors_;
};

}  // namespace farcall::softgpu
