// The server's own libnvidia-ml.so.1, loaded and started when a client first asks for readings:
// NVIDIA's beside its driver, or softgpu's beside softgpu. The server needs none to serve CUDA.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "nvml/nvml.h"
#include "nvml/readings.h"
#include "nvml/source.h"
#include "server/driver_table.h"

namespace farcall::server {

class Nvml {
 public:
  struct Setup {
    std::string library;  // for dlopen
    bool all_devices =
        true;  // false: the server was started for some, and clients know of those that they see
  };
  Nvml(Setup setup, const DriverTable& driver) : setup_(std::move(setup)), driver_(driver) {}

  // LIBRARY_NOT_FOUND: the server has no NVML, which is logged once; others: it does not start.
  nvmlReturn_t devices(std::vector<nvml::DeviceDescription>* out);
  // Of the device at this PCI address. NOT_FOUND: it is none of devices().
  nvmlReturn_t read(const std::string& pci_bus_id, nvml::ReadingGroup group,
                    nvml::Readings* readings);

 private:
  nvmlReturn_t load();
  nvmlReturn_t list();

  const Setup setup_;
  const DriverTable& driver_;
  std::mutex mutex_;
  bool tried_ = false;
  nvmlReturn_t problem_ = NVML_SUCCESS;
  void* library_ = nullptr;
  std::vector<nvml::DeviceDescription> devices_;
};

}  // namespace farcall::server
