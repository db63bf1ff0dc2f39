// Devices by their place on the PCI bus, for both APIs.
#pragma once

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

// "[domain:]bus:device[.function]", hexadecimal, as cudaDeviceGetPCIBusId and tools write it. A
// CUresult; CUDA_ERROR_INVALID_VALUE: no such form, CUDA_ERROR_INVALID_DEVICE: no such device.
FARCALL_API int find_by_pci_bus_id(Session& session, const char* pci_bus_id, int* device);

}  // namespace farcall::client
