// The server's own libnvidia-ml.so.1, loaded and started when a client first asks for readings:
// NVIDIA's beside its driver, or softgpu's beside softgpu. The server needs none to serve CUDA.
#pragma once

#include <mutex>
#include <string>

#include "nvml/nvml.h"
#include "nvml/readings.h"

namespace farcall::server {

class Nvml {
 public:
  // `path`: for dlopen.
  explicit Nvml(std::string path) : path_(std::move(path)) {}

  // Of the device at this PCI address ("0000:01:00.0"). LIBRARY_NOT_FOUND: the server has no NVML,
  // which is logged once; DRIVER_NOT_LOADED and others: it does not start, or does not know the
  // device.
  nvmlReturn_t read(const std::string& pci_bus_id, nvml::ReadingGroup group,
                    nvml::Readings* readings);

 private:
  nvmlReturn_t load();

  const std::string path_;
  std::mutex mutex_;
  bool tried_ = false;
  nvmlReturn_t problem_ = NVML_SUCCESS;
  void* library_ = nullptr;
};

}  // namespace farcall::server
