// A device: its identity and limits, its memory, the engine that runs its kernels, and its primary
// context.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "driverabi/visible_devices.h"
#include "softgpu/driver/device_memory.h"
#include "softgpu/driver/device_output.h"
#include "softgpu/driver/driver.h"
#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

// What a multiprocessor of this compute capability holds, after NVIDIA's tables of technical
// specifications.
struct Limits {
  int threads_per_block = 1024;
  int block_x = 1024, block_y = 1024, block_z = 64;
  int grid_x = 2147483647, grid_y = 65535, grid_z = 65535;
  int warp = 32;
  int multiprocessors =
      4;  // fixed, so that programs which size their grids by it do the same everywhere
  int threads_per_multiprocessor = 1536;
  int blocks_per_multiprocessor = 24;
  int registers_per_multiprocessor = 65536, registers_per_block = 65536;
  int shared_per_multiprocessor = 102400;
  int shared_per_block = 49152, shared_per_block_optin = 101376;
  int shared_reserved_per_block = 1024;
  int constant_bytes = 65536;
  size_t pitch_max = 2147483647;
  size_t pitch_alignment = 512;
};
Limits limits_of(int sm);

class Device {
 public:
  // `ordinal`: the program's number for it; `number`: the machine's.
  Device(Driver& driver, int ordinal, int number);

  Driver& driver() const { return driver_; }
  const int ordinal;
  const int number;
  const int sm;
  const Limits limits;
  CUuuid uuid;
  int pci_bus() const { return kPciBusFirst + number; }
  // Of the whole machine, by number.
  static std::vector<driverabi::DeviceUuid> all_uuids(const Config& config);
  static constexpr int kPciDomain = 0, kPciBusFirst = 1, kPciDevice = 0;

  DeviceMemory memory;
  DeviceOutput output;
  Engine& engine();  // made when first needed
  const ContextRef& primary();

  // The pool of cuMemAllocAsync; cuDeviceSetMemPool changes it.
  const std::shared_ptr<Pool>& default_pool();
  std::shared_ptr<Pool> pool();
  void set_pool(std::shared_ptr<Pool> pool);
  void trim_pools();  // of all they keep for reuse

  // Bytes of allocation nodes of graphs, now and at most.
  void graph_memory_changes(int64_t bytes);
  std::atomic<uint64_t> graph_memory = 0, graph_memory_high = 0;

  // INVALID_VALUE: no such attribute.
  CUresult attribute(CUdevice_attribute attribute, int* value) const;

 private:
  Driver& driver_;
  std::mutex mutex_;
  std::unique_ptr<Engine> engine_;
  ContextRef primary_;
  std::shared_ptr<Pool> default_pool_, pool_;
};

}  // namespace farcall::softgpu
