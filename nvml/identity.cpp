// Which devices there are, and what they are called: handles by index, UUID and PCI address.
#include <strings.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "nvml/library.h"

using namespace farcall::nvml;

namespace {

struct PciAddress {
  unsigned domain = 0, bus = 0, device = 0;
  bool operator==(const PciAddress&) const = default;
};

// "0000:01:00.0", "00000000:01:00.0", "01:00.0", with or without the function.
bool parse(const char* text, PciAddress* out) {
  PciAddress address;
  int used = 0;
  if (std::sscanf(text, "%x:%x:%x%n", &address.domain, &address.bus, &address.device, &used) != 3) {
    address.domain = 0;
    if (std::sscanf(text, "%x:%x%n", &address.bus, &address.device, &used) != 2) return false;
  }
  if (text[used] == '.') {
    unsigned function = 0;
    int more = 0;
    if (std::sscanf(text + used, ".%x%n", &function, &more) != 1) return false;
    used += more;
  }
  *out = address;
  return text[used] == '\0';
}

PciAddress address_of(nvmlDevice_t device) {
  PciAddress address;
  parse(device->description.pci_bus_id.c_str(), &address);
  return address;
}

// The first device for which `matches(nvmlDevice_t)`.
template <class Matches>
nvmlReturn_t find(nvmlDevice_t* device, Matches&& matches) {
  unsigned count = 0;
  if (const nvmlReturn_t result = count_devices(&count)) return result;
  if (device == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  for (unsigned index = 0; index < count; ++index) {
    nvmlDevice_t candidate = nullptr;
    if (const nvmlReturn_t result = device_at(index, &candidate)) return result;
    if (matches(candidate)) {
      *device = candidate;
      return NVML_SUCCESS;
    }
  }
  return NVML_ERROR_NOT_FOUND;
}

unsigned number_or_zero(nvmlDevice_t device, Reading reading) {
  unsigned value = 0;
  return read(device, reading, &value) == NVML_SUCCESS ? value : 0;
}

}  // namespace

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned* count) {
  return count_devices(count);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned* count) {
  return count_devices(count);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t* device) {
  return device_at(index, device);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index,
                                                               nvmlDevice_t* device) {
  return device_at(index, device);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char* uuid, nvmlDevice_t* device) {
  if (uuid == nullptr) return bad_argument();
  return find(device, [&](nvmlDevice_t candidate) {
    return ::strcasecmp(candidate->description.uuid.c_str(), uuid) == 0;
  });
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleBySerial(const char* serial,
                                                             nvmlDevice_t* device) {
  if (serial == nullptr) return bad_argument();
  return find(device, [&](nvmlDevice_t candidate) {
    char known[NVML_DEVICE_SERIAL_BUFFER_SIZE];
    return read_text(candidate, &Readings::serial, known, sizeof known) == NVML_SUCCESS &&
           std::strcmp(known, serial) == 0;
  });
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id,
                                                                  nvmlDevice_t* device) {
  PciAddress wanted;
  if (bus_id == nullptr || !parse(bus_id, &wanted)) return bad_argument();
  return find(device, [&](nvmlDevice_t candidate) { return address_of(candidate) == wanted; });
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char* bus_id,
                                                               nvmlDevice_t* device) {
  return nvmlDeviceGetHandleByPciBusId_v2(bus_id, device);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned* index) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (index == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *index = device->index;
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char* name,
                                                   unsigned length) {
  const nvmlReturn_t result = check(device);
  return result != NVML_SUCCESS ? result : copy_text(device->description.name, name, length);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char* uuid,
                                                   unsigned length) {
  const nvmlReturn_t result = check(device);
  return result != NVML_SUCCESS ? result : copy_text(device->description.uuid, uuid, length);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char* serial,
                                                     unsigned length) {
  return read_text(device, &Readings::serial, serial, length);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t device, char* version,
                                                           unsigned length) {
  return read_text(device, &Readings::vbios_version, version, length);
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetBoardPartNumber(nvmlDevice_t device, char* number,
                                                              unsigned length) {
  return read_text(device, &Readings::part_number, number, length);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int* major,
                                                                    int* minor) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (major == nullptr || minor == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *major = device->description.compute_capability_major;
  *minor = device->description.compute_capability_minor;
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t* pci) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (pci == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  const PciAddress address = address_of(device);
  nvmlPciInfo_t info{};
  info.domain = address.domain;
  info.bus = address.bus;
  info.device = address.device;
  info.pciDeviceId = number_or_zero(device, Reading::kPciDeviceId);
  info.pciSubSystemId = number_or_zero(device, Reading::kPciSubSystemId);
  std::snprintf(info.busIdLegacy, sizeof info.busIdLegacy, "%04X:%02X:%02X.0",
                address.domain & 0xffff, address.bus & 0xff, address.device & 0xff);
  std::snprintf(info.busId, sizeof info.busId, "%08X:%02X:%02X.0", address.domain,
                address.bus & 0xff, address.device & 0xff);
  *pci = info;
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_v2_t* pci) {
  nvmlPciInfo_t info;
  if (pci == nullptr) return bad_argument();
  if (const nvmlReturn_t result = nvmlDeviceGetPciInfo_v3(device, &info)) return result;
  *pci = {};
  std::memcpy(pci->busId, info.busIdLegacy, sizeof pci->busId);
  pci->domain = info.domain;
  pci->bus = info.bus;
  pci->device = info.device;
  pci->pciDeviceId = info.pciDeviceId;
  pci->pciSubSystemId = info.pciSubSystemId;
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device,
                                                         nvmlPciInfo_v2_t* pci) {
  return nvmlDeviceGetPciInfo(device, pci);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetBusType(nvmlDevice_t device, unsigned* type) {
  return read(device, Reading::kBusType, type);
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t first, nvmlDevice_t second,
                                                       int* same) {
  unsigned boards[2] = {};
  if (same == nullptr) return bad_argument();
  if (const nvmlReturn_t result = read(first, Reading::kBoardId, &boards[0])) return result;
  if (const nvmlReturn_t result = read(second, Reading::kBoardId, &boards[1])) return result;
  *same = boards[0] == boards[1];
  return NVML_SUCCESS;
}

FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t device, nvmlDevice_t peer,
                                                        int what, int* status) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (const nvmlReturn_t result = check(peer)) return result;
  if (status == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  if (what != NVML_P2P_CAPS_INDEX_READ && what != NVML_P2P_CAPS_INDEX_WRITE) {
    return NVML_ERROR_NOT_SUPPORTED;  // CUDA does not tell
  }
  if (device->description.ordinal < 0 || peer->description.ordinal < 0) {
    return NVML_ERROR_NOT_SUPPORTED;  // CUDA tells of devices that it shows
  }
  bool can = false;
  if (const nvmlReturn_t result =
          source().can_access_peer(device->description.ordinal, peer->description.ordinal, &can)) {
    return result;
  }
  *status = can ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
  return NVML_SUCCESS;
}

// MIG instances are devices of their own to CUDA; none of the handles here is one.
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned* is) {
  if (const nvmlReturn_t result = check(device)) return result;
  if (is == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *is = 0;
  return NVML_SUCCESS;
}
FARCALL_NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device,
                                                                unsigned* count) {
  return nvmlDeviceIsMigDeviceHandle(device, count);
}
