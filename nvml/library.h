// The state behind the functions of libnvidia-ml.so.1: initialised or not, the devices and their
// handles, and readings that were taken a moment ago. One per process, leaked: programs call NVML
// while they exit. Thread-safe.
//
// A monitor asks for some twenty numbers per device, one function each. They are read together and
// kept for kReadingLife, so that a refresh is one round trip and not twenty; a process that makes
// CUDA calls in between gets new ones.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "nvml/nvml.h"
#include "nvml/readings.h"
#include "nvml/source.h"

// Marks what the library exports.
#define FARCALL_NVML_EXPORT extern "C" __attribute__((visibility("default")))

// A handle: programs may look at it only through the functions, but it points to memory.
struct nvmlDevice_st {
  farcall::nvml::DeviceDescription description;
  unsigned index = 0;  // NVML's: in the order of PCI addresses
};

namespace farcall::nvml {

// nvmlInit and nvmlShutdown count.
nvmlReturn_t initialize();
nvmlReturn_t shut_down();
bool initialized();
// What a function that was given a wrong argument returns: INVALID_ARGUMENT, but UNINITIALIZED
// first.
nvmlReturn_t bad_argument();

// NVML_SUCCESS and *count; UNINITIALIZED before nvmlInit.
nvmlReturn_t count_devices(unsigned* count);
nvmlReturn_t device_at(unsigned index, nvmlDevice_t* device);
// The handle is one of ours.
nvmlReturn_t check(nvmlDevice_t device);

// Numbers that belong together, in this order; the first one that is missing fails the call.
nvmlReturn_t read(nvmlDevice_t device, std::initializer_list<Reading> wanted,
                  unsigned long long* values);
// One number. INVALID_ARGUMENT: `value` is null; UNKNOWN: it does not fit.
nvmlReturn_t read(nvmlDevice_t device, Reading reading, unsigned long long* value);
nvmlReturn_t read(nvmlDevice_t device, Reading reading, unsigned* value);
nvmlReturn_t read(nvmlDevice_t device, Reading reading, int* value);  // enums
// NOT_SUPPORTED: the device has no such text.
nvmlReturn_t read_text(nvmlDevice_t device, std::string Readings::*text, char* out,
                       unsigned length);

// Copies with the terminating zero. INSUFFICIENT_SIZE: `length` is too small for it.
nvmlReturn_t copy_text(const std::string& text, char* out, unsigned length);

// For the functions that nobody wrote: logs the name once.
nvmlReturn_t not_supported(const char* name);

}  // namespace farcall::nvml
