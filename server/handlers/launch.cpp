// Kernel launches. The client sends parameters as one block at the kernel's own offsets, because it
// knows the layout from the image and the server need not; the driver takes such a block as it is.
#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "rpc/convert.h"
#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/packed_params.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleType;

constexpr unsigned kAttributesMax = 64;

using Attributes = capnp::List<schema::LaunchAttribute>::Reader;

// False: malformed.
bool read_attributes(Attributes from, std::vector<CUlaunchAttribute>& to) {
  if (from.size() > kAttributesMax) return false;
  for (const auto attribute : from) {
    const auto value = attribute.getValue();
    CUlaunchAttribute& out = to.emplace_back();
    if (value.size() > sizeof out.value) return false;
    out.id = CUlaunchAttributeID(attribute.getId());
    rpc::from_data(value, &out.value, sizeof out.value);
  }
  return true;
}

// `attributes` must outlive it.
template <class Args>
CUlaunchConfig launch_config(const Args& args, std::vector<CUlaunchAttribute>& attributes) {
  CUlaunchConfig config = {};
  config.gridDimX = args.getGridX();
  config.gridDimY = args.getGridY();
  config.gridDimZ = args.getGridZ();
  config.blockDimX = args.getBlockX();
  config.blockDimY = args.getBlockY();
  config.blockDimZ = args.getBlockZ();
  config.sharedMemBytes = args.getSharedBytes();
  config.attrs = attributes.data();
  config.numAttrs = unsigned(attributes.size());
  return config;
}

}  // namespace

void farcallLaunchKernel(CallContext& call) {
  const auto args = call.args<schema::FarcallLaunchKernel>();
  const auto function = call.handle<CUfunction>(args.getFunction(), HandleType::kFunction);
  const auto stream = call.handle<CUstream>(args.getStream(), HandleType::kStream);
  const auto params = args.getParams();
  if (function == nullptr) call.invalidate("no kernel");
  if (params.size() > PackedParams::kBytesMax) call.invalidate("too many parameters");
  std::vector<CUlaunchAttribute> attributes;
  if (args.hasAttributes() && !read_attributes(args.getAttributes(), attributes)) {
    call.invalidate("malformed launch attributes");
  }
  if (!call.valid()) return call.refuse();

  PackedParams packed(params);
  void** const parameters = packed.extra();

  const DriverTable& driver = call.driver();
  if (!args.getCooperative() && attributes.empty()) {
    if (driver.cuLaunchKernel == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
    return call.finish(driver.cuLaunchKernel(
        function, args.getGridX(), args.getGridY(), args.getGridZ(), args.getBlockX(),
        args.getBlockY(), args.getBlockZ(), args.getSharedBytes(), stream, nullptr, parameters));
  }

  // cuLaunchCooperativeKernel takes no block of parameters; the attribute means the same.
  if (args.getCooperative()) {
    CUlaunchAttribute& cooperative = attributes.emplace_back();
    cooperative.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
    cooperative.value.cooperative = 1;
  }
  if (driver.cuLaunchKernelEx == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUlaunchConfig config = launch_config(args, attributes);
  config.hStream = stream;
  call.finish(driver.cuLaunchKernelEx(&config, function, nullptr, parameters));
}

void farcallOccupancyClusters(CallContext& call) {
  const auto args = call.args<schema::FarcallOccupancyClusters>();
  const auto function = call.handle<CUfunction>(args.getFunction(), HandleType::kFunction);
  if (function == nullptr) call.invalidate("no kernel");
  std::vector<CUlaunchAttribute> attributes;
  if (!read_attributes(args.getAttributes(), attributes)) {
    call.invalidate("malformed launch attributes");
  }
  if (!call.valid()) return call.refuse();
  const CUlaunchConfig config = launch_config(args, attributes);
  const DriverTable& driver = call.driver();
  const auto ask = args.getLargest() ? driver.cuOccupancyMaxPotentialClusterSize
                                     : driver.cuOccupancyMaxActiveClusters;
  if (ask == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  int value = 0;
  const CUresult result = ask(&value, function, &config);
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    call.results<schema::FarcallOccupancyClustersResults>().setValue(value);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
