// Where a libnvidia-ml.so.1 of ours has its facts from. Each library that is built of this folder
// defines source(): the client's asks its session, softgpu's asks softgpu's driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nvml/nvml.h"
#include "nvml/readings.h"

namespace farcall::nvml {

// What a device is called.
struct DeviceDescription {
  int ordinal = -1;  // CUDA's; -1: CUDA_VISIBLE_DEVICES hides it from the program
  std::string name;
  std::string uuid;        // "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
  std::string pci_bus_id;  // "00000000:01:00.0"
  int compute_capability_major = 0, compute_capability_minor = 0;
};

class Source {
 public:
  virtual ~Source() = default;

  // Connects, if need be, and gives the devices. DRIVER_NOT_LOADED: there is nothing to connect to.
  virtual nvmlReturn_t open(std::vector<DeviceDescription>* devices) = 0;
  virtual int cuda_version() = 0;  // of the driver, 13000 for 13.0
  virtual nvmlReturn_t read(const DeviceDescription& device, ReadingGroup group,
                            Readings* readings) = 0;
  // Ordinals of devices that the program sees.
  virtual nvmlReturn_t can_access_peer(int ordinal, int peer, bool* can) = 0;
  // Readings that were taken when this had the same value may be used again for a moment.
  virtual uint64_t activity() = 0;
  // This process has a context on the device, and so much memory there.
  virtual bool uses(int ordinal, uint64_t* bytes) = 0;
};

Source& source();

}  // namespace farcall::nvml
