#include "softgpu/driver/device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/library_views.h"
#include "softgpu/driver/physical_devices.h"
#include "softgpu/driver/pool.h"
#include "softgpu/driver/thread_state.h"

namespace farcall::softgpu {
namespace {

// The same in every process on every machine: device n of softgpu. Version 8, "custom", of RFC
// 9562.
CUuuid uuid_of(int number) {
  CUuuid uuid;
  const unsigned char bytes[16] = {'f',  'a', 'r', 'c', 'a', 'l', 0x8c, 'l',
                                   0x80, 's', 'o', 'f', 't', 'g', 'p',  0};
  std::memcpy(uuid.bytes, bytes, sizeof(bytes));
  uuid.bytes[15] = static_cast<char>(number);
  return uuid;
}

bool set_condition(uint64_t handle, uint32_t value) {
  const std::shared_ptr<Condition> condition = Condition::find(handle);
  if (condition != nullptr) condition->value = value;
  return condition != nullptr;
}

}  // namespace

Device::Device(Driver& of, int seen_as, int is)
    : ordinal(seen_as),
      number(is),
      sm(of.config.sm),
      limits(limits_of(of.config.sm)),
      uuid(uuid_of(is)),
      memory(of.memory_map, seen_as, of.config.memory_bytes),
      driver_(of) {
  if (UnwrittenBytes* const unwritten = of.unwritten()) memory.track_unwritten(*unwritten);
}

Engine& Device::engine() {
  std::lock_guard lock(mutex_);
  if (engine_ == nullptr) {
    EngineOptions options;
    options.workers = driver_.config.workers;
    options.sm = sm;
    options.output = [this](std::string_view text, bool is_stderr) {
      output.append(text, is_stderr);
    };
    options.set_condition = set_condition;
    options.check = driver_.config.check;
    if (options.check.any()) {
      options.report = [this](const Finding& finding) { driver_.check_report.add(finding); };
    }
    engine_ = Engine::create(memory, std::move(options));
  }
  return *engine_;
}

const ContextRef& Device::primary() {
  std::lock_guard lock(mutex_);
  if (primary_ == nullptr) primary_ = Context::create(*this, true, 0);
  return primary_;
}

const std::shared_ptr<Pool>& Device::default_pool() {
  std::lock_guard lock(mutex_);
  if (default_pool_ == nullptr) pool_ = default_pool_ = Pool::create(*this, 0);
  return default_pool_;
}

std::shared_ptr<Pool> Device::pool() {
  default_pool();
  std::lock_guard lock(mutex_);
  return pool_;
}

void Device::set_pool(std::shared_ptr<Pool> pool) {
  default_pool();
  std::lock_guard lock(mutex_);
  pool_ = pool != nullptr ? std::move(pool) : default_pool_;
}

void Device::trim_pools() {
  for (const std::shared_ptr<Pool>& pool : driver_.pools.all()) {
    if (&pool->device() == this) pool->trim(0);
  }
}

void Device::graph_memory_changes(int64_t bytes) {
  const uint64_t now = graph_memory += static_cast<uint64_t>(bytes);
  uint64_t high = graph_memory_high;
  while (now > high && !graph_memory_high.compare_exchange_weak(high, now)) {
  }
}

// ------------------------------------------------------------------ who there is

std::vector<driverabi::DeviceUuid> Device::all_uuids(const Config& config) {
  std::vector<driverabi::DeviceUuid> uuids(static_cast<size_t>(config.devices));
  for (int number = 0; number < config.devices; ++number) {
    const CUuuid uuid = uuid_of(number);
    std::memcpy(uuids[static_cast<size_t>(number)].data(), uuid.bytes, sizeof uuid.bytes);
  }
  return uuids;
}

extern "C" __attribute__((visibility("default"))) unsigned farcallSoftgpuDevices(
    FarcallSoftgpuDevice* out, unsigned room) {
  const Driver* const driver = Driver::get();
  if (driver == nullptr) return 0;
  const auto count = static_cast<unsigned>(driver->config.devices);
  const std::vector<driverabi::DeviceUuid> uuids = Device::all_uuids(driver->config);
  for (unsigned number = 0; number < std::min(room, count); ++number) {
    FarcallSoftgpuDevice& device = out[number];
    std::snprintf(device.uuid, sizeof device.uuid, "%s",
                  driverabi::uuid_text(uuids[number]).c_str());
    std::snprintf(device.pci_bus_id, sizeof device.pci_bus_id, "%04X:%02X:%02X.0",
                  Device::kPciDomain, Device::kPciBusFirst + number, Device::kPciDevice);
    device.memory_bytes = driver->config.memory_bytes;
    device.sm = driver->config.sm;
    device.name = driver->config.name.c_str();
    device.ordinal = -1;
    for (int ordinal = 0; ordinal < driver->device_count(); ++ordinal) {
      if (driver->device(ordinal)->number == static_cast<int>(number)) device.ordinal = ordinal;
    }
  }
  return count;
}

CUresult api::cuDeviceGetCount(int* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = driver().device_count();
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGet(CUdevice* out, int ordinal) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  *out = ordinal;
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetName(char* name, int length, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (name == nullptr || length < 1) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, static_cast<size_t>(length), "%s", driver().config.name.c_str());
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *uuid = device->uuid;
  return CUDA_SUCCESS;
}
CUresult api::cuDeviceGetUuid(CUuuid* uuid, CUdevice ordinal) {
  return api::cuDeviceGetUuid_v2(uuid, ordinal);
}

CUresult api::cuDeviceTotalMem_v2(size_t* bytes, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *bytes = device->memory.capacity();
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetPCIBusId(char* id, int length, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (id == nullptr || length < 1) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(id, static_cast<size_t>(length), "%04X:%02X:%02X.0", Device::kPciDomain,
                device->pci_bus(), Device::kPciDevice);
  return CUDA_SUCCESS;
}

// "domain:bus:device.function", or without function, or without domain.
CUresult api::cuDeviceGetByPCIBusId(CUdevice* out, const char* id) {
  if (out == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned domain = 0, bus = 0, device = 0;
  const int fields = std::count(id, id + std::strlen(id), ':') == 2
                         ? std::sscanf(id, "%x:%x:%x", &domain, &bus, &device) - 1
                         : std::sscanf(id, "%x:%x", &bus, &device);
  if (fields != 2) return CUDA_ERROR_INVALID_VALUE;
  if (domain != Device::kPciDomain || device != Device::kPciDevice) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  for (int ordinal = 0; ordinal < driver().device_count(); ++ordinal) {
    if (static_cast<unsigned>(driver().device(ordinal)->pci_bus()) != bus) continue;
    *out = ordinal;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

// ------------------------------------------------------------------ what it can do

namespace {

int sm_seen(const Device& device) {
  return sm_seen_by(this_thread().caller, device.sm, driver().config.library_views);
}

}  // namespace

CUresult api::cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) {
    *value = sm_seen(*device) / 10;
    return CUDA_SUCCESS;
  }
  if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) {
    *value = sm_seen(*device) % 10;
    return CUDA_SUCCESS;
  }
  return device->attribute(attribute, value);
}

CUresult api::cuDeviceComputeCapability(int* major, int* minor, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (major == nullptr || minor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *major = sm_seen(*device) / 10;
  *minor = sm_seen(*device) % 10;
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetProperties(CUdevprop* properties, CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (properties == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Limits& limits = device->limits;
  *properties = {};
  properties->maxThreadsPerBlock = limits.threads_per_block;
  properties->maxThreadsDim[0] = limits.block_x;
  properties->maxThreadsDim[1] = limits.block_y;
  properties->maxThreadsDim[2] = limits.block_z;
  properties->maxGridSize[0] = limits.grid_x;
  properties->maxGridSize[1] = limits.grid_y;
  properties->maxGridSize[2] = limits.grid_z;
  properties->sharedMemPerBlock = limits.shared_per_block;
  properties->totalConstantMemory = limits.constant_bytes;
  properties->SIMDWidth = limits.warp;
  properties->memPitch = static_cast<int>(limits.pitch_max);
  properties->regsPerBlock = limits.registers_per_block;
  device->attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE, &properties->clockRate);
  properties->textureAlign = static_cast<int>(DeviceMemory::kAlignment);
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetTexture1DLinearMaxWidth(size_t* width, CUarray_format, unsigned,
                                                 CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (width == nullptr) return CUDA_ERROR_INVALID_VALUE;
  int elements = 0;
  device->attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH, &elements);
  *width = static_cast<size_t>(elements);
  return CUDA_SUCCESS;
}

CUresult api::cuDeviceGetExecAffinitySupport(int* supported, CUexecAffinityType type,
                                             CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (supported == nullptr || type < 0 || type >= CU_EXEC_AFFINITY_TYPE_MAX) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *supported = 0;
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ peers: all of it is host
// memory

CUresult api::cuDeviceCanAccessPeer(int* can, CUdevice ordinal, CUdevice peer_ordinal) {
  Device *device, *peer;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (CUresult error = find_device(peer_ordinal, &peer)) return error;
  if (can == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *can = device != peer;
  return CUDA_SUCCESS;
}

namespace {

// What the engine's atomics can do, wherever the memory is.
CUresult atomic_capabilities(unsigned* capabilities, const CUatomicOperation* operations,
                             unsigned count) {
  if (capabilities == nullptr || operations == nullptr || count == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  constexpr unsigned kWords = CU_ATOMIC_CAPABILITY_REDUCTION | CU_ATOMIC_CAPABILITY_SCALAR_32 |
                              CU_ATOMIC_CAPABILITY_SCALAR_64;
  for (unsigned i = 0; i < count; ++i) {
    switch (operations[i]) {
      case CU_ATOMIC_OPERATION_INTEGER_ADD:
      case CU_ATOMIC_OPERATION_INTEGER_MIN:
      case CU_ATOMIC_OPERATION_INTEGER_MAX:
        capabilities[i] = kWords | CU_ATOMIC_CAPABILITY_SIGNED | CU_ATOMIC_CAPABILITY_UNSIGNED;
        break;
      case CU_ATOMIC_OPERATION_INTEGER_INCREMENT:
      case CU_ATOMIC_OPERATION_INTEGER_DECREMENT:
        capabilities[i] = CU_ATOMIC_CAPABILITY_REDUCTION | CU_ATOMIC_CAPABILITY_SCALAR_32 |
                          CU_ATOMIC_CAPABILITY_UNSIGNED;
        break;
      case CU_ATOMIC_OPERATION_AND:
      case CU_ATOMIC_OPERATION_OR:
      case CU_ATOMIC_OPERATION_XOR:
        capabilities[i] = kWords;
        break;
      case CU_ATOMIC_OPERATION_EXCHANGE:
      case CU_ATOMIC_OPERATION_CAS:
        capabilities[i] = CU_ATOMIC_CAPABILITY_SCALAR_32 | CU_ATOMIC_CAPABILITY_SCALAR_64;
        break;
      case CU_ATOMIC_OPERATION_FLOAT_ADD:
        capabilities[i] = kWords;
        break;
      case CU_ATOMIC_OPERATION_FLOAT_MIN:
      case CU_ATOMIC_OPERATION_FLOAT_MAX:
        capabilities[i] = 0;  // PTX has them for no more than half precision
        break;
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult api::cuDeviceGetHostAtomicCapabilities(unsigned* capabilities,
                                                const CUatomicOperation* operations, unsigned count,
                                                CUdevice ordinal) {
  Device* device;
  if (CUresult error = find_device(ordinal, &device)) return error;
  return atomic_capabilities(capabilities, operations, count);
}

CUresult api::cuDeviceGetP2PAtomicCapabilities(unsigned* capabilities,
                                               const CUatomicOperation* operations, unsigned count,
                                               CUdevice ordinal, CUdevice peer_ordinal) {
  Device *device, *peer;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (CUresult error = find_device(peer_ordinal, &peer)) return error;
  if (device == peer) return CUDA_ERROR_INVALID_DEVICE;
  return atomic_capabilities(capabilities, operations, count);
}

CUresult api::cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attribute, CUdevice ordinal,
                                      CUdevice peer_ordinal) {
  Device *device, *peer;
  if (CUresult error = find_device(ordinal, &device)) return error;
  if (CUresult error = find_device(peer_ordinal, &peer)) return error;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (device == peer) return CUDA_ERROR_INVALID_DEVICE;
  switch (attribute) {
    case CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK:
      *value = 0;
      break;
    case CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED:
    case CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED:
      *value = 1;
      break;
    case CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED:
      *value = 1;
      break;
    default:
      *value = 0;
      break;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
