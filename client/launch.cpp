#include "client/launch.h"

#include <cstring>
#include <vector>

#include "base/log.h"
#include "client/program.h"
#include "client/registered_memory.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;

// Attributes whose value is plain data. The others hold pointers or handles and are refused by
// name.
bool plain_attribute(CUlaunchAttributeID id) {
  switch (id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      return true;
    default:
      return false;
  }
}

struct Limits {
  uint32_t grid[3], block[3], threads;
};

// The device's limits in the form the check wants; immutable, so looked up once per device.
const Limits& limits_of(Session& session, int device) {
  thread_local const Session* cached_session = nullptr;
  thread_local int cached_device = -1;
  thread_local Limits cached;
  if (cached_session == &session && cached_device == device) return cached;
  const auto& attributes = session.devices().at(size_t(device)).attributes;
  const auto get = [&](CUdevice_attribute id, uint32_t otherwise) {
    const auto found = attributes.find(id);
    return found == attributes.end() ? otherwise : uint32_t(found->second);
  };
  cached = {{get(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7fffffff),
             get(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535),
             get(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535)},
            {get(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024),
             get(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024),
             get(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64)},
            get(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024)};
  cached_session = &session;
  cached_device = device;
  return cached;
}

int check_config(const Limits& limits, const LaunchConfig& config, const image::Kernel* layout) {
  uint64_t threads = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (config.grid[axis] == 0 || config.grid[axis] > limits.grid[axis])
      return CUDA_ERROR_INVALID_VALUE;
    if (config.block[axis] == 0 || config.block[axis] > limits.block[axis])
      return CUDA_ERROR_INVALID_VALUE;
    threads *= config.block[axis];
  }
  if (threads > limits.threads) return CUDA_ERROR_INVALID_VALUE;
  if (layout != nullptr && layout->max_threads != 0 && threads > layout->max_threads) {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  return CUDA_SUCCESS;
}

// extra = {CU_LAUNCH_PARAM_BUFFER_POINTER, p, CU_LAUNCH_PARAM_BUFFER_SIZE, &n, CU_LAUNCH_PARAM_END}
int packed_params(void** extra, const void** buffer, size_t* bytes) {
  *buffer = nullptr;
  *bytes = 0;
  for (void** next = extra; *next != CU_LAUNCH_PARAM_END; next += 2) {
    if (*next == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      *buffer = next[1];
    } else if (*next == CU_LAUNCH_PARAM_BUFFER_SIZE) {
      *bytes = *static_cast<const size_t*>(next[1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return (*bytes > 0 && *buffer == nullptr) || *bytes > image::kParamBytesMax
             ? CUDA_ERROR_INVALID_VALUE
             : CUDA_SUCCESS;
}

}  // namespace

int KernelParams::take(const Kernel& kernel, void** params, void** extra) {
  if (extra != nullptr) {
    if (params != nullptr) return CUDA_ERROR_INVALID_VALUE;
    return packed_params(extra, &packed_, &bytes_);
  }
  if (kernel.layout == nullptr || !kernel.layout->params_known) {
    log::error(
        "the parameter layout of this kernel is not in its image; launch it with "
        "CU_LAUNCH_PARAM_BUFFER_*");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  layout_ = kernel.layout;
  pointers_ = params;
  bytes_ = layout_->param_bytes;
  return bytes_ > 0 && params == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

void KernelParams::write(void* to) const {
  if (layout_ == nullptr) {
    std::memcpy(to, packed_, bytes_);
    return;
  }
  auto* const block = static_cast<std::byte*>(to);
  const auto& params = layout_->params;
  for (size_t i = 0; i < params.size(); ++i) {
    std::memcpy(block + params[i].offset, pointers_[i], params[i].size);
  }
}

int check_launch(Session& session, const Kernel& kernel, const LaunchConfig& config) {
  return check_config(limits_of(session, thread_state().device), config, kernel.layout);
}

int check_attributes(const LaunchConfig& config) {
  for (unsigned i = 0; i < config.attribute_count; ++i) {
    if (!plain_attribute(config.attributes[i].id)) {
      log::error("launch attribute {} is not supported", int(config.attributes[i].id));
      return CUDA_ERROR_NOT_SUPPORTED;
    }
  }
  return CUDA_SUCCESS;
}

void write_attributes(const LaunchConfig& config,
                      capnp::List<schema::LaunchAttribute>::Builder to) {
  for (unsigned i = 0; i < config.attribute_count; ++i) {
    const CUlaunchAttribute& from = config.attributes[i];
    to[i].setId(from.id);
    to[i].setValue(
        capnp::Data::Reader(reinterpret_cast<const kj::byte*>(&from.value), sizeof from.value));
  }
}

int launch(Session& session, const Kernel& kernel, const LaunchConfig& config, void** params,
           void** extra) {
  if (const int bad = check_launch(session, kernel, config)) return bad;
  KernelParams taken;
  if (const int bad = taken.take(kernel, params, extra)) return bad;
  if (const int bad = check_attributes(config)) return bad;

  std::vector<std::byte> early;
  if (memory_is_visible() || program().visible.has_pinned() || registered_memory().any())
      [[unlikely]] {
    // Read before the batch is locked, as the parameters may lie in memory that must be fetched.
    early.resize(taken.bytes());
    taken.write(early.data());
    if (const int failed = program().visible.make_visible(session, early)) return failed;
  }

  Call call(session, rpc::Opcode::k_farcallLaunchKernel);
  auto args = call.args<schema::FarcallLaunchKernel>();
  args.setFunction(kernel.id);
  args.setStream(config.stream);
  write_shape(config, args);
  args.setCooperative(config.cooperative);
  if (taken.bytes() > 0) {
    auto* const params = args.initParams(unsigned(taken.bytes())).begin();
    early.empty() ? taken.write(params) : void(std::memcpy(params, early.data(), early.size()));
  }
  if (config.attribute_count > 0) {
    write_attributes(config, args.initAttributes(config.attribute_count));
  }
  return call.post();
}

}  // namespace farcall::client
