// NVML's facts from the session: devices are in the hello, readings are one call.
#include "nvml/source.h"

#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "base/log.h"
#include "client/contexts.h"
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

class SessionSource : public Source {
 public:
  nvmlReturn_t open(std::vector<DeviceDescription>* devices) override {
    return with_session(Opcode::k_cuInit, NVML_ERROR_DRIVER_NOT_LOADED, [&](Session& session) {
      for (const client::DeviceInfo& info : session.devices()) {
        DeviceDescription description;
        description.ordinal = int(devices->size());
        description.name = info.name;
        description.pci_bus_id = info.pci_bus_id;
        std::memcpy(description.uuid, info.uuid, sizeof description.uuid);
        const auto attribute = [&](CUdevice_attribute id) {
          const auto found = info.attributes.find(id);
          return found != info.attributes.end() ? found->second : 0;
        };
        description.compute_capability_major =
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
        description.compute_capability_minor =
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        devices->push_back(std::move(description));
      }
      return NVML_SUCCESS;
    });
  }

  int cuda_version() override {
    const Session* const session = client::session_if_connected();
    return session != nullptr ? session->driver_version() : 0;
  }

  nvmlReturn_t read(int ordinal, ReadingGroup group, Readings* readings) override {
    return with_session(Opcode::k_farcallNvmlRead, NVML_ERROR_GPU_IS_LOST, [&](Session& session) {
      client::Call call(session, Opcode::k_farcallNvmlRead);
      auto args = call.args<schema::FarcallNvmlRead>();
      args.setDevice(uint32_t(ordinal));
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
