#include "client/pci_bus_id.h"

#include <cuda.h>

#include <cstdio>

namespace farcall::client {

int find_by_pci_bus_id(Session& session, const char* pci_bus_id, int* device) {
  unsigned domain = 0, bus = 0, slot = 0;
  if (std::sscanf(pci_bus_id, "%x:%x:%x", &domain, &bus, &slot) != 3) {
    domain = 0;
    if (std::sscanf(pci_bus_id, "%x:%x", &bus, &slot) != 2) return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < session.devices().size(); ++i) {
    const auto& attributes = session.devices()[i].attributes;
    const auto is = [&](CUdevice_attribute id, unsigned wanted) {
      const auto found = attributes.find(id);
      return (found == attributes.end() ? 0 : found->second) == int(wanted);
    };
    if (is(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, domain) && is(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, bus) &&
        is(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, slot)) {
      *device = int(i);
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

}  // namespace farcall::client
