// Host memory of the program that kernels can see: managed and mapped memory, at the program's own
// addresses. Managed memory is device memory that the driver maps there (virtual memory
// management); mapped memory, and managed memory that the device has no room or no means for, is
// host memory of this process, mapped there and registered. Managed variables live where the driver
// has put them; the client takes over the address.
//
// Bytes move when the client says so, at once and beside all streams: the program may only touch
// such memory when no kernel uses it, so there is nothing to be ordered with. Any thread.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>

#include "server/staging.h"

namespace farcall::server {

struct DriverTable;

class VisibleMemory {
 public:
  // Of this host's memory, in one session.
  static constexpr uint64_t kHostBytesMax = uint64_t{4} << 30;
  static constexpr size_t kRangesMax = 64 * 1024;

  VisibleMemory(const DriverTable& driver, Staging& staging) : driver_(driver), staging_(staging) {}
  VisibleMemory(const VisibleMemory&) = delete;
  VisibleMemory& operator=(const VisibleMemory&) = delete;

  // `wanted` 0: anywhere. MAP_FAILED: something else is there.
  CUresult map(uint64_t wanted, uint64_t bytes, bool on_device, uint64_t* address);
  // A managed variable of a module.
  CUresult adopt(uint64_t address, uint64_t bytes);
  // Nothing uses it any more.
  CUresult release(uint64_t address);

  struct Piece {
    uint64_t address = 0, bytes = 0;
  };
  // The pieces' bytes, back to back. INVALID_VALUE, and nothing is written, if one of them does not
  // lie within a range.
  CUresult write(std::span<const Piece> pieces, std::span<const std::byte> bytes);
  using Send = std::function<void(uint64_t offset, std::span<const std::byte>)>;
  CUresult read(uint64_t address, uint64_t bytes, const Send& send);

  // The context is going, and with it all memory that was made in it. Variables are their
  // library's.
  void forget(CUcontext context);

 private:
  enum class Kind : uint8_t { kDevice, kHost, kAdopted };
  struct Range {
    uint64_t bytes = 0;
    Kind kind = Kind::kHost;
    CUmemGenericAllocationHandle memory = 0;  // kDevice
    CUcontext context = nullptr;              // that it was made in
  };

  CUresult map_on_device(uint64_t wanted, uint64_t bytes, uint64_t* address, Range* range);
  CUresult map_on_host(uint64_t wanted, uint64_t bytes, uint64_t* address, Range* range);
  CUresult unmap(uint64_t address, const Range& range);
  CUresult open_for_devices(uint64_t address, uint64_t bytes, int device);
  const Range* find(uint64_t address, uint64_t bytes);  // that contains all of it
  CUresult copy_stream(CUstream* stream);

  const DriverTable& driver_;
  Staging& staging_;
  std::mutex mutex_;  // guards what follows; held while bytes move
  std::map<uint64_t, Range> ranges_;
  std::map<CUcontext, CUstream> streams_;
  uint64_t host_bytes_ = 0;
};

}  // namespace farcall::server
