// NVML's facts from the server, one call for the devices and one for a device's readings.
#include "nvml/source.h"

#include <cuda.h>

#include <string>
#include <utility>

#include "base/log.h"
#include "client/contexts.h"
#include "client/pci_bus_id.h"
#include "client/program.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"
#include "rpc/schema/driver_device.capnp.h"

namespace farcall::nvml {
namespace {

namespace schema = rpc::schema;
using client::Session;
using rpc::Opcode;

// A call's result, which is NVML's own where the server's NVML gave it (see FarcallNvmlRead).
nvmlReturn_t result_of_call(int result) {
  switch (result) {
    case CUDA_SUCCESS:
      return NVML_SUCCESS;
    case CUDA_ERROR_NOT_SUPPORTED:
      return NVML_ERROR_NOT_SUPPORTED;
    case CUDA_ERROR_INVALID_VALUE:
    case CUDA_ERROR_INVALID_DEVICE:
      return NVML_ERROR_INVALID_ARGUMENT;
    default:
      return result == rpc::kSessionLostResult ? NVML_ERROR_GPU_IS_LOST : NVML_ERROR_UNKNOWN;
  }
}

// Runs `body(Session&)` -> nvmlReturn_t; an answer that does not decode ends the session.
template <class Body>
nvmlReturn_t with_session(Opcode op, nvmlReturn_t otherwise, Body&& body) {
  try {
    int error = 0;
    Session* const session = client::session(&error);
    return session != nullptr ? body(*session) : otherwise;
  } catch (...) {
    return result_of_call(client::detail::result_of_exception(op));
  }
}

// CUDA's number for it, in this program; -1: none.
int ordinal_of(Session& session, const std::string& pci_bus_id) {
  int ordinal = -1;
  const int result = client::find_by_pci_bus_id(session, pci_bus_id.c_str(), &ordinal);
  return result == CUDA_SUCCESS ? ordinal : -1;
}

class SessionSource : public Source {
 public:
  nvmlReturn_t open(std::vector<DeviceDescription>* devices) override {
    return with_session(Opcode::k_farcallNvmlDevices, NVML_ERROR_DRIVER_NOT_LOADED,
                        [&](Session& session) {
                          client::Call call(session, Opcode::k_farcallNvmlDevices);
                          call.args<schema::FarcallNvmlDevices>();
                          rpc::Reply reply = call.wait();
                          if (reply.result() == CUDA_ERROR_NOT_SUPPORTED) {
                            return NVML_ERROR_LIBRARY_NOT_FOUND;
                          }
                          if (reply.result() != 0) return result_of_call(reply.result());
                          const auto results = reply.results<schema::FarcallNvmlDevicesResults>();
                          for (const auto from : results.getDevices()) {
                            DeviceDescription device;
                            device.name = from.getName();
                            device.uuid = from.getUuid();
                            device.pci_bus_id = from.getPciBusId();
                            device.compute_capability_major = from.getComputeCapabilityMajor();
                            device.compute_capability_minor = from.getComputeCapabilityMinor();
                            device.ordinal = ordinal_of(session, device.pci_bus_id);
                            devices->push_back(std::move(device));
                          }
                          return NVML_SUCCESS;
                        });
  }

  int cuda_version() override {
    const Session* const session = client::session_if_connected();
    return session != nullptr ? session->driver_version() : 0;
  }

  nvmlReturn_t read(const DeviceDescription& device, ReadingGroup group,
                    Readings* readings) override {
    return with_session(Opcode::k_farcallNvmlRead, NVML_ERROR_GPU_IS_LOST, [&](Session& session) {
      client::Call call(session, Opcode::k_farcallNvmlRead);
      auto args = call.args<schema::FarcallNvmlRead>();
      args.setPciBusId(device.pci_bus_id);
      args.setGroup(uint8_t(group));
      rpc::Reply reply = call.wait();
      if (reply.result() != 0) return result_of_call(reply.result());
      const auto results = reply.results<schema::FarcallNvmlReadResults>();
      for (const auto value : results.getValues()) {
        readings->values[value.getReading()] = {nvmlReturn_t(value.getResult()), value.getValue()};
      }
      readings->serial = results.getSerial();
      readings->vbios_version = results.getVbiosVersion();
      readings->part_number = results.getPartNumber();
      readings->driver_version = results.getDriverVersion();
      readings->nvml_version = results.getNvmlVersion();
      return NVML_SUCCESS;
    });
  }

  nvmlReturn_t can_access_peer(int ordinal, int peer, bool* can) override {
    return with_session(
        Opcode::k_cuDeviceCanAccessPeer, NVML_ERROR_GPU_IS_LOST, [&](Session& session) {
          client::CachedCall call(session, Opcode::k_cuDeviceCanAccessPeer);
          auto args = call.args<schema::CuDeviceCanAccessPeer>();
          args.setDev(ordinal);
          args.setPeerDev(peer);
          rpc::Reply reply = call.wait();
          if (reply.result() != 0) return result_of_call(reply.result());
          *can = reply.results<schema::CuDeviceCanAccessPeerResults>().getCanAccessPeer() != 0;
          return NVML_SUCCESS;
        });
  }

  uint64_t activity() override { return client::thread_state().remote_calls; }

  bool uses(int ordinal, uint64_t* bytes) override {
    *bytes = client::program().allocations.device_bytes(ordinal);
    return *bytes != 0 ||
           (ordinal < client::kDevicesMax && client::contexts().primary(ordinal).active);
  }
};

}  // namespace

Source& source() {
  static Source& source = *new SessionSource;
  return source;
}

}  // namespace farcall::nvml
