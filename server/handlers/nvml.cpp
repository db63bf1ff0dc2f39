// What NVML tells about a device.
#include <cuda.h>

#include <climits>

#include "nvml/readings.h"
#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/driver_table.h"
#include "server/handlers.h"
#include "server/nvml.h"
#include "server/worker.h"

namespace farcall::server::handlers {

namespace schema = rpc::schema;

void farcallNvmlRead(CallContext& call) {
  const auto args = call.args<schema::FarcallNvmlRead>();
  const uint32_t ordinal = args.getDevice();
  const auto group = nvml::ReadingGroup(args.getGroup());
  if (group > nvml::ReadingGroup::kPcieThroughput) call.invalidate("no such group of readings");
  if (ordinal > INT_MAX) call.invalidate("no such device");
  if (!call.valid()) return call.refuse();

  const DriverTable& driver = call.driver();
  if (driver.cuDeviceGet == nullptr || driver.cuDeviceGetPCIBusId == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  CUdevice device = 0;
  char bus_id[32] = "";
  int result = driver.cuDeviceGet(&device, int(ordinal));
  if (result == CUDA_SUCCESS) result = driver.cuDeviceGetPCIBusId(bus_id, sizeof bus_id, device);
  if (result != CUDA_SUCCESS) return call.finish(result);

  nvml::Readings readings;
  const nvmlReturn_t problem = call.worker().nvml().read(bus_id, group, &readings);
  if (problem == NVML_ERROR_LIBRARY_NOT_FOUND) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  if (problem != NVML_SUCCESS) return call.finish(CUDA_ERROR_UNKNOWN);
  if (!call.wants_reply()) return call.finish(CUDA_SUCCESS);
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
  call.finish(CUDA_SUCCESS);
}

}  // namespace farcall::server::handlers
