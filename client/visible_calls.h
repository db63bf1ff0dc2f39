// The calls behind memory that kernels see: what server/visible_memory.h answers. They go around
// Call, whose care for such memory they are part of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "client/session.h"

namespace farcall::client {

// Memory there at `wanted`, or, if 0, where the server likes. A CUresult.
int map_there(Session& session, uint64_t wanted, size_t bytes, bool on_device, uint64_t* address);
// Once the device is idle. 0: only waits. A CUresult; nobody waits unless somebody must.
int release_there(Session& session, uint64_t address);
// What is there now. A CUresult.
int read_there(Session& session, uint64_t context, uint64_t address, std::span<std::byte> to);

// Sends what the program has written. Gathers small changes into one call; large ones are sent from
// where they lie. What was added is on its way when it is destroyed.
class ChangeSender {
 public:
  ChangeSender(Session& session, uint64_t context) : session_(session), context_(context) {}
  ~ChangeSender() { flush(); }
  ChangeSender(const ChangeSender&) = delete;
  ChangeSender& operator=(const ChangeSender&) = delete;

  // `may_join`: a change that follows the last one's bytes is the same piece of memory there.
  void add(uint64_t address, std::span<const std::byte> bytes, bool may_join);

 private:
  void flush();
  void post(std::span<const uint64_t> pieces, std::span<const std::byte> bytes);

  Session& session_;
  const uint64_t context_;
  std::vector<uint64_t> pieces_;
  std::vector<std::byte> gathered_;
};

}  // namespace farcall::client
