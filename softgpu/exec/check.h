// The checkers behind FARCALL_SOFTGPU_CHECK: they watch every access of kernels to memory.
//
// When one is on, the quick checks of the handlers see memory of length zero (Warp::*_limit), so
// each access comes to checked_address(), which calls Checker::access() before it happens. When
// none is, nothing here costs anything.
//
// memcheck: the bytes must lie in one allocation, variable or live block of the device's heap; a
// violation ends the kernel like any other illegal address. racecheck (race.h) and initcheck
// (unwritten.h) report what they find, once for each place in the code, and the kernel goes on.
#pragma once

#include <functional>
#include <mutex>
#include <set>
#include <string>

#include "softgpu/exec/race.h"
#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// Bytes behind every variable that memcheck keeps free. A multiple of the alignments that variables
// have, so that layouts change in nothing else.
constexpr u32 kRedZoneBytes = 128;

class Checker {
 public:
  // `memory` outlives it.
  Checker(CheckTools tools, AddressSpace& memory, std::function<void(const Finding&)> report)
      : tools_(tools), memory_(memory), report_(std::move(report)) {}

  void start_block(Block& block, u64 shared_bytes) const;

  // A lane is about to access memory that the device may use. Raises a fault if memcheck objects.
  void access(Warp& warp, const Op& op, int lane, u64 address, u64 bytes, Access access);

  // A kernel has ended with this.
  void report_fault(const Fault& fault) const;

 private:
  void shared_access(Warp& warp, const Op& op, int lane, u64 address, u64 bytes, Access access);
  // False: this was reported before.
  bool is_new(CheckTool tool, const Block& block, const Op& op, u32 other);
  void report_unwritten(const Warp& warp, const Op& op, int lane, u64 address, u64 bytes,
                        Access access);
  void report_race(const Warp& warp, const Op& op, int lane, u64 bytes, Access access,
                   const RaceState::Conflict& conflict);

  struct Place {
    CheckTool tool;
    u64 kernel;  // its id
    u32 op, other;
    auto operator<=>(const Place&) const = default;
  };

  const CheckTools tools_;
  AddressSpace& memory_;
  const std::function<void(const Finding&)> report_;
  std::mutex mutex_;
  std::set<Place> reported_;  // guarded by mutex_
};

}  // namespace farcall::softgpu
