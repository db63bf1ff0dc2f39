// What NVML tells about the server's devices.
#include <cuda.h>

#include <vector>

#include "nvml/readings.h"
#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/nvml.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;

int result_of(nvmlReturn_t problem) {
  switch (problem) {
    case NVML_SUCCESS:
      return CUDA_SUCCESS;
    case NVML_ERROR_LIBRARY_NOT_FOUND:
      return CUDA_ERROR_NOT_SUPPORTED;
    case NVML_ERROR_NOT_FOUND:
      return CUDA_ERROR_INVALID_DEVICE;
    default:
      return CUDA_ERROR_UNKNOWN;
  }
}

}  // namespace

void farcallNvmlDevices(CallContext& call) {
  std::vector<nvml::DeviceDescription> devices;
  const int result = result_of(call.worker().nvml().devices(&devices));
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    auto list =
        call.results<schema::FarcallNvmlDevicesResults>().initDevices(unsigned(devices.size()));
    for (unsigned i = 0; i < devices.size(); ++i) {
      list[i].setName(devices[i].name);
      list[i].setUuid(devices[i].uuid);
      list[i].setPciBusId(devices[i].pci_bus_id);
      list[i].setComputeCapabilityMajor(devices[i].compute_capability_major);
      list[i].setComputeCapabilityMinor(devices[i].compute_capability_minor);
    }
  }
  call.finish(result);
}

void farcallNvmlRead(CallContext& call) {
  const auto args = call.args<schema::FarcallNvmlRead>();
  const auto group = nvml::ReadingGroup(args.getGroup());
  if (group > nvml::ReadingGroup::kPcieThroughput) call.invalidate("no such group of readings");
  if (!call.valid()) return call.refuse();

  nvml::Readings readings;
  const int result = result_of(call.worker().nvml().read(args.getPciBusId(), group, &readings));
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    auto results = call.results<schema::FarcallNvmlReadResults>();
    auto values = results.initValues(unsigned(readings.values.size()));
    unsigned i = 0;
    for (const auto& [reading, value] : readings.values) {
      auto out = values[i++];
      out.setReading(reading);
      out.setResult(value.result);
      out.setValue(value.value);
    }
    results.setSerial(readings.serial);
    results.setVbiosVersion(readings.vbios_version);
    results.setPartNumber(readings.part_number);
    results.setDriverVersion(readings.driver_version);
    results.setNvmlVersion(readings.nvml_version);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
