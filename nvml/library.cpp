#include "nvml/library.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/log.h"

namespace farcall::nvml {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough for the burst of calls that one refresh is, too short for anybody to see.
constexpr auto kReadingLife = std::chrono::milliseconds(10);

struct Taken {
  Clock::time_point when;
  uint64_t activity = 0;
  Readings readings;
};

struct Library {
  std::mutex mutex;
  unsigned references = 0;
  // Handles stay valid over nvmlShutdown and nvmlInit: programs keep them.
  std::vector<std::unique_ptr<nvmlDevice_st>> devices;
  std::vector<Taken> taken[2];  // by group and index
  std::set<std::string> not_supported;
};

Library& library() {
  static Library& library = *new Library;
  return library;
}

ReadingGroup group_of(Reading reading) {
  const bool of_link = reading == Reading::kPcieTransmitted || reading == Reading::kPcieReceived;
  return of_link ? ReadingGroup::kPcieThroughput : ReadingGroup::kQuick;
}

// Under the lock, over the round trip: threads that ask for the same device at once share one.
nvmlReturn_t refresh(Library& state, const nvmlDevice_st& device, ReadingGroup group,
                     const Readings** readings) {
  Taken& taken = state.taken[size_t(group)][device.index];
  *readings = &taken.readings;
  if (taken.when != Clock::time_point() && Clock::now() - taken.when < kReadingLife &&
      taken.activity == source().activity()) {
    return NVML_SUCCESS;
  }
  Readings now;
  if (const nvmlReturn_t result = source().read(device.description, group, &now)) {
    return result;
  }
  taken = {.when = Clock::now(), .activity = source().activity(), .readings = std::move(now)};
  return NVML_SUCCESS;
}

}  // namespace

nvmlReturn_t initialize() {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  if (state.devices.empty()) {
    std::vector<DeviceDescription> found;
    if (const nvmlReturn_t result = source().open(&found)) return result;
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.pci_bus_id < b.pci_bus_id; });
    for (DeviceDescription& description : found) {
      const auto index = unsigned(state.devices.size());
      state.devices.push_back(
          std::make_unique<nvmlDevice_st>(nvmlDevice_st{std::move(description), index}));
    }
    for (auto& group : state.taken) group.resize(state.devices.size());
  }
  ++state.references;
  return NVML_SUCCESS;
}

nvmlReturn_t shut_down() {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  if (state.references == 0) return NVML_ERROR_UNINITIALIZED;
  --state.references;
  return NVML_SUCCESS;
}

bool initialized() {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  return state.references != 0;
}

nvmlReturn_t bad_argument() {
  return initialized() ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t count_devices(unsigned* count) {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  if (state.references == 0) return NVML_ERROR_UNINITIALIZED;
  if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *count = unsigned(state.devices.size());
  return NVML_SUCCESS;
}

nvmlReturn_t device_at(unsigned index, nvmlDevice_t* device) {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  if (state.references == 0) return NVML_ERROR_UNINITIALIZED;
  if (device == nullptr || index >= state.devices.size()) return NVML_ERROR_INVALID_ARGUMENT;
  *device = state.devices[index].get();
  return NVML_SUCCESS;
}

nvmlReturn_t check(nvmlDevice_t device) {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  if (state.references == 0) return NVML_ERROR_UNINITIALIZED;
  const bool known = std::any_of(state.devices.begin(), state.devices.end(),
                                 [&](const auto& each) { return each.get() == device; });
  return known ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t read(nvmlDevice_t device, std::initializer_list<Reading> wanted,
                  unsigned long long* values) {
  if (const nvmlReturn_t result = check(device)) return result;
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  const ReadingGroup group = group_of(*wanted.begin());
  const Readings* readings = nullptr;
  if (const nvmlReturn_t result = refresh(state, *device, group, &readings)) return result;
  for (const Reading reading : wanted) {
    const auto found = readings->values.find(uint16_t(reading));
    if (found == readings->values.end()) return NVML_ERROR_NOT_SUPPORTED;
    if (found->second.result != NVML_SUCCESS) return found->second.result;
    *values++ = found->second.value;
  }
  return NVML_SUCCESS;
}

nvmlReturn_t read(nvmlDevice_t device, Reading reading, unsigned long long* value) {
  if (value == nullptr) return bad_argument();
  return read(device, {reading}, value);
}

nvmlReturn_t read(nvmlDevice_t device, Reading reading, unsigned* value) {
  if (value == nullptr) return bad_argument();
  unsigned long long wide = 0;
  if (const nvmlReturn_t result = read(device, {reading}, &wide)) return result;
  if (wide > UINT_MAX) return NVML_ERROR_UNKNOWN;
  *value = unsigned(wide);
  return NVML_SUCCESS;
}

nvmlReturn_t read(nvmlDevice_t device, Reading reading, int* value) {
  if (value == nullptr) return bad_argument();
  unsigned wide = 0;
  if (const nvmlReturn_t result = read(device, reading, &wide)) return result;
  *value = int(wide);
  return NVML_SUCCESS;
}

nvmlReturn_t read_text(nvmlDevice_t device, std::string Readings::*text, char* out,
                       unsigned length) {
  if (const nvmlReturn_t result = check(device)) return result;
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  const Readings* readings = nullptr;
  if (const nvmlReturn_t result = refresh(state, *device, ReadingGroup::kQuick, &readings)) {
    return result;
  }
  if ((readings->*text).empty()) return NVML_ERROR_NOT_SUPPORTED;
  return copy_text(readings->*text, out, length);
}

nvmlReturn_t copy_text(const std::string& text, char* out, unsigned length) {
  if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  if (text.size() + 1 > length) return NVML_ERROR_INSUFFICIENT_SIZE;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return NVML_SUCCESS;
}

nvmlReturn_t not_supported(const char* name) {
  Library& state = library();
  const std::lock_guard guard(state.mutex);
  if (state.not_supported.emplace(name).second) log::warning("{} is not supported", name);
  return NVML_ERROR_NOT_SUPPORTED;
}

}  // namespace farcall::nvml
