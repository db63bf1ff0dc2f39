// The barrier object that PTX keeps in 64 bits of shared memory. Its layout is ours; programs see
// it as opaque. A block and its cluster run on one thread, so nothing here is atomic.
//
// A phase ends when all expected arrivals have happened and as many bytes have come as were
// expected. Asynchronous copies complete at once, often before the program says that it expects
// their bytes: the count of bytes may be negative meanwhile.
#pragma once

#include "softgpu/exec/types.h"

namespace farcall::softgpu {

struct Mbarrier {
  static constexpr u32 kCountMax = (1u << 20) - 1;
  u64 pending : 20;   // arrivals of this phase that are missing
  u64 expected : 20;  // arrivals of each further phase
  u64 bytes : 21;     // expected and not yet there, signed
  u64 phase : 3;

  static Mbarrier load(const u8* address) {
    Mbarrier value;
    __builtin_memcpy(&value, address, sizeof value);
    return value;
  }
  void store(u8* address) const { __builtin_memcpy(address, this, sizeof *this); }
  u64 bits() const {
    u64 value;
    __builtin_memcpy(&value, this, sizeof value);
    return value;
  }

  void expect(u32 count) { bytes = (bytes + count) & 0x1f'ffff; }
  void complete(u32 count) {
    bytes = (bytes - count) & 0x1f'ffff;
    end_phase_if_complete();
  }
  // False: there are not that many arrivals to come.
  bool arrive(u32 count) {
    if (count > pending) return false;
    pending -= count;
    end_phase_if_complete();
    return true;
  }
  void end_phase_if_complete() {
    if (pending != 0 || bytes != 0) return;
    phase = (phase + 1) & 7;
    pending = expected;
  }
};
static_assert(sizeof(Mbarrier) == 8);

}  // namespace farcall::softgpu
